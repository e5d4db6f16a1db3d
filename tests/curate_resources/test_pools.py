"""How stages become pools of actors, and plans that no cluster could ever start."""

import pyarrow as pa
import pytest

from curate_resources.ray_engine import PlanDoesNotFit, pools
from curate_resources.stage import Needs, Stage, Table


def stage(name: str, heavy: bool = False, **needs: float) -> Stage:
    table = Table(name, "thing", ("key",), pa.schema([("key", pa.string())]), name)
    return Stage(name, "things", (), (table,), lambda config, storage: lambda work: {}, heavy, needs=Needs(**needs))


GRAPH = [
    stage("probe", True),
    stage("scan", True),
    stage("split"),
    stage("score"),
    stage("embed", True),
    stage("select"),
]


def test_on_two_cores_everything_is_one_pool():
    (pool,) = pools(GRAPH, cpus=2, gpus=0, layout="auto")
    assert pool.name == "probe+scan+split+score+embed+select"
    assert pool.size == 2


def test_on_many_cores_every_heavy_stage_has_a_pool_with_the_light_ones_after_it():
    found = pools(GRAPH, cpus=16, gpus=0, layout="auto")
    assert [pool.name for pool in found] == ["probe", "scan+split+score", "embed+select"]
    assert sum(pool.size * pool.cpus for pool in found) == 16


def test_a_gpu_is_shared_as_declared():
    graph = [stage("scan", True), stage("embed", True, gpus=0.25)]
    found = pools(graph, cpus=8, gpus=1, layout="pooled")
    assert found[1].size == 4
    assert found[1].gpus == 0.25


@pytest.mark.parametrize(
    ("graph", "cpus", "gpus"),
    [(GRAPH, 2, 0), ([stage("caption", True, gpus=1)], 8, 0), ([stage("scan", True, cpus=8)], 4, 0)],
)
def test_a_plan_that_cannot_be_placed_is_refused_with_what_it_needs(graph, cpus, gpus):
    with pytest.raises(PlanDoesNotFit, match=r"has \d CPUs and 0 GPUs.*: \d CPUs, \d GPUs"):
        pools(graph, cpus, gpus, "pooled")
