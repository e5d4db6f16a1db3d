"""S3's events through a real queue API: no file missed or in two shards, whatever comes twice, late, or dies."""

import io
import json
import random
import time
from collections import Counter
from contextlib import suppress
from typing import Any

import boto3
import dagster as dg
import pytest

from curate_assets.orchestration.asset_graph import defs
from curate_assets.orchestration.partitions import SHARDS
from curate_assets.orchestration.sensors import source_sensor
from curate_assets.video.assets.source_videos import UNITS
from curate_assets.video.video_files import VIDEO_FILES
from curate_resources.sources import event_queue
from curate_resources.sources.audit import audit
from curate_resources.sources.declared import Source, Sources
from curate_resources.sources.discovery import Discovery
from curate_resources.sources.event_queue import EventQueue
from curate_resources.sources.manifests import Manifests
from curate_resources.sources.object_events import ObjectEvent, UnreadableEvent, object_events
from curate_resources.storage import object_stores
from curate_resources.storage.root import Storage

KEY = "takes/day 1/ü+&.mp4"
RECORD = {
    "eventName": "ObjectCreated:Put",
    "s3": {"bucket": {"name": "studio"}, "object": {"key": "takes/day+1/%C3%BC%2B%26.mp4", "size": 1}},
}
DIRECT = json.dumps({"Records": [RECORD, {**RECORD, "eventName": "s3:ObjectRemoved:Delete"}]})
BRIDGE = {
    "source": "aws.s3",
    "detail-type": "Object Created",
    "detail": {"bucket": {"name": "studio"}, "object": {"key": KEY}},
}
CREATED, REMOVED = (ObjectEvent(f"s3://studio/{KEY}", removed) for removed in (False, True))


@pytest.mark.parametrize(
    ("body", "events"),
    [
        (DIRECT, [CREATED, REMOVED]),
        (json.dumps({"Type": "Notification", "Message": DIRECT}), [CREATED, REMOVED]),
        (json.dumps(BRIDGE), [CREATED]),
        (json.dumps({**BRIDGE, "detail-type": "Object Tags Added"}), []),
        (json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "studio"}), []),
        (json.dumps({"Records": [{**RECORD, "eventName": "ObjectRestore:Post"}]}), []),
    ],
)
def test_what_s3_says_is_read_through_its_envelopes(body, events):
    assert object_events(body) == events


@pytest.mark.parametrize("body", ["no JSON", "[]", "{}", '{"Records": [{}]}', '{"Type": "Notification"}', "null"])
def test_anything_else_is_unreadable(body):
    with pytest.raises(UnreadableEvent):
        object_events(body)


class Notified:
    """A source in a bucket whose notifications go to a queue."""

    def __init__(self, s3: Any, root: str, name: str, **settings: Any) -> None:
        account = {"aws_access_key_id": "key", "aws_secret_access_key": "secret", "region_name": "us-east-1"}
        self.bucket, self.sqs = s3.bucket(name), boto3.client("sqs", endpoint_url=s3.url, **account)
        self.url = self.sqs.create_queue(QueueName=name)["QueueUrl"]
        arn = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        boto3.client("s3", endpoint_url=s3.url, **account).put_bucket_notification_configuration(
            Bucket=name,
            NotificationConfiguration={
                "QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]}]
            },
        )
        events = {"queue": self.url, "list_every_seconds": 10**9}
        source = {"uri": f"{self.bucket}/takes/*", "videos_per_shard": 3, "close_after_seconds": 600, "events": events}
        self.discovery = Discovery(Storage(root), "w", Source.model_validate(source | settings), VIDEO_FILES)

    def put(self, path: str) -> None:
        object_stores.write(f"{self.bucket}/takes/{path}", io.BytesIO(b"x"))

    def post(self, body: str) -> None:
        self.sqs.send_message(QueueUrl=self.url, MessageBody=body)

    def files(self) -> Counter[str]:
        manifests = Manifests(self.discovery.storage)
        entries = [entry for shard in manifests.shards() for entry in manifests.load(shard).entries]
        return Counter(entry.uri.removeprefix(f"{self.bucket}/takes/") for entry in entries)

    def waiting(self) -> int:
        """Messages that were not deleted."""
        attributes = EventQueue(self.url, self.bucket).attributes()
        return sum(int(attributes[f"ApproximateNumberOfMessages{kind}"]) for kind in ("", "NotVisible"))


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """Messages that are not deleted come again in the next look, and nobody waits for more."""
    monkeypatch.setattr(event_queue, "_HIDDEN_SECONDS", 0)
    monkeypatch.setattr(event_queue, "_WAIT_SECONDS", 0)


