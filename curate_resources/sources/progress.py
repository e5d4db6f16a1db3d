"""How far a source is discovered: what a look writes down, and the next one begins with."""

import uuid

from pydantic import BaseModel, ConfigDict, Field


class Place(BaseModel):
    """How far one folder is listed: everything up to the path `after`, but for what is `unsettled`."""

    model_config = ConfigDict(extra="forbid")
    after: str = ""
    unsettled: list[str] = Field(default_factory=list)


class Progress(BaseModel):
    """How far a source is discovered: places by folder, and the number of the next shard."""

    model_config = ConfigDict(extra="forbid")
    id: str = Field(default_factory=lambda: uuid.uuid4().hex)
    """A new id each time the source's progress is reset."""
    next_shard: int = 0
    next_late: int = 0
    """The number of the next shard of files behind the places; only kept for sources with events."""
    places: dict[str, Place] = Field(default_factory=dict)
    turn: str = ""
    """The folder that the last look stopped in: the next one begins there."""
    listed: float = 0.0
    """When all folders were last listed to their end, in seconds since 1970; only kept for sources with events."""
    due: list[str] = Field(default_factory=list)
    """Folders with a file after their place, by an event."""
    named: dict[str, float] = Field(default_factory=dict)
    """URIs of files behind the places that events named, and when; they are in no shard, or not known to be."""
