"""What S3 tells of its objects: notifications as they come from a queue, also through SNS or EventBridge."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus


@dataclass(frozen=True)
class ObjectEvent:
    """An object that was written, or is gone."""

    uri: str
    removed: bool


class UnreadableEvent(ValueError):
    """A message that is no notification of S3."""


def object_events(body: str) -> list[ObjectEvent]:
    """What a message tells; of other events than objects written or removed, and of S3's test event, nothing.

    Raises:
        UnreadableEvent: it is none that S3, SNS or EventBridge sends.
    """
    try:
        return list(_told(json.loads(body)))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnreadableEvent(f"{type(error).__name__}: {error}") from error


def _told(message: dict[str, Any]) -> Iterator[ObjectEvent]:
    if message.get("Event") == "s3:TestEvent":
        return
    if message.get("Type") == "Notification":  # of SNS, with the message of S3 in it as text
        yield from _told(json.loads(message["Message"]))
    elif message.get("source") == "aws.s3":  # of EventBridge, where keys are as they are
        kind, detail = message["detail-type"], message["detail"]
        if kind in ("Object Created", "Object Deleted"):
            uri = _uri(detail["bucket"]["name"], detail["object"]["key"])
            yield ObjectEvent(uri, removed=kind == "Object Deleted")
    else:
        for record in message["Records"]:
            kind, s3 = record["eventName"].removeprefix("s3:").partition(":")[0], record["s3"]
            if kind in ("ObjectCreated", "ObjectRemoved"):
                uri = _uri(s3["bucket"]["name"], unquote_plus(s3["object"]["key"]))
                yield ObjectEvent(uri, removed=kind == "ObjectRemoved")


def _uri(bucket: str, key: str) -> str:
    return f"s3://{bucket}/{key}"
