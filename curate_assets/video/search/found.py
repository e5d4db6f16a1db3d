"""What a search is asked, and what it finds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from curate_assets.video.clip_key import ClipKey
from gpu_kernels.errors import UserError

By = Literal["words", "meaning", "picture", "like"]
"""How something was found: by its words; by what its caption means; by words as a picture is; by a picture."""


@dataclass(frozen=True)
class Query:
    """What is looked for.

    Attributes:
        words: that texts have, or mean.
        like: a clip's id, or a file: a picture or a video.
        where: a condition in SQL on columns of the clips' tables.
        shards: of these alone; None: of all.
        selected: only clips that are kept: selected, and the keepers of their groups of duplicates.
        limit: clips at most.
        by: the table of vectors that `like` goes by; None: `clip_embeddings`.

    Raises:
        UserError: a text holds bytes that are no characters; the limit is no number from 1; `by` without `like`.
    """

    words: str | None = None
    like: str | None = None
    where: str | None = None
    shards: Sequence[str] | None = None
    selected: bool = False
    limit: int = 20
    by: str | None = None

    def __post_init__(self) -> None:
        for name in ("words", "like", "where"):
            text: str | None = getattr(self, name)
            if text is not None and any("\ud800" <= each <= "\udfff" for each in text):
                raise UserError(f"{name} are no characters of UTF-8: {text[:40].encode(errors='backslashreplace')!r}")
        if not hasattr(self.limit, "__index__") or self.limit < 1:  # numpy's whole numbers are some, too; 2.0 is none
            raise UserError(f"limit {self.limit}: say how many clips at most, from 1")
        if self.by is not None and self.like is None:
            raise UserError(f"by {self.by}: it says by which vectors to go from a clip or a file: give --like, too")


@dataclass(frozen=True)
class Match:
    """Why a clip was found: its place in one ranking.

    Attributes:
        field: the column that was searched, as `table.column`.
        rank: from 1.
        score: BM25 of words; the cosine otherwise.
        snippet: of the text, what matched; None where pictures were compared.
    """

    by: By
    field: str
    rank: int
    score: float
    snippet: str | None = None


@dataclass(frozen=True)
class Hit:
    """A clip that was found; `score` is the sum of 1 / (60 + rank) over its matches."""

    shard: str
    video_id: str
    clip_id: str
    uri: str
    start_frame: int
    end_frame: int
    start_ns: int
    end_ns: int
    score: float
    matches: tuple[Match, ...]


@dataclass(frozen=True)
class Found:
    """What came of a search.

    Attributes:
        hits: the best first.
        searched: the columns that were looked in, as `table.column`.
        notes: what could not be looked in, and what to do about it.
    """

    hits: tuple[Hit, ...]
    searched: tuple[str, ...]
    notes: tuple[str, ...]

    def arrow(self) -> pa.Table:
        """The hits as rows."""
        rows = [{**vars(hit), "matches": [vars(match) for match in hit.matches]} for hit in self.hits]
        return pa.Table.from_pylist(rows, schema=SCHEMA)


_MATCH = pa.struct(
    [
        ("by", pa.string()),
        ("field", pa.string()),
        ("rank", pa.int32()),
        ("score", pa.float32()),
        ("snippet", pa.string()),
    ]
)
SCHEMA = pa.schema(
    [
        ("shard", pa.string()),
        ("video_id", pa.string()),
        ("clip_id", pa.string()),
        ("uri", pa.string()),
        ("start_frame", pa.int64()),
        ("end_frame", pa.int64()),
        ("start_ns", pa.int64()),
        ("end_ns", pa.int64()),
        ("score", pa.float64()),
        ("matches", pa.list_(_MATCH)),
    ]
)
"""Of `Found.arrow`."""

_SMOOTHING = 60


def fused(rankings: Sequence[Mapping[ClipKey, Match]], limit: int) -> list[tuple[ClipKey, float, tuple[Match, ...]]]:
    """Clips of several rankings in one order: by the sum of 1 / (60 + rank), then by their ids.

    Reciprocal rank fusion: G. Cormack, C. Clarke and S. Büttcher, SIGIR 2009. Scores of different kinds are never
    compared, only places.
    """
    matches: dict[ClipKey, list[Match]] = {}
    for ranking in rankings:
        for key, match in ranking.items():
            matches.setdefault(key, []).append(match)
    scores = {key: sum(1 / (_SMOOTHING + match.rank) for match in each) for key, each in matches.items()}
    order = sorted(scores, key=lambda key: (-round(scores[key], 12), key))[:limit]
    return [(key, scores[key], tuple(sorted(matches[key], key=lambda each: (each.rank, each.field)))) for key in order]
