"""Asking again about stored captions: whether each answer is nearer to its own row than to any other."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import pyarrow as pa

from curate_assets.graph.graph import Graph
from curate_resources.declarations.table import Row, Table
from curate_resources.pipeline.run import Engine
from curate_resources.pipeline.unit import Unit
from curate_resources.tables.lance_tables import Tables, one_of
from gpu_kernels.captioners.caption_quality import similarity_of, words_of
from gpu_kernels.errors import NotThere

MARGIN = 0.1
"""An answer is nearer to one text than to another if it shares this much more of all different words with it."""

Verdict = Literal["own", "another", "cannot tell", "no answer"]

_Window = tuple[str, str, int]


@dataclass(frozen=True)
class AskedAgain:
    """A stored caption, and what the model said of its window when it was asked again.

    Attributes:
        text: the stored one.
        again: the answer; None: there was none, and `failure` says why.
        own: share of words that the answer has in common with its own row's text, of all different words of both.
        others: the greatest such share with a text of another row of the sample; `nearest` is its clip.
    """

    shard: str
    clip_id: str
    start_frame: int
    text: str
    again: str | None
    failure: str | None = None
    own: float | None = None
    others: float | None = None
    nearest: str | None = None

    @property
    def verdict(self) -> Verdict:
        """Whose text the answer is nearer to."""
        if self.own is None:
            return "no answer"
        if self.others is None or abs(self.own - self.others) < MARGIN:
            return "cannot tell"
        return "own" if self.own > self.others else "another"

    def document(self) -> Row:
        """As JSON."""
        return {"verdict": self.verdict, **vars(self)}


def compared(windows: Sequence[AskedAgain]) -> list[AskedAgain]:
    """The windows of a sample with the shares of words that their answers have in common with all stored texts."""
    stored = [words_of(each.text) for each in windows]
    found: list[AskedAgain] = []
    for index, each in enumerate(windows):
        if each.again is None:
            found.append(each)
            continue
        said = words_of(each.again)
        shares = [similarity_of(said, words) for words in stored]
        other = max((at for at in range(len(windows)) if at != index), key=shares.__getitem__, default=None)
        among = (shares[other], windows[other].clip_id) if other is not None else (None, None)
        found.append(replace(each, own=shares[index], others=among[0], nearest=among[1]))
    return found


def ask_again(
    graph: Graph,
    table: Table,
    tables: Tables,
    settings: Iterable[tuple[Any, Sequence[str]]],
    engine_of: Callable[[Any], Engine],
    clips: int,
    seed: int = 0,
) -> list[AskedAgain]:
    """Ask the model about all windows of some clips as the stage does, and compare. Nothing is stored.

    Args:
        table: of `caption_tables`.
        settings: configurations, and the shards for which each holds.
        engine_of: gives what runs a plan with a configuration.
        clips: at most; drawn by their ids.
        seed: another one draws others.

    Raises:
        NotThere: no window has a text.
        MissingInput: the stage reads what is not there.
    """
    settings = list(settings)
    stored = _drawn(tables, table, [shard for _, shards in settings for shard in shards], clips, seed)
    answers: dict[_Window, Row] = {}
    for config, shards in settings:
        chosen = {shard: {key[1] for key in stored if key[0] == shard} for shard in shards}
        for row in _answers(graph, table, tables, config, chosen, engine_of):
            answers[row["shard"], row["clip_id"], row["start_frame"]] = row
    windows: list[AskedAgain] = []
    for (shard, clip_id, start_frame), text in stored.items():
        row = answers.get((shard, clip_id, start_frame))
        again = row["text"] if row is not None else None
        failure = None if again is not None else "there is no such window any more, or no model"
        if row is not None and row["error"] is not None:
            failure = row["error"]["message"]
        windows.append(AskedAgain(shard, clip_id, start_frame, text, again, failure))
    return compared(windows)


def counted(windows: Iterable[AskedAgain]) -> Counter[Verdict]:
    """How many windows have which verdict."""
    return Counter(each.verdict for each in windows)


def _drawn(tables: Tables, table: Table, shards: Sequence[str], clips: int, seed: int) -> dict[_Window, str]:
    """The texts of all windows of some clips, by window."""
    known = tables.read(table, {*shards}, ["shard", "clip_id"], "text IS NOT NULL").to_pylist()
    if not known:
        raise NotThere(f"no window has a text in {table.name}: curate materialize --select {table.name} makes them")

    def place(clip: tuple[str, str]) -> bytes:
        return hashlib.sha256(f"{seed}/{clip[0]}/{clip[1]}".encode()).digest()

    clip_ids = {(row["shard"], row["clip_id"]) for row in known}
    drawn = {*sorted(clip_ids, key=place)[:clips]}
    where = f"text IS NOT NULL AND {one_of('clip_id', (clip for _, clip in drawn))}"
    columns = ["shard", "clip_id", "start_frame", "text"]
    rows = tables.read(table, {shard for shard, _ in drawn}, columns, where).to_pylist()
    found = {
        (row["shard"], row["clip_id"], row["start_frame"]): row["text"]
        for row in rows
        if (row["shard"], row["clip_id"]) in drawn
    }
    return dict(sorted(found.items()))


def _answers(
    graph: Graph,
    table: Table,
    tables: Tables,
    config: Any,
    chosen: dict[str, set[str]],
    engine_of: Callable[[Any], Engine],
) -> list[Row]:
    """New rows of all windows of chosen clips, which are given by shard."""
    plan = graph.plan([table.name], config, tables.storage.root, force=True)
    (item,) = {stage.item for stage in plan.stages}
    units: list[Unit] = []
    for shard, clips in chosen.items():
        for unit in plan.units(shard) if clips else ():
            asked = [clip in clips for clip in unit.rows[item]["clip_id"].to_pylist()]
            if any(asked):
                unit.rows[item] = unit.rows[item].filter(pa.array(asked))
                units.append(unit)
    made = engine_of(config).run(plan, units) if units else ()
    return [row for unit in made for row in unit.rows[table.name].to_pylist()]
