"""Variants: several embedders or captioners side by side, each with a table of its own, and what reads one of them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from curate_assets.graph.root_graph import GraphChoice, graph_of
from curate_assets.graph.shard_checks import Shard
from curate_assets.graph.variants import VariantError, with_variants
from curate_assets.operations.query import run_query
from curate_assets.video.assets.clip_embeddings import CLIP_EMBEDDINGS
from curate_assets.video.assets.duplicate_pairs import DUPLICATE_PAIRS
from curate_assets.video.duplicates.evidence import evidence_of
from curate_assets.video.graph import VIDEO
from curate_resources.engines.in_process import InProcessEngine
from curate_resources.pipeline.run import materialize
from curate_resources.tables.history import History

EMBEDDINGS_AGAIN = GraphChoice(
    variants={"clip_embeddings": ["again"], "captions": ["short"]},
    reads={"duplicate_pairs": {"clip_embeddings": "clip_embeddings_again"}},
)


def test_a_variant_is_made_beside_the_first_and_read_in_its_place(copy) -> None:
    graph = with_variants(VIDEO, EMBEDDINGS_AGAIN)
    config = graph.config_model("Settings", __name__).model_validate({})
    tables, shards = copy.tables, copy.shards
    again = graph.tables["clip_embeddings_again"]
    plan = graph.plan([again.name], config, copy.storage.root)
    done = list(materialize(plan, shards, InProcessEngine()))
    first, second = tables.read(CLIP_EMBEDDINGS), tables.read(again)
    assert sum(each.computed for each in done) == second.num_rows == first.num_rows > 0
    own = ["fingerprint"]
    assert second.drop_columns(own).equals(first.drop_columns(own))
    assert set(second["fingerprint"].to_pylist()).isdisjoint(first["fingerprint"].to_pylist())
    assert sum(each.computed for each in materialize(plan, shards, InProcessEngine())) == 0

    judged = [check for check in graph.checks if check.table.name == again.name]
    assert {check.name for check in judged} == {
        check.name for check in VIDEO.checks if check.table.name == CLIP_EMBEDDINGS.name
    }
    for check in judged:
        found = check.judge(Shard(shards[0], tables, config, graph.units))
        assert not found.problems, check.name
        run_query(copy.storage, check.sql_of(shards[0]), graph)

    pairs = {}
    for name, made_by in (("first", VIDEO), ("again", graph)):
        gathered = made_by.gathered(DUPLICATE_PAIRS.name)
        assert gathered is not None
        for shard in shards:
            gathered.materialize(tables, config, shard)
        pairs[name] = tables.read(DUPLICATE_PAIRS, where="tier = 'meaning'")
    of_vectors = ["measured_a", "measured_b", "fingerprint"]
    assert pairs["again"].num_rows > 0 and pairs["again"].drop_columns(of_vectors).equals(
        pairs["first"].drop_columns(of_vectors)
    )
    assert set(pairs["again"]["measured_a"].to_pylist()).isdisjoint(pairs["first"]["measured_a"].to_pylist())
    # What shows pairs sees the vectors that they were measured by: by those of the first embedder, none holds any more.
    pair = pairs["again"].to_pylist()[0]
    clip, other = ((pair[f"shard_{side}"], pair[f"clip_{side}"]) for side in "ab")
    for shows in ("duplicate_groups", "dataset_report"):
        found = evidence_of(tables.under(graph.asset(shows).seen), [clip])
        assert "meaning" in [each.tier for each in found[clip, other]]
    assert not [each for own in evidence_of(tables, [clip]).values() for each in own if each.tier == "meaning"]
    (record,) = History(copy.storage).last(DUPLICATE_PAIRS.name, 1)
    assert "clip_embeddings_again" in record.inputs and "clip_embeddings" not in record.inputs


def test_a_variant_has_its_section_stage_and_place_in_the_lineage() -> None:
    graph = with_variants(VIDEO, EMBEDDINGS_AGAIN)
    assert {"embed_again", "caption_short"} <= {stage.name for stage in graph.stages}
    assert "clip_embeddings_again" in graph.asset("duplicate_pairs").reads
    # What is made from the pairs reads the vectors that they were measured by.
    assert "clip_embeddings_again" in graph.asset("duplicate_groups").reads
    assert "clip_embeddings" not in graph.asset("duplicate_groups").reads
    assert "captions" in graph.asset("training_dataset").reads
    Settings = graph.config_model("Settings", __name__)
    config = Settings.model_validate({"captions_short": {"window_frames": 64, "remainder_frames": 32}})
    assert graph.tables["captions_short"].recipe(config).settings["captions_short"]["window_frames"] == 64
    assert graph.tables["captions"].recipe(config).settings["captions"]["window_frames"] == 256
    assert graph.tables["captions_short"].recipe(Settings()).version == graph.tables["captions"].version


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ({"variants": {"caption": ["b"]}}, "did you mean 'captions'"),
        ({"variants": {"clip_files": ["b"]}}, "clip_files: cannot have variants; of these there can be several"),
        ({"variants": {"captions": ["B"]}}, "'B' must be a name of its own"),
        ({"variants": {"captions": ["b", "b"]}}, "'b' must be a name of its own"),
        ({"reads": {"training_set": {"captions": "captions_b"}}}, "there is no such asset"),
        ({"reads": {"training_dataset": {"captions": "captions_b"}}}, "name some in variants.captions"),
        (
            {"variants": {"captions": ["b"]}, "reads": {"clips": {"captions": "captions_b"}}},
            "clips does not read that",
        ),
        (
            {
                "variants": {"clip_embeddings": ["b", "c"]},
                "reads": {
                    "duplicate_pairs": {"clip_embeddings": "clip_embeddings_b"},
                    "duplicate_groups": {"clip_embeddings": "clip_embeddings_c"},
                },
            },
            "duplicate_pairs reads clip_embeddings_b, and duplicate_groups reads clip_embeddings_c",
        ),
    ],
)
def test_what_cannot_be_is_named(choice, said) -> None:
    with pytest.raises(VariantError, match=said):
        with_variants(VIDEO, GraphChoice.model_validate(choice))


def test_processes_are_told_what_the_root_chooses(tmp_path: Path) -> None:
    (tmp_path / "curate.yaml").write_text("variants: {captions: [short]}\nclips: {min_seconds: 1}\n")
    choice = graph_of(str(tmp_path))
    assert choice == GraphChoice(variants={"captions": ["short"]}) == GraphChoice.decoded(choice.encoded)
    assert GraphChoice.decoded("pictures") == GraphChoice(graph="pictures")


@pytest.mark.deep
def test_captioners_and_embedders_stand_side_by_side_on_ray(finished, tmp_path, examples_installed) -> None:
    root = finished.copy_to(tmp_path / "data")
    settings = {
        "engine": {"kind": "ray"},
        "clips": {"min_seconds": 0.6, "min_frames": 15, "crop_seconds": 0.2},
        "variants": {"captions": ["colours"], "clip_embeddings": ["colours"]},
        "reads": {
            "training_dataset": {"captions": "captions_colours"},
            "duplicate_pairs": {"clip_embeddings": "clip_embeddings_colours"},
        },
        "captions_colours": {"backend": "colours"},
        "clip_embeddings_colours": {"backend": "colours", "levels": 3},
    }

    def configure() -> None:
        (root.path / "curate.yaml").write_text(json.dumps(settings))

    def curate(*arguments: str, code: int = 0) -> str:
        command = [sys.executable, "-m", "curate_cli.main", *arguments, "--root", str(root.path)]
        done = subprocess.run(command, env=examples_installed, capture_output=True, text=True)
        assert done.returncode == code, done.stderr
        return done.stdout + done.stderr

    def planned() -> set[str]:
        ahead = json.loads(curate("plan", "--json"))["assets"]
        return {asset["name"] for asset in ahead if asset["absent"] or asset["stale"]}

    configure()
    before = planned()
    assert {"captions_colours", "clip_embeddings_colours", "duplicate_pairs", "training_dataset"} <= before
    assert before.isdisjoint({"clip_embeddings", "clips"})
    curate("materialize")
    assert planned() == set()
    sql = (
        "select (select count(*) from clip_embeddings where len(vector) > 27), "
        "(select count(*) from clip_embeddings_colours where len(vector) = 27), "
        "(select bool_and(text is null) from captions), "
        "(select bool_and(text like 'A % clip, mostly %.') from captions_colours)"
    )
    clips = root.tables.read(CLIP_EMBEDDINGS).num_rows
    assert curate("query", sql, "--csv").splitlines()[1] == f"{clips},{clips},true,true"
    (tar, *_) = sorted((root.path / "datasets").rglob("*.tar"))
    about = subprocess.run(["tar", "-xOf", tar, "--wildcards", "*.json"], capture_output=True, text=True).stdout
    assert '"model": "colours"' in about
    settings["captions_colours"]["least_saturation"] = 0.2
    configure()
    ahead = planned()
    assert ahead >= {"captions_colours", "training_dataset"} and not ahead & {"captions", "clip_embeddings_colours"}
    other = tmp_path / "other.yaml"
    other.write_text("variants: {captions: [long]}\n")
    assert "other `variants` or `reads`" in curate("plan", "--config", str(other), code=2).replace("\n", " ")
