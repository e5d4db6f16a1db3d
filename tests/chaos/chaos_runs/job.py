"""`python -m chaos_runs.job CONTROL -m curate_assets.job ROOT JOB`: the driver of a job, with `Control` attached.

To a cluster it is the interpreter that jobs are started with: see `interpreter`.
"""

import sys
from pathlib import Path

from chaos_runs.control import Control


def interpreter(control: Control) -> str:
    """An executable in the folder of `control` that starts the drivers of jobs."""
    path = control.folder / "python"
    modules = Path(__file__).resolve().parents[1]
    command = f'exec "{sys.executable}" -m chaos_runs.job "{control.folder}" "$@"'
    path.write_text(f'#!/bin/sh\nexport PYTHONPATH="{modules}:$PYTHONPATH"\n{command}\n')
    path.chmod(0o700)
    return str(path)


if __name__ == "__main__":
    from curate_assets.job import main

    Control(Path(sys.argv[1])).attach()
    sys.exit(main(*sys.argv[-2:]))
