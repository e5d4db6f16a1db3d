"""The search: every ranking that can be made of what is asked and stored, in one order."""

from collections.abc import Sequence
from typing import Any

from curate_assets.graph.graph import Graph
from curate_assets.graph.renaming import settings_under
from curate_assets.video.assets.caption_embeddings import CAPTION_EMBEDDINGS
from curate_assets.video.assets.clips import CLIPS
from curate_assets.video.assets.measurements.ocr_words import OCR_WORDS
from curate_assets.video.assets.measurements.text_overlays import TEXT_OVERLAYS
from curate_assets.video.assets.source_videos import SOURCE_VIDEOS
from curate_assets.video.caption_texts import CAPTION_STAGES
from curate_assets.video.clip_key import ClipKey
from curate_assets.video.search.asked_words import AskedWords
from curate_assets.video.search.captions_that_count import counting
from curate_assets.video.search.clip_filter import ClipFilter, clip_filter
from curate_assets.video.search.found import Found, Hit, Match, Query, fused
from curate_assets.video.search.looked_for import as_picture, like, vector_table, vector_tables
from curate_assets.video.search.rankings import Model, Ranking, by_meaning, by_picture, by_words, text_columns
from curate_resources.declarations.table import Table
from curate_resources.tables.lance_tables import Tables, one_of, quoted
from gpu_kernels.errors import CurateError, NotThere, UserError
from gpu_kernels.texts.encoder import TextEncoder


def search(tables: Tables, graph: Graph, config: Any, query: Query) -> Found:
    """The clips that are most like what is asked for, the best first.

    Args:
        config: the settings of the root: of embedders, storyboards and limits.

    Raises:
        UserError: nothing is asked for, or what is asked cannot be: a condition that is not SQL, a file that cannot be
            decoded, a table that there is not.
        NotThere: no table that could be searched was materialized yet.
    """
    if not (query.words or "").strip() and query.like is None:
        raise UserError("nothing is looked for: give words, or --like CLIP-OR-FILE")
    asked = _Asked(tables, graph, config, query)
    if query.words:
        asked.words(query.words)
    if query.like is not None:
        asked.like(query.like)
    if not asked.searched:
        raise NotThere("there is nothing to search yet: " + "; ".join(asked.notes))
    best = fused(asked.rankings, query.limit)
    return Found(_hits(tables, best), tuple(asked.searched), tuple(asked.notes))


class _Asked:
    """The rankings of a query."""

    def __init__(self, tables: Tables, graph: Graph, config: Any, query: Query) -> None:
        self._tables, self._graph, self._config, self._limit = tables, graph, config, query.limit
        self._by = query.by
        self._stages = tables.under(graph.asset(CAPTION_EMBEDDINGS.name).seen)
        """Under which the stages of captions are those that are made from each other."""
        self._clips: ClipFilter = clip_filter(tables, graph, query.where, query.shards, query.selected)
        self.rankings: list[Ranking] = []
        self.searched: list[str] = []
        self.notes: list[str] = _without_clips(tables, query.shards)
        if self._clips.none:
            self.notes.append("no clip fulfils the condition, so nothing can be found")

    def words(self, words: str) -> None:
        """By full text, by the meaning of captions, and by pictures where an embedder knows words."""
        asked = AskedWords.of(words)
        for table, column in text_columns(self._graph):
            if self._has_rows(table, f"{table.name}.{column.name}"):
                counts = counting(self._stages, table)
                found = by_words(self._tables, table, column.name, asked, *self._few, counts)
                self._add(f"{table.name}.{column.name}", found)
        if asked.phrases:
            self.notes.append("phrases in quotation marks are looked for in texts, not in meanings and pictures")
            return
        self._meaning(words)
        for table in vector_tables(self._graph).values():
            if self._tables.exists(table.name):
                self._pictures(table, words)

    def like(self, given: str) -> None:
        """By a clip or a file."""
        table = vector_table(self._tables, self._graph, self._by)
        looked = like(self._tables, table, settings_under(self._config, self._graph.asset(table.name).seen), given)
        found, there = by_picture(self._tables, "like", table, looked.vector, looked.model, *self._few, looked.clip)
        self._note_others(table, looked.model, there or looked.clip is not None)
        self._add(f"{table.name}.vector", found)

    def _pictures(self, table: Table, words: str) -> None:
        """By what pictures show. A model or a server that is not there takes nothing from what texts say."""
        try:
            looked = as_picture(table, self._config, words)
        except (CurateError, ImportError) as error:
            self.notes.append(f"{table.name}.vector was not searched by words: {error}")
            return
        if looked is None:
            return
        asked = (self._tables, "picture", table, looked.vector, looked.model, *self._few)
        found, there = by_picture(*asked, than=looked.than)
        self._note_others(table, looked.model, there)
        self._add(f"{table.name}.vector", found)

    def _note_others(self, table: Table, model: Model, there: bool) -> None:
        """Say which vectors cannot be compared, of all or, where none of this model are `there`, of these clips."""
        if self._clips.none:
            return
        remedy = f"`curate materialize --select {table.name}`"
        if not there:
            said = f"has no vectors of {model.name}@{model.revision} among these clips"
            self.notes.append(f"{table.name} {said}: {remedy}")
            return
        own = f"model = {quoted(model.name)} AND model_revision = {quoted(model.revision)}"
        others = self._tables.dataset(table.name).count_rows(f"status = 'ok' AND NOT ({own})")
        if others:
            said = f"vectors of another model than {model.name}@{model.revision} were not looked at ({others:,})"
            self.notes.append(f"{table.name}: {said}: {remedy}")

    def _meaning(self, words: str) -> None:
        if not self._has_rows(CAPTION_EMBEDDINGS, "the meaning of captions"):
            return
        try:
            encoder = TextEncoder()
        except NotThere as missing:
            self.notes.append(f"the meaning of captions was not searched: {missing}")
            return
        vector, model = encoder.embed([words])[0], Model(encoder.name, encoder.revision)
        self._add(f"{CAPTION_EMBEDDINGS.name}.vector", by_meaning(self._stages, vector, model, *self._few))

    @property
    def _few(self) -> tuple[ClipFilter, int]:
        return self._clips, self._limit

    def _has_rows(self, table: Table, what: str) -> bool:
        """Whether there is anything in a table; where not, that is noted, with the remedy."""
        if self._tables.exists(table.name) and self._tables.dataset(table.name).count_rows():
            return True
        self.notes.append(f"{what}: no rows yet ({_remedy(self._config, table)})")
        return False

    def _add(self, field: str, ranking: Ranking) -> None:
        self.searched.append(field)
        self.rankings.append(ranking)


