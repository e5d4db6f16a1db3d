"""What `curate plan` prints, for outlooks that are known."""

from dataclasses import replace

import pytest

from curate_assets.operations import outlook as looking
from curate_assets.operations.outlook import AssetOutlook, Outlook, SourcesRead
from curate_assets.settings.resolve import validated
from curate_assets.video.graph import VIDEO
from curate_cli.commands.plan import _print_ahead
from curate_resources.sources.gone import Gone

IDLE = AssetOutlook(
    name="captions",
    whole=False,
    absent=(),
    stale=(),
    retried=(),
    compute=0,
    missing=0,
    failed=0,
    reuse=7,
    maybe=0,
    uncounted=0,
    dropped=0,
    reasons={},
    depends_on=(),
    blocked={},
    seconds=0.0,
    most_seconds=0.0,
)
SPLIT = replace(
    IDLE,
    name="clips",
    stale=("a-000000",),
    compute=12,
    maybe=8,
    dropped=3,
    reasons={"clips.min_seconds 2.0 -> 3.0": 11, "failed before": 1},
    depends_on=("shot_signals",),
    seconds=20.0,
    most_seconds=80.0,
)


def printed(capsys, *assets: AssetOutlook, ray: float = 0.0, show_all: bool = False) -> list[str]:
    seconds, most = (sum(each) for each in zip(*((a.seconds or 0, a.most_seconds or 0) for a in assets), strict=True))
    compute, reuse, maybe = (sum(getattr(each, name) for each in assets) for name in ("compute", "reuse", "maybe"))
    ahead = Outlook("/root", ("a-000000",), assets, compute, reuse, maybe, seconds + ray, most + ray, ray, ())
    _print_ahead(ahead, Gone(0, (), True), show_all, as_json=False)
    return capsys.readouterr().out.splitlines()


def test_reasons_stand_beside_their_assets_and_idle_ones_are_hidden(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    lines = printed(capsys, SPLIT, IDLE, ray=10.0)
    (row,) = [line for line in lines if line.startswith("clips ")]
    assert row.split() == "clips 12 to 20 7 1 ≤ 1 min 20 s 11: clips.min_seconds 2.0 -> 3.0".split()
    after = [line.strip() for line in lines[lines.index(row) + 1 :]]
    assert after[:3] == [
        "1: failed before",
        "3 rows will be deleted: their item is gone or rejected, or their asset is off",
        "depends on shot_signals",
    ]
    assert after[3] == "1 more assets have nothing to do: --all shows them"
    assert after[4] == "12 to 20 to compute, 14 are kept; about 30 s to 1 min 30 s, 10 s of it to start Ray"
    assert not any(line.startswith("captions") for line in lines)
    assert any(line.startswith("captions") for line in printed(capsys, SPLIT, IDLE, show_all=True))


def test_nothing_to_do_is_one_line(capsys):
    assert printed(capsys, IDLE)[1:] == ["Nothing is missing, and nothing changed: 7 are kept."]


def test_what_blocks_many_assets_is_said_once(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    blocked = {f"a-{number:06d}": "preset films is not valid" for number in range(5)}
    lines = printed(capsys, replace(SPLIT, blocked=blocked), replace(IDLE, blocked=blocked))
    told = [line for line in lines if "preset films" in line]
    assert told == [
        "cannot be made: clips, captions of a-000000, a-000001, a-000002 and 2 more: preset films is not valid"
    ]


@pytest.mark.parametrize(
    ("engine", "compute", "maybe", "warm", "starts"),
    [
        ({"kind": "auto"}, 3, 0, False, (True, True)),
        ({"kind": "auto"}, 2, 2, False, (False, True)),
        ({"kind": "auto"}, 3, 0, True, (False, False)),
        ({"kind": "ray"}, 1, 0, False, (True, True)),
        ({"kind": "in_process"}, 9, 9, False, (False, False)),
    ],
)
def test_the_start_of_ray_counts_where_a_run_starts_it(monkeypatch, engine, compute, maybe, warm, starts):
    monkeypatch.setattr(looking, "warm_cluster", lambda: object() if warm else None)
    heavy = replace(IDLE, name="clip_embeddings", compute=compute, maybe=maybe)
    light = replace(IDLE, name="clip_selection", compute=100)
    config = validated({"engine": engine})
    assert tuple(looking._starts_ray(VIDEO, config, [heavy, light], each) for each in (False, True)) == starts
    assert not looking._starts_ray(VIDEO, config, [light], True)


def test_only_the_first_causes_are_named(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    scanned = replace(SPLIT, name="shot_signals", depends_on=("source_videos",), dropped=0)
    split = replace(IDLE, name="clips", maybe=5, depends_on=("shot_signals", "source_videos"))
    cut = replace(IDLE, name="clip_files", maybe=5, uncounted=2, depends_on=("clips", "shot_signals"))
    (row,) = [line for line in printed(capsys, scanned, split, cut) if line.startswith("clip_files")]
    assert row.rstrip().endswith("depends on shot_signals; 2 videos are not split yet")


def test_sources_that_are_read_for_a_part_of_what_a_pass_gives_are_named(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    fine = SourcesRead("scan", 12, "source_videos", ("storyboards_fine",), ("shot_signals", "storyboards"))
    again = SourcesRead("cut", 3, "clips", ("clip_files",), ())
    ahead = Outlook("/root", ("a-000000",), (SPLIT,), 12, 7, 8, 20.0, 80.0, 0.0, (), (fine, again))
    _print_ahead(ahead, Gone(0, (), True), show_all=False, as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert (
        "scan reads the sources of 12 source_videos for storyboards_fine only, without shot_signals, storyboards"
        in lines
    )
    assert "cut reads the sources of 3 clips again" in lines
