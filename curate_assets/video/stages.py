"""The stages of the video graph in the order in which data flows, and all its tables."""

from collections.abc import Mapping, Sequence
from typing import Any

from curate_assets.stage_resources import with_resources
from curate_assets.video.captions import CAPTION
from curate_assets.video.clip_files import CUT
from curate_assets.video.clips import SPLIT
from curate_assets.video.duplicates import DUPLICATE_GROUPS, DUPLICATE_PAIRS
from curate_assets.video.embeddings import EMBED
from curate_assets.video.motion import SCORE_MOTION
from curate_assets.video.selection import SELECT
from curate_assets.video.signals import SCAN
from curate_assets.video.source_videos import PROBE
from curate_resources.manifests import MANIFEST
from curate_resources.plan import Plan
from curate_resources.stage import Stage, Table

CURATION_STAGES = (PROBE, SCAN, SPLIT, SCORE_MOTION, EMBED, SELECT)
"""From files to selected clips."""

DELIVERY_STAGES = (CAPTION, CUT)
"""What is made of the clips that are kept, once the duplicates of all shards are known."""

TABLES: Mapping[str, Table] = {
    table.name: table
    for table in (
        MANIFEST,
        *(table for stage in CURATION_STAGES for table in stage.writes),
        DUPLICATE_PAIRS,
        DUPLICATE_GROUPS,
        *(table for stage in DELIVERY_STAGES for table in stage.writes),
    )
}


STAGES = CURATION_STAGES + DELIVERY_STAGES


def plan_for(
    wanted: frozenset[str],
    config: Any,
    root: str,
    force: bool = False,
    stages: Sequence[Stage] = STAGES,
    failed_only: bool = False,
) -> Plan:
    """The plan that fills the wanted tables, of these stages; they may read any table of the video graph.

    Raises:
        ConfigError: the configuration speaks of a stage that there is not, or gives one what it cannot run with.
    """
    needed = [stage for stage in stages if any(table.name in wanted for table in stage.writes)]
    known = {stage.name for stage in (*STAGES, *stages)}
    own = {table.name: table for stage in stages for table in stage.writes}
    return Plan(with_resources(needed, config, known), wanted, {**TABLES, **own}, config, root, force, failed_only)
