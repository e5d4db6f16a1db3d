"""How stages become pools of actors, and plans that no cluster could ever start."""

import pyarrow as pa
import pytest

from curate_resources.pools import Node, PlanDoesNotFit, check_stage, pools
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
    (pool,) = pools(GRAPH, [Node(2)], "auto")
    assert pool.name == "probe+scan+split+score+embed+select"


def test_on_many_cores_every_heavy_stage_has_a_pool_with_the_light_ones_after_it():
    found = pools(GRAPH, [Node(16)], "auto")
    assert [pool.name for pool in found] == ["probe", "scan+split+score", "embed+select"]
    assert [pool.first for pool in found] == [0, 1, 4]


def test_a_stage_with_an_environment_of_its_own_is_never_fused_with_others():
    found = pools(GRAPH, [Node(4)], "fused", {"embed": "/venv/bin/python"})
    assert [(pool.name, pool.environment) for pool in found] == [
        ("probe+scan+split+score", None),
        ("embed", "/venv/bin/python"),
        ("select", None),
    ]


def test_workers_share_a_gpu_as_declared_and_a_fused_one_holds_all_models():
    graph = [stage("scan", True, gpus=0.5), stage("embed", True, gpus=0.25)]
    assert [pool.gpus for pool in pools(graph, [Node(8, 1)], "pooled")] == [0.5, 0.25]
    assert [pool.gpus for pool in pools(graph, [Node(8, 1)], "fused")] == [0.75]


def test_auto_takes_the_layout_for_which_there_is_room():
    graph = [stage("scan", True), stage("embed", True, cpus=4)]
    assert len(pools(graph, [Node(4)], "auto")) == 1  # apart they need five
    assert len(pools(graph, [Node(1), Node(4)], "auto")) == 2


@pytest.mark.parametrize(
    ("graph", "nodes", "wants"),
    [
        (GRAPH, [Node(2)], "probe needs 1 CPUs and 0 GPUs; scan.* the cluster has 2 CPUs and 0 GPUs"),
        ([stage("caption", True, gpus=1)], [Node(8)], "caption needs 1 CPUs and 1 GPUs"),
        ([stage("scan", True, cpus=8)], [Node(4), Node(4)], "scan needs 8 CPUs .* 2 machines: 4 CPUs"),
        ([stage("scan", True, min_workers=3)], [Node(2)], "scan needs 3 x 1 CPUs"),
    ],
)
def test_a_plan_that_cannot_be_placed_is_refused_with_what_it_needs_and_what_there_is(graph, nodes, wants):
    with pytest.raises(PlanDoesNotFit, match=wants):
        pools(graph, nodes, "pooled")


def test_a_stage_that_fits_nowhere_is_named():
    check_stage(stage("embed", True, gpus=0.5), [Node(1), Node(4, 1)])
    with pytest.raises(PlanDoesNotFit, match=r"stage embed needs 1 CPUs and 2 GPUs; the cluster has 2 machines"):
        check_stage(stage("embed", True, gpus=2), [Node(1, 1), Node(4, 1)])


def test_needs_that_no_one_can_meet_are_an_error():
    with pytest.raises(ValueError, match="can never be met"):
        Needs(min_workers=3, max_workers=2)
