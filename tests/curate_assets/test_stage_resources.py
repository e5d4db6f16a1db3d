"""What stages that run a model ask for, and what the configuration says over it."""

import json
import sys
from typing import Any

import pytest

from curate_assets.graph.platform import ConfigError
from curate_assets.orchestration.engines import engine_of
from curate_assets.orchestration.resource import config_schema
from curate_assets.settings.resolve import validated
from curate_assets.video.graph import VIDEO
from curate_resources.declarations.stage import Needs
from curate_resources.engines.auto_engine import AutoEngine
from curate_resources.engines.in_process import InProcessEngine
from curate_resources.engines.pools import Node, pools
from gpu_kernels.errors import UserError

WANTED = frozenset(table.name for stage in VIDEO.stages for table in stage.writes)
QWEN = {"backend": "transformers", "model": "a/b", "revision": "0" * 40}


def needs(**settings: Any) -> dict[str, Needs]:
    plan = VIDEO.plan(WANTED, validated(settings), "/nowhere")
    return {stage.name: stage.needs for stage in plan.stages}


def test_models_ask_for_a_share_of_a_gpu_where_they_run_on_one():
    on_cuda = {"shot_signals": {"device": "cuda"}, "clip_embeddings": {"device": "cuda"}}
    asked = needs(**on_cuda, captions={**QWEN, "device": "cuda"})
    shares = {name: each.gpus for name, each in asked.items() if each.gpus}
    assert shares == {"scan": 0.125, "embed": 0.125, "caption": 1.0}
    assert not any(each.gpus_if_any for each in asked.values())


def test_by_default_they_take_one_if_there_is_any_and_a_cpu_or_a_server_needs_none():
    plan = VIDEO.plan(WANTED, validated({}), "/nowhere")
    for nodes, expected in (([Node(16)], 0), ([Node(16, 1)], 0.125)):
        found = {stage.name: stage.needs.gpus for pool in pools(plan.stages, nodes, "auto") for stage in pool.stages}
        assert found["scan"] == found["embed"] == expected and found["caption"] == found["cut"] == 0
    served = {"backend": "openai", "endpoint": "http://127.0.0.1:1/v1", "model": "m"}
    without = needs(
        shot_signals={"network": "none", "device": "cuda"},
        clips={"splitter": "fixed_stride"},
        clip_embeddings={"device": "cpu"},
        captions=served,
    )
    assert not any(each.gpus for each in without.values())


def test_the_configuration_goes_over_what_a_stage_asks_for():
    engine = {"stages": {"embed": {"gpus": 0.5, "cpus": 2}, "cut": {"memory_gib": 3, "max_workers": 4}}}
    asked = needs(clip_embeddings={"device": "cuda"}, engine=engine)
    assert (asked["embed"].gpus, asked["embed"].cpus, asked["embed"].gpus_if_any) == (0.5, 2, False)
    assert (asked["cut"].memory_gib, asked["cut"].max_workers) == (3, 4)
    assert asked["scan"] == Needs(gpus=0.125, gpus_if_any=True)
    by_memory = needs(engine={"stages": {"embed": {"gpu_memory_gib": 5}, "cut": {"workers": 2}}})
    assert (by_memory["embed"].gpu_memory_gib, by_memory["embed"].gpus_if_any) == (5, True)
    assert (by_memory["cut"].min_workers, by_memory["cut"].max_workers) == (2, 2)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"engine": {"stages": {"embed": {"gpu": 1}}}}, r"engine\.stages\.embed\.gpu: unknown key"),
        ({"engine": {"stages": {"embed": {"gpus": 1.2}}}}, "fraction of one device or a number of whole ones, not 1.2"),
        ({"engine": {"stages": {"embde": {"gpus": 1}}}}, r"engine\.stages\.embde: .* did you mean 'embed'\?"),
        ({"engine": {"environments": {"captoin": "/python"}}}, r"engine\.environments\.captoin: .*mean 'caption'\?"),
        ({"engine": {"stages": {"cut": {"min_workers": 3, "max_workers": 2}}}}, r"engine\.stages\.cut: .*never be met"),
        ({"engine": {"stages": {"cut": {"gpus": 1, "gpu_memory_gib": 4}}}}, "give gpus or gpu_memory_gib, not both"),
        ({"engine": {"stages": {"cut": {"workers": 1, "max_workers": 4}}}}, "give workers, or min_workers and max"),
        (
            {"engine": {"stages": {"cut": {"environment": "/a"}}, "environments": {"cut": "/b"}}},
            r"environments\.cut and stages\.cut\.environment: give one",
        ),
        (
            {"engine": {"stages": {"scan": {"gpus": 0}}}, "shot_signals": {"device": "cuda"}},
            r"engine\.stages\.scan\.gpus is 0, but its model is set to run on a GPU",
        ),
    ],
)
def test_what_no_stage_can_run_with_is_an_error_that_names_the_key(settings, said):
    with pytest.raises(ConfigError, match=said):
        needs(**settings)


def test_a_stage_with_an_environment_is_heavy_and_travels_to_a_job(tmp_path):
    python = tmp_path / "python"
    python.touch()
    config = validated({"engine": {"environments": {"select": str(python)}, "stages": {"select": {"cpus": 2}}}})
    (select,) = VIDEO.plan(frozenset({"clip_selection"}), config, "/nowhere").stages
    assert select.heavy and select.needs.cpus == 2
    engine = engine_of(config)
    assert isinstance(engine, AutoEngine) and engine.environments == {"select": str(python)}
    sent = validated(json.loads(json.dumps(config.model_dump(mode="json"))))
    assert VIDEO.plan(frozenset({"clip_selection"}), sent, "/nowhere").stages == (select,)


def test_an_environment_is_said_beside_the_other_resources_of_its_stage(tmp_path):
    python = tmp_path / "python"
    settings = {"engine": {"stages": {"select": {"environment": str(python)}}}}
    with pytest.raises(UserError, match=r"engine\.stages\.select\.environment: there is no interpreter"):
        engine_of(validated(settings))
    python.touch()
    engine = engine_of(validated(settings))
    assert isinstance(engine, AutoEngine) and engine.environments == {"select": str(python)}
    assert needs(**settings) and VIDEO.plan(frozenset({"clip_selection"}), validated(settings), "/nowhere").heavy


def test_the_interpreter_of_the_run_itself_is_no_other_environment():
    for kind in ("auto", "in_process"):
        engine = engine_of(validated({"engine": {"kind": kind, "environments": {"embed": sys.executable}}}))
        assert isinstance(engine, AutoEngine | InProcessEngine) and engine.environments == {}


def test_dagsters_launchpad_knows_the_resources_of_stages():
    shape = config_schema(type(validated({})))["engine"].config_type.fields["stages"].config_type
    assert set(shape.inner_type.fields) == {
        *("cpus", "gpus", "gpu_memory_gib", "memory_gib", "workers", "min_workers", "max_workers", "environment")
    }
