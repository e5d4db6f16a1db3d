"""The same tables whatever dies on the way: see docs/reliability.md. `make chaos` runs many seeds, this only some.

RUNS and SEED in the environment choose: seeds SEED, SEED + 1, ... Each line that is printed is one run.
"""

import os

import pytest
from chaos_runs.scenario import scenario
from chaos_runs.trial import Trial, may_mount

SHORT = (0, 1, 3, 12, 5)
"""An engine, a decoder, a write, a disk and a worker, where little is to be computed."""


def seeds() -> list[int]:
    first = int(os.environ.get("SEED", "0"))
    return list(range(first, first + int(os.environ["RUNS"]))) if "RUNS" in os.environ else list(SHORT)


@pytest.mark.deep
@pytest.mark.parametrize("seed", seeds())
def test_a_run_that_is_disturbed_and_run_again_leaves_what_an_undisturbed_one_does(
    seed, finished, new_root, tmp_path, request
):
    chosen = scenario(seed)
    if chosen.kind == "disk full" and not may_mount(tmp_path):
        pytest.skip("a disk that is full needs the right to mount one")
    cluster = request.getfixturevalue("cluster") if chosen.on_cluster else None
    outcome = Trial(chosen, new_root(), finished, cluster, tmp_path).run()
    print(f"\n{outcome}")
    assert outcome.violations == []
