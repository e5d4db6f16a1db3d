"""Where new units come from: buckets and prefixes that are watched, declared in one strict YAML file.

    sources:
      studio:
        uri: s3://studio-*/takes/*/raw
        exclude: ["**/proxies/**"]
        settle_seconds: 300

The file is `<root>/sources.yaml`, or what `CURATE_SOURCES` names.
"""

import os
import re
from functools import cache
from typing import Any

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from curate_resources.declarations.units import UnitFiles
from curate_resources.sources.leftovers import is_leftover
from curate_resources.storage.root import Storage
from curate_resources.suggestions import wrong_settings
from gpu_kernels.errors import UserError
from gpu_kernels.strict import StrictModel

SOURCES_FILE = "sources.yaml"
VARIABLE = "CURATE_SOURCES"
NAME = r"^[a-z0-9]+(-[a-z0-9]+)*$"
"""What sources and presets may be called."""


class Events(StrictModel):
    """A queue that S3 puts its notifications of the source's buckets into, directly or through SNS or EventBridge."""

    queue: str = Field(pattern=r"^https?://[^/]+/.")
    """URL of the SQS queue. It is for this source alone: what is read is deleted."""
    profile: str | None = None
    """Storage profile with the queue's credentials; where not said, those of the source's buckets are used."""
    list_every_seconds: float = Field(default=3600.0, ge=0)
    """How often all folders are listed from their places on, in case an event was lost."""


class Source(StrictModel):
    """Buckets or folders that are watched."""

    uri: str
    """Where to look: a bucket and a folder in it, or a folder of a disk. `*` and `?` in a bucket's or folder's name
    stand for many: new ones that match are found by themselves."""
    include: list[str] = Field(default_factory=list)
    """Patterns of paths below the URI, `**` for any folders; where none is said, all files that are
    units by their names, or parts of units."""
    exclude: list[str] = Field(default_factory=list)
    """Likewise, of paths that are left out."""
    units_per_shard: int = Field(default=100, ge=1)
    """Most units in a shard: videos, of the video graph. Its older name, `videos_per_shard`, may be used as well."""
    gib_per_shard: float = Field(default=50.0, gt=0)
    """Most GiB in a shard; a single larger file is a shard of its own."""
    settle_seconds: float = Field(default=120.0, ge=0)
    """What changed within so long may still be written, and waits."""
    close_after_seconds: float = Field(default=3600.0, ge=0)
    """A shard that is not full is closed when its oldest file has waited so long; until then it may still grow."""
    events: Events | None = None
    """Where S3 tells of new objects; of buckets on S3 only."""
    every_seconds: int = Field(default=30, ge=5)
    """How often the sensor looks."""
    tick_seconds: float = Field(default=20.0, gt=0)
    """So long one look may take; the next one goes on where it stopped."""
    preset: str | None = Field(default=None, pattern=NAME)
    """Settings of its shards: `<root>/presets/<preset>.yaml`, which goes before `<root>/curate.yaml`. A shard keeps the
    preset that it was made with."""
    launch: bool = False
    """Whether each new shard gets a run at once; else its partition waits for the automation or for a backfill."""
    priority: int = 0
    """Of those runs in the queue, higher first."""

    @model_validator(mode="before")
    @classmethod
    def _older_name(cls, given: Any) -> Any:
        if not isinstance(given, dict) or "videos_per_shard" not in given:
            return given
        if "units_per_shard" in given:
            raise ValueError("units_per_shard and videos_per_shard are the same: keep one")
        return {("units_per_shard" if key == "videos_per_shard" else key): each for key, each in given.items()}

    @field_validator("uri")
    @classmethod
    def _no_pattern_across_folders(cls, uri: str) -> str:
        if "**" in uri:
            raise ValueError("`**` belongs into include; in a URI, `*` stands for one folder or part of its name")
        return uri.rstrip("/")

    @model_validator(mode="after")
    def _events_are_of_s3(self) -> "Source":
        if self.events is not None and not self.uri.startswith("s3://"):
            raise ValueError(f"events are told of s3:// only, and not of {self.uri}")
        return self

    @property
    def bytes_per_shard(self) -> int:
        """`gib_per_shard` in bytes."""
        return int(self.gib_per_shard * (1 << 30))

    @property
    def unsettled_seconds(self) -> float:
        """Files that changed within so long may still be written; not objects of which S3 tells, which are whole. Of a
        unit that is a folder, other objects may follow."""
        return self.settle_seconds if self.events is None else 0.0

    def takes(self, path: str, files: UnitFiles) -> bool:
        """Whether a file is wanted, by its path below the folder that was found. Leftovers of other programs are not,
        whatever is included."""
        wanted = _matches(path, self.include) if self.include else files.takes(path)
        return wanted and not is_leftover(path) and not _matches(path, self.exclude)


