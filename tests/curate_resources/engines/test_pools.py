"""How stages become pools of actors, and plans that no cluster could ever start."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate_resources.declarations.stage import Needs, Stage
from curate_resources.declarations.table import Column, Table
from curate_resources.engines.pools import Node, Place, PlanDoesNotFit, Pool, check_stage, holds_one_more, places, pools


def stage(name: str, heavy: bool = False, **needs: float) -> Stage:
    table = Table(name, "thing", ("key",), (Column("key", pa.string()),), name)
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
    for impossible in ({"min_workers": 3, "max_workers": 2}, {"gpus": 1.2}, {"gpus": -1}, {"memory_gib": -1}):
        with pytest.raises(ValueError, match="can never be met"):
            Needs(**impossible)


def shares(*gpus: float, **needs: float) -> list[Stage]:
    return [stage(f"s{number}", True, gpus=share, **needs) for number, share in enumerate(gpus)]


@pytest.mark.parametrize(
    ("graph", "nodes"),
    [
        (shares(0.6, min_workers=3), [Node(8, 2)]),  # 1.8 of 2, but two of them on no GPU
        (shares(0.4, min_workers=5), [Node(8, 2)]),
        (shares(0.7, 0.7, 0.4), [Node(8, 2)]),
        (shares(1, 0.5, 0.6), [Node(8, 2)]),
        (shares(2, 0.1), [Node(8, 2)]),
        (shares(2), [Node(8, 1), Node(8, 1)]),
        (shares(0.5, 0.5, cpus=4), [Node(4, 1), Node(4)]),
    ],
)
def test_a_share_of_a_gpu_is_on_one_gpu(graph, nodes):
    with pytest.raises(PlanDoesNotFit, match="GPUs"):
        pools(graph, nodes, "pooled")


def test_what_does_not_fit_on_one_gpu_says_how_many_do():
    wants = r"s0 needs 3 x 1 CPUs and 0.6 GPUs \(1 of its workers fit on one GPU\).*has 8 CPUs and 2 GPUs"
    with pytest.raises(PlanDoesNotFit, match=wants):
        pools(shares(0.6, min_workers=3), [Node(8, 2)], "pooled")


@pytest.mark.parametrize(
    ("gpus", "names"),
    [
        ((0.6, 0.6), ["s0", "s1"]),
        ((0.5, 0.5), ["s0+s1"]),
        ((1, 0.25), ["s0", "s1"]),
        ((1, 1), ["s0", "s1"]),
        ((2, 0, 0.5, 0.5), ["s0+s1", "s2+s3"]),
        ((1 / 3, 1 / 3, 1 / 3), ["s0+s1+s2"]),
    ],
)
def test_only_models_that_fit_on_one_gpu_are_fused(gpus, names):
    found = pools(shares(*gpus), [Node(8, 4)], "fused")
    assert [pool.name for pool in found] == names
    assert all(pool.gpus <= 1 or pool.gpus.is_integer() for pool in found), "Ray would refuse them"


def test_memory_of_a_gpu_is_a_share_of_the_smallest_device():
    model = stage("embed", True, gpus=1, gpu_memory_gib=30)

    def share(*nodes: Node) -> float:
        (pool,) = pools([model], nodes, "auto")
        return pool.gpus

    assert share(Node(8, 2, gpu_memory_gib=80)) == 0.375
    assert share(Node(8, 2, gpu_memory_gib=80), Node(8, 1, gpu_memory_gib=40), Node(8)) == 0.75
    assert share(Node(8, 1, gpu_memory_gib=90)) == 0.3334, "never less than it asks for"
    with pytest.raises(
        PlanDoesNotFit, match=r"embed asks for 30 GiB .* the smallest of the cluster has 24: ask for whole"
    ):
        share(Node(8, 2, gpu_memory_gib=80), Node(8, 1, gpu_memory_gib=24))
    with pytest.raises(PlanDoesNotFit, match=r"no machine says .* set cluster\.gpu_memory_gib"):
        share(Node(8, 2, gpu_memory_gib=80), Node(8, 1))
    if_any = stage("embed", True, gpus=1, gpu_memory_gib=30, gpus_if_any=True)
    assert pools([if_any], [Node(8)], "auto")[0].gpus == 0
    with pytest.raises(PlanDoesNotFit, match="embed needs 1 CPUs and 1 GPUs; the cluster has 8 CPUs and 0 GPUs"):
        check_stage(model, [Node(8)])


def test_workers_on_one_gpu_are_reserved_as_one_place():
    nodes = [Node(4, 2), Node(4, 1), Node(8)]
    found = pools([*shares(0.8, 0.8, 0.4, 0.2, 0.2), stage("cut", True)], nodes, "pooled")
    reserved = places(found, nodes)
    assert reserved is not None
    on_gpus = sorted((place.pools, place.gpus) for place in reserved if place.gpus)
    assert on_gpus == [((0, 3), 1.0), ((1, 4), 1.0), ((2,), 0.4)]
    assert [place for place in reserved if not place.gpus] == [Place((5,), 1.0, 0.0, 0.0)]
    # Ray adds up what is free on a machine: of several places one above a half must be the whole, or two would do.
    (alone,) = places(pools(shares(0.6), [Node(4, 1)], "pooled"), [Node(4, 1)]) or []
    assert alone.gpus == 0.6, "a run that needs but one GPU leaves the rest of it to others"


@given(st.data())
def test_every_place_of_the_packing_is_real(data):
    nodes = [
        Node(data.draw(st.integers(1, 8)), data.draw(st.integers(0, 3))) for _ in range(data.draw(st.integers(1, 3)))
    ]
    kinds = st.sampled_from([0, 0.1, 0.25, 1 / 3, 0.5, 0.6, 0.9, 1, 2])
    chosen = data.draw(st.lists(kinds, min_size=1, max_size=6))
    graph = [stage(f"s{n}", True, gpus=gpus, min_workers=1 + n % 2, max_workers=2) for n, gpus in enumerate(chosen)]
    try:
        found = pools(graph, nodes, "pooled")
    except PlanDoesNotFit:
        return
    reserved = places(found, nodes) or []
    assert sorted(number for place in reserved for number in place.pools) == sorted(
        number for number, pool in enumerate(found) for _ in range(pool.least)
    )
    for place in reserved:
        share = sum(found[number].gpus for number in place.pools)
        assert share <= max(1.0, place.gpus) + 1e-4 and share <= place.gpus + 1e-4
        assert place.cpus == sum(found[number].cpus for number in place.pools)
    assert sum(place.gpus for place in reserved) <= sum(node.gpus for node in nodes)


def test_a_gpu_that_is_taken_if_there_is_one():
    graph = [stage("scan", True, gpus=0.5, gpus_if_any=True)]
    assert [pool.gpus for pool in pools(graph, [Node(4)], "auto")] == [0]
    assert [pool.gpus for pool in pools(graph, [Node(4), Node(4, 1)], "auto")] == [0.5]


def test_memory_is_a_need_too():
    graph = [stage("caption", True, memory_gib=24, min_workers=2)]
    assert pools(graph, [Node(8, 0, 64)], "auto")
    with pytest.raises(PlanDoesNotFit, match=r"2 x 1 CPUs and 0 GPUs and 24 GiB, .* the cluster has .* and 32.0 GiB"):
        pools(graph, [Node(8, 0, 32)], "auto")


def test_more_workers_are_taken_on_only_where_a_gpu_has_room_for_one():
    (pool,) = pools(shares(0.4), [Node(8, 2)], "pooled")
    assert holds_one_more([pool] * 3, pool, [Node(8, 2)])
    assert not holds_one_more([pool] * 4, pool, [Node(8, 2)]), "0.2 is free on either, which is not 0.4 of one"


def test_a_pool_always_has_the_workers_that_one_of_its_stages_asks_for():
    pool = Pool((stage("scan", min_workers=3), stage("split", max_workers=2)), 0)
    assert (pool.least, pool.most) == (3, 3)
