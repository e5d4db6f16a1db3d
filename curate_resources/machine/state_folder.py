"""Where this user's state lies that belongs to no root: the warm cluster, the command line's log."""

import os
from pathlib import Path


def state_folder() -> Path:
    """`$XDG_STATE_HOME/curate`, else `~/.local/state/curate`; it need not be there."""
    base = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return Path(base) / "curate"
