"""The scratch folder, to which sources of other machines are fetched."""

import os
import shutil
import tempfile

from curate_assets.doctor.check import Check, Deployment, Finding, failed, ok, warning
from curate_resources.storage.scratch import Scratch

_CHOOSE = "set scratch.folder in the storage settings to a folder on a local disk that this user can write to"


def scratch(_: Deployment) -> Finding:
    """It can be written to, and the disk has room for as much as may lie there."""
    scratch = Scratch.of_this_machine()
    folder = next(each for each in (scratch.folder, *scratch.folder.absolute().parents) if each.exists())
    if not folder.is_dir():
        return failed(f"{folder} is not a folder", _CHOOSE)
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"curate doctor")
    except OSError as error:
        return failed(f"{folder} cannot be written to: {error.strerror}", _CHOOSE)
    used = sum(entry.stat().st_size for entry in os.scandir(folder)) if folder == scratch.folder else 0
    room, budget = (shutil.disk_usage(folder).free + used) / (1 << 30), scratch.budget / (1 << 30)
    if room < budget:
        return warning(
            f"{scratch.folder}: there is room for {room:.1f} GiB, and up to {budget:.1f} may be fetched",
            "lower scratch.gib in the storage settings, or name a folder on a larger disk",
        )
    return ok(f"{scratch.folder}: room for {room:.1f} GiB, of which up to {budget:.1f} are used")


CHECKS = (Check("scratch folder", scratch, _CHOOSE, needs=("storage settings",)),)