def test_events_say_what_to_list_and_what_to_look_at(s3, tmp_path):
    notified = Notified(s3, str(tmp_path / "root"), "notified")
    look, now = notified.discovery.look, time.time() + 10
    notified.put("a/2.mp4"), notified.put("a/4.mp4"), notified.put("a/6 ü.mp4")
    assert look(now=now).shards == ("w-000000",)  # the first look lists everything
    assert notified.waiting() == 0  # S3's test event, too
    notified.put("a/1.mp4"), notified.put("a/3.mp4"), notified.put("a/2.mp4"), notified.put("b/1.mp4")
    notified.post("no event")
    found = look(now=now + 1)
    assert (found.shards, found.events, found.waiting) == ((), (4, 0), 3)  # b/1, and a/1 and a/3; a/2 is known
    assert "is not an event of S3 and stays" in found.problems[0] and notified.waiting() == 1
    object_stores.delete(f"{notified.bucket}/takes/a/3.mp4")
    notified.put("a/0.mp4")
    found = look(now=now + 2)
    assert (found.shards, found.waiting, found.events) == ((), 3, (1, 1))  # four are named: 0, 1, and 3, which is gone
    assert set(look(now=now + 700).shards) == {"w-000001", "w-late-000000"}  # b/1, and a/0 with a/1
    assert notified.files() == Counter(
        {"a/0.mp4": 1, "a/1.mp4": 1, "a/2.mp4": 1, "a/4.mp4": 1, "a/6 ü.mp4": 1, "b/1.mp4": 1}
    )


def test_a_queue_that_cannot_be_read_is_told_and_the_source_is_listed(s3, tmp_path):
    notified = Notified(s3, str(tmp_path / "root"), "silent", close_after_seconds=0)
    notified.discovery.look(now=4e9)
    notified.sqs.delete_queue(QueueUrl=notified.url)
    notified.put("a/1.mp4")
    look = notified.discovery.look(now=4e9 + 1)
    assert look.files == 1 and not look.done
    assert notified.url in look.problems[0]


class Died(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize("seed", range(3))
def test_looks_that_die_anywhere_miss_and_double_nothing(s3, tmp_path, monkeypatch, seed):
    """Files come in any order and their events twice, while looks and audits die before and after each write."""
    chance = random.Random(seed)
    settings = {"videos_per_shard": chance.randint(1, 4), "close_after_seconds": chance.choice([0, 120])}
    notified = Notified(s3, str(tmp_path / "root"), f"dying-{seed}", **settings)
    names = [f"{folder}/{number:03d}.mp4" for folder in "ab" for number in range(20)]
    chance.shuffle(names)
    coming, now = iter(names), 4e9

    def dying(act: Any) -> Any:
        def perhaps(*arguments: Any) -> Any:
            if chance.random() < 0.15:
                raise Died
            done = act(*arguments)
            if chance.random() < 0.15:
                raise Died
            return done

        return perhaps

    with monkeypatch.context() as patch:
        for owner, act in ((Storage, "write"), (Storage, "create"), (EventQueue, "delete")):
            patch.setattr(owner, act, dying(getattr(owner, act)))
        for _ in range(20):
            for _, name in zip(range(chance.randint(0, 4)), coming, strict=False):
                notified.put(name)
                if chance.random() < 0.3:
                    record = {**RECORD, "s3": {"bucket": {"name": f"dying-{seed}"}, "object": {"key": f"takes/{name}"}}}
                    notified.post(json.dumps({"Records": [record]}))
            with suppress(Died):
                (audit if chance.random() < 0.1 else Discovery.look)(notified.discovery, now)
            now += 50
    for name in coming:
        notified.put(name)
    for later in (0, 1000, 2000):
        notified.discovery.look(now=now + later)
    assert notified.files() == Counter(names)
    assert notified.waiting() == 0


def test_late_files_of_an_audit_and_of_events_meet_in_one_series(s3, tmp_path, monkeypatch):
    """Both find the same file, and close a shard between the other's reading and writing."""
    notified = Notified(s3, str(tmp_path / "root"), "meeting", close_after_seconds=0)
    notified.put("a/9.mp4")
    notified.discovery.look(now=4e9)
    notified.put("a/1.mp4")
    create, met = Manifests.create, []

    def overtaken(manifests: Manifests, manifest: Any) -> bool:
        if not met:
            met.append(manifest.shard)
            met.extend(audit(notified.discovery, now=4e9).late_shards)
        return create(manifests, manifest)

    monkeypatch.setattr(Manifests, "create", overtaken)
    look = notified.discovery.look(now=4e9 + 1)
    assert met == ["w-late-000000", "w-late-000000"] and look.shards == ()
    assert notified.files() == Counter({"a/1.mp4": 1, "a/9.mp4": 1})
    found = notified.discovery
    sensor = source_sensor(UNITS, found.storage, found.name, found.source, ["source_videos"], on=False)
    with dg.DagsterInstance.ephemeral() as instance:  # registers it, whoever made it
        sensor(dg.build_sensor_context(instance, definitions=defs))
        assert set(instance.get_dynamic_partitions(SHARDS.name or "")) == {"w-000000", "w-late-000000"}


@pytest.mark.parametrize(
    ("sources", "says"),
    [
        ({"a": {"uri": "/disk", "events": {"queue": "http://q/1"}}}, "s3:// only"),
        ({"a": {"uri": "s3://a", "events": {"queue": "arn:aws:sqs:x"}}}, "pattern"),
        ({n: {"uri": "s3://a", "events": {"queue": "http://q/1"}} for n in "ab"}, "a and b name the same queue"),
    ],
)
def test_events_that_cannot_be_are_refused(sources, says):
    with pytest.raises(ValueError, match=says):
        Sources.model_validate({"sources": sources})