def _without_clips(tables: Tables, shards: Sequence[str] | None) -> list[str]:
    """Of shards that are asked for by name, which have no clips yet: else nothing would seem to be in them."""
    if not shards:
        return []
    known: set[str] = set()
    if tables.exists(CLIPS.name):
        for batch in tables.batches(CLIPS, ["shard"], one_of("shard", shards)):
            known.update(batch["shard"].unique().to_pylist())
    missing = sorted({*shards} - known)
    return [f"{', '.join(missing)}: no clips yet (`curate materialize --shard {missing[0]}`)"] if missing else []


def _remedy(config: Any, table: Table) -> str:
    section = getattr(config, table.name, None)
    wanted: list[str] = []
    if table is CAPTION_EMBEDDINGS or table in CAPTION_STAGES[1:]:  # which are made of captions
        wanted += ["captions.backend"] if config.captions.backend == "none" else []
    if table is OCR_WORDS and not config.text_overlays.enabled:  # whose lines are read
        wanted.append(f"{TEXT_OVERLAYS.name}: {{enabled: true}}")
    if getattr(section, "enabled", True) is False:
        wanted.append(f"{table.name}: {{enabled: true}}")
    if getattr(section, "backend", "") == "none":
        wanted.append(f"{table.name}.backend")
    made = f"`curate materialize --select {f'+{table.name}' if len(wanted) > 1 else table.name}`"
    return f"set {' and '.join(f'`{each}`' for each in wanted)}, then {made}" if wanted else made


def _hits(tables: Tables, best: Sequence[tuple[ClipKey, float, tuple[Match, ...]]]) -> tuple[Hit, ...]:
    if not best:
        return ()
    shards = {key.shard for key, _, _ in best}
    columns = ["shard", "video_id", "clip_id", "start_frame", "end_frame", "start_ns", "end_ns"]
    where = f"status = 'ok' AND {one_of('clip_id', (key.clip_id for key, _, _ in best))}"
    rows = tables.read(CLIPS, shards, columns, where).to_pylist()
    clips = {ClipKey(row["clip_id"], row["shard"]): row for row in rows}
    videos = one_of("video_id", (row["video_id"] for row in rows))
    sources = tables.read(SOURCE_VIDEOS, shards, ["shard", "video_id", "uri"], videos).to_pylist()
    uris = {(row["shard"], row["video_id"]): row["uri"] for row in sources}
    return tuple(
        Hit(**row, uri=uris.get((row["shard"], row["video_id"]), ""), score=round(score, 9), matches=matches)
        for key, score, matches in best
        if (row := clips.get(key)) is not None  # else it was replaced meanwhile
    )
