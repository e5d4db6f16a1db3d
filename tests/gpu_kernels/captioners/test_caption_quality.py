"""What is suspicious about captions: cases by hand, and the same rules reckoned by SQL."""

import random
from typing import Any

import duckdb
import pytest

from gpu_kernels.captioners.caption_quality import CaptionQualityConfig, caption_qualities, words_of

PROMPT = "Describe this video clip in detail."
GOOD = "A dog walks along the street while people look at the camera."


def flags(text: str, config: CaptionQualityConfig | None = None) -> list[str]:
    (found,) = caption_qualities([text], [PROMPT], config or CaptionQualityConfig())
    assert found is not None
    return found.flags


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (GOOD, []),
        ("A dog walks.", ["too_short"]),
        ("A dog walks home.", []),
        (" ".join(f"w{n}" for n in range(1024)), []),
        (" ".join(f"w{n}" for n in range(1025)), ["too_long"]),
        ("Cars, cars and cars!", []),  # three of four, but of fewer than six words
        ("Cars, cars and cars! Then bikes.", ["repetitive"]),  # three of six
        ("Cars, cars and cars! Then two bikes.", []),  # three of seven
        ("a man walks. A man walks, a man walks", ["repetitive"]),  # three times the same three words
        ("A man walks in and a man walks out while someone else watches", []),  # twice
        ("red blue green red green blue blue red", ["repetitive"]),  # 3 different of 8: fewer than 0.4
        ("red blue green red green blue blue", []),  # of 7
        ("red blue green grey red green blue blue red grey", []),  # 4 of 10 are 0.4
        ("", ["too_short", "says_nothing"]),
        (" \u2026 !", ["too_short", "says_nothing"]),
        ("N/A", ["too_short", "says_nothing"]),
        ("none.", ["too_short", "says_nothing"]),
        ("None of the people on the street look at the camera.", []),
        ("I\u2019m sorry, I can\u2019t help with that.", ["says_nothing"]),
        ("I'm sorry, but I cannot describe this video.", ["says_nothing"]),
        ("A sign says: I'm sorry, we are closed today.", []),
        (PROMPT, ["says_nothing"]),
        (f"{PROMPT} A dog walks along.", ["says_nothing"]),
    ],
)
def test_a_caption_is_flagged_for_what_is_wrong_with_it(text: str, expected: list[str]) -> None:
    assert flags(text) == expected


def test_limits_are_settings() -> None:
    assert flags(GOOD, CaptionQualityConfig(min_words=13)) == ["too_short"]
    assert flags(GOOD, CaptionQualityConfig(max_words=11)) == ["too_long"]
    assert flags("No dog to be seen.", CaptionQualityConfig(refusals=["no dog"])) == ["says_nothing"]
    assert flags("N/A and nothing else here", CaptionQualityConfig(placeholders=[])) == []
    with pytest.raises(ValueError, match="min_words must not exceed max_words"):
        CaptionQualityConfig(min_words=9, max_words=8)


def test_a_caption_is_compared_with_those_beside_it_alone() -> None:
    ten = "one two three four five six seven eight nine ten"
    texts = [ten, f"{ten} eleven", None, ten, "Something else happens now here.", ten, ten.upper() + "!"]
    found = caption_qualities(texts, [PROMPT] * len(texts), CaptionQualityConfig())
    assert found[2] is None
    said = [(each.neighbour_similarity, "near_duplicate" in each.flags) for each in found if each is not None]
    near = pytest.approx(10 / 11)
    assert said == [(near, True), (near, True), (0, False), (0, False), (1, True), (1, True)]
    (alone,) = caption_qualities([ten], [PROMPT], CaptionQualityConfig())
    assert alone is not None and alone.neighbour_similarity is None


_SQL = r"""
with pieces as (
    select id, list_filter(
        list_transform(regexp_split_to_array(lower(text), '\s+'), lambda w: regexp_replace(w, '^\W+|\W+$', '', 'g')),
        lambda w: w <> '') as words
    from captions),
counted as (
    select id, words, len(words) as n, len(list_distinct(words)) as distinct_words,
        list_transform(
            range(1, len(words) - 1), lambda i: words[i] || ' ' || words[i + 1] || ' ' || words[i + 2]) as threes,
        lag(words) over (order by id) as before, lead(words) over (order by id) as after
    from pieces)
select n,
    n < 4, n > 1024,
    (n >= 6 and list_max(map_values(list_histogram(words))) >= 0.5 * n)
        or coalesce(list_max(map_values(list_histogram(threes))), 0) >= 3
        or (n >= 8 and distinct_words < 0.4 * n),
    greatest(
        len(list_intersect(words, before)) / len(list_distinct(words || before)),
        len(list_intersect(words, after)) / len(list_distinct(words || after))) >= 0.9
from counted order by id
"""


def test_sql_finds_the_same() -> None:
    draw = random.Random(7)
    texts: list[str] = []
    for _ in range(600):
        vocabulary = [f"w{n}" for n in range(draw.choice([2, 5, 20, 400]))]
        words = [
            draw.choice(vocabulary) + draw.choice(["", "", ",", "."]) for _ in range(draw.choice([2, 4, 7, 12, 60]))
        ]
        texts += [" ".join(words)]
        if draw.random() < 0.3:
            texts += [" ".join(draw.sample(words, len(words) - draw.randint(0, 1))).upper()]
    texts += [" ".join(f"w{n}" for n in range(1025))]
    config = CaptionQualityConfig(refusals=[], placeholders=[])
    found = caption_qualities(texts, [PROMPT] * len(texts), config)
    names = ("too_short", "too_long", "repetitive", "near_duplicate")
    ours = [(each.words, *(name in each.flags for name in names)) for each in found if each is not None]
    with duckdb.connect() as database:
        database.execute("create table captions (id integer, text varchar)")
        database.executemany("insert into captions values (?, ?)", list(enumerate(texts)))
        theirs: list[Any] = [tuple(map(int, row)) for row in database.execute(_SQL).fetchall()]
    assert [tuple(map(int, row)) for row in ours] == theirs
    assert all(10 < sum(row[at] for row in theirs) < 0.9 * len(texts) for at in (1, 3, 4))


def test_words_are_what_stands_between_white_space() -> None:
    assert words_of("  It's a \u201cred\u201d car\u2014fast;\n(so) 4,5 m!") == [
        "it's",
        "a",
        "red",
        "car\u2014fast",
        "so",
        "4,5",
        "m",
    ]