class Automation(StrictModel):
    """What goes on by itself, once it is enabled: sensors and schedules are then on from the start, not switched on one
    by one in the UI."""

    enabled: bool = False
    """The one switch."""
    deliver: str = "0 * * * *"
    """When duplicates are grouped, and the training set and its report made again, as a cron expression in UTC."""
    audit: str = "0 3 * * *"
    """When sources are listed whole, for what looks do not see: files that came late, changed or are gone."""
    upkeep: str = "0 4 * * *"
    """When tables are compacted and old versions dropped."""
    keep_hours: float = Field(default=24.0, gt=0)
    """Versions of tables stay so long after they were replaced, and files without rows after they were written."""
    fresh_hours: float | None = Field(default=None, ge=0.1)
    """The training set and its report should never be older: the UI shows when they are, and warns at three quarters.
    Where not said, they may be of any age."""
    webhook: str | None = None
    """URL that every failed run is reported to, by a POST of JSON."""


class Sources(StrictModel):
    """The whole file."""

    automation: Automation = Automation()
    sources: dict[str, Source] = Field(default_factory=dict)

    @field_validator("sources")
    @classmethod
    def _names_are_parts_of_keys(cls, sources: dict[str, Source]) -> dict[str, Source]:
        for name in sources:
            if not re.fullmatch(NAME, name):
                raise ValueError(f"{name!r}: a name has lower-case letters, digits and single dashes")
        return sources

    @field_validator("sources")
    @classmethod
    def _a_queue_is_for_one_source(cls, sources: dict[str, Source]) -> dict[str, Source]:
        queues: dict[str, str] = {}
        for name, source in sources.items():
            if source.events and (other := queues.setdefault(source.events.queue, name)) != name:
                raise ValueError(f"{other} and {name} name the same queue, and each would miss what the other reads")
        return sources


class SourcesError(UserError):
    """The file is not valid; the message names every key."""


def declared_sources(storage: Storage) -> Sources:
    """The sources, and what goes on by itself; where there is no file, none and nothing.

    Raises:
        SourcesError: the file that is named is not there, no YAML, or not valid.
    """
    named = os.environ.get(VARIABLE)
    if named:
        folder, _, file = named.rpartition("/")
        storage, path = Storage(folder or "."), file
    else:
        path = SOURCES_FILE
    if not storage.exists(path):
        if named:
            raise SourcesError(f"{VARIABLE} names {named}, which is not there")
        return Sources()
    name = storage.uri(path)
    try:
        return Sources.model_validate(yaml.safe_load(storage.read(path)) or {})
    except yaml.YAMLError as error:
        raise SourcesError(f"{name} is not valid YAML: {error}") from error
    except ValidationError as error:
        lines = "\n  ".join(wrong_settings(error, Sources))
        raise SourcesError(f"{name} is not valid:\n  {lines}") from error


def _matches(path: str, globs: list[str]) -> bool:
    return any(_pattern(glob).fullmatch(path) for glob in globs)


@cache
def _pattern(glob: str) -> re.Pattern[str]:
    """`**/` any folders or none, `*` and `?` within one name."""
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", glob)
    meaning = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(meaning.get(part, re.escape(part)) for part in parts), re.DOTALL)
