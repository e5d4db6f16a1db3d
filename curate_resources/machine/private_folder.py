"""Folders of this user in the system's folder for temporary files, which everybody may write to."""

import os
import tempfile
from pathlib import Path
from stat import S_IMODE, S_ISDIR


def private_folder(name: str, below: str | None = None) -> Path:
    """The folder `curate-<uid>/<name>`, made if missing, which nobody else can look into or put something into.

    All processes of a user have to find the same folder, so its name is known to everyone beforehand.

    Args:
        below: where `curate-<uid>` lies; by default in the system's folder for temporary files.

    Raises:
        PermissionError: another user made it first, or it is open to others.
    """
    own = Path(below or tempfile.gettempdir()) / f"curate-{os.getuid()}"
    own.mkdir(mode=0o700, parents=True, exist_ok=True)
    about = own.lstat()
    if not S_ISDIR(about.st_mode) or about.st_uid != os.getuid():
        raise PermissionError(f"{own} is not a folder of this user: remove it, or set TMPDIR to a folder of your own")
    if S_IMODE(about.st_mode) & 0o077:
        raise PermissionError(
            f"other users have access to {own}: if you trust what is in it, `chmod 700 {own}`, otherwise remove it"
        )
    folder = own / name
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder
