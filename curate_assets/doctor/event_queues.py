"""The queues that sources name: whether they can be read, and are the ones that the sources' buckets tell."""

import json
from fnmatch import fnmatchcase
from typing import Any

from curate_assets.doctor.check import Check, Deployment, Finding, failed, ok, warning
from curate_resources.sources.declared import Source, declared_sources
from curate_resources.sources.event_queue import EventQueue
from curate_resources.storage import object_stores
from curate_resources.storage.profiles import aws_client, store_options

_POLICY = (
    "let the queue's policy allow sqs:GetQueueAttributes, ReceiveMessage and DeleteMessage: `curate docs operations`"
)
_MOST_BUCKETS = 20


def queues(deployment: Deployment) -> Finding:
    """Each queue is asked for its attributes and, if nothing is in it, for messages; and each bucket, whom it tells."""
    declared = declared_sources(deployment.storage).sources
    found = [_queue(name, source) for name, source in sorted(declared.items()) if source.events is not None]
    for status in ("failed", "warning"):
        if not_ok := [each for each in found if each.status == status]:
            said, remedies = "; ".join(each.found for each in not_ok), dict.fromkeys(each.remedy for each in not_ok)
            return Finding(status, said, "; ".join(remedies))
    return ok(", ".join(each.found for each in found) or "no source has any")


def _queue(name: str, source: Source) -> Finding:
    from botocore.exceptions import ClientError

    assert source.events is not None
    queue = EventQueue(source.events.queue, source.events.profile or source.uri)
    try:
        about = queue.attributes()
        waiting = int(about["ApproximateNumberOfMessages"])
        if not waiting:  # else messages would count as received once more
            next(queue.received(), None)
    except OSError as error:
        return failed(f"{name}: {error}", f"check events.queue and events.profile; {_POLICY}")
    try:
        silent = [bucket for bucket in _buckets(source.uri) if not _tells(bucket, about["QueueArn"])]
    except (ClientError, OSError) as error:
        return warning(f"{name}: it cannot be seen whom its buckets tell: {error}", "allow s3:GetBucketNotification")
    if silent:
        return warning(
            f"{name}: {', '.join(silent)} does not tell {about['QueueArn']} of objects that are written",
            "set the bucket's notifications to the queue, or see to it that SNS or EventBridge passes them on",
        )
    if "RedrivePolicy" not in about:
        return warning(
            f"{name}: messages that cannot be read stay in the queue until they expire",
            "give the queue a redrive policy with a queue for dead letters",
        )
    return ok(f"{name}: {waiting} messages wait")


def _buckets(uri: str) -> list[str]:
    first = uri.split("/")[2]
    wild = any(character in first for character in "*?[")
    names = [name for name in object_stores.buckets(uri) if fnmatchcase(name, first)] if wild else [first]
    return [f"s3://{name}" for name in names[:_MOST_BUCKETS]]


def _tells(bucket: str, arn: str) -> bool:
    """Whether a bucket's notifications of new objects go to a queue directly, as far as it may be asked."""
    client = aws_client("s3", bucket, store_options(bucket).get("aws_endpoint"))
    answer: dict[str, Any] = client.get_bucket_notification_configuration(Bucket=bucket.partition("://")[2])
    told = [each for each in answer.get("QueueConfigurations", ()) if each["QueueArn"] == arn]
    return "s3:ObjectCreated:" in json.dumps([each["Events"] for each in told])


CHECKS = (
    Check(
        "event queues",
        queues,
        "check events.queue, events.profile, and the storage profile that it names: `curate docs storage`",
        needs=("watched sources",),
        seconds=120,
    ),
)
