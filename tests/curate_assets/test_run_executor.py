"""A run that Dagster starts ends when it is told to, even where a library swallows the signal."""

import signal
import subprocess
import sys
from pathlib import Path

_RUN = """
import time

import dagster as dg

from curate_assets.orchestration.run_executor import run_executor


@dg.op
def swallow():
    print("ready", flush=True)
    try:
        time.sleep(60)
    except BaseException:
        pass  # as a destructor does
    time.sleep(60)


@dg.job(executor_def=run_executor)
def swallows():
    swallow()


if __name__ == "__main__":
    with dg.DagsterInstance.ephemeral() as instance:
        try:
            dg.execute_job(dg.reconstructable(swallows), instance)
        except BaseException as error:
            print(type(error).__name__)
        (run,) = instance.get_runs()
        print(run.status.value)
"""


def test_a_run_whose_library_swallows_the_signal_ends(tmp_path: Path):
    script = tmp_path / "swallowing.py"
    script.write_text(_RUN)
    run = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert run.stdout is not None
    try:
        assert run.stdout.readline() == "ready\n"
        run.send_signal(signal.SIGTERM)
        said, log = run.communicate(timeout=50)
    finally:
        run.kill()
    assert said.split()[-1] == "FAILURE", log
