"""What a stage needs once on every machine, such as a model in the local cache, before its workers are opened there."""

import fcntl
from typing import Any

from curate_resources.declarations.stage import Stage
from curate_resources.machine.private_folder import private_folder
from curate_resources.storage.root import Storage

_done: list[tuple[Any, Any, str]] = []
"""What was prepared in this process: by what, under which configuration, for which root."""


def prepared(stage: Stage, config: Any, storage: Storage) -> None:
    """Run the stage's `prepare`, one process of this machine at a time, and in each process once for a configuration:
    another one may name another model.

    The second process finds what the first one has fetched: `prepare` has to look before it fetches.
    """
    about = (stage.prepare, config, storage.root)
    if stage.prepare is None or about in _done:
        return
    with (private_folder("locks") / f"{stage.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # released with the file, also when the process dies
        stage.prepare(config, storage)
    _done.append(about)
