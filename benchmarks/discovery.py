"""How long it takes to discover a bucket with many keys, and how much memory, while keys are added to it.

    python benchmarks/discovery.py [--keys 1000000] [--per-shard 100]

A server on loopback answers ListObjectsV2 as S3 does, in pages of a thousand, for keys that exist in name only; while
it is listed, one key in a hundred is added at its end. Looks of at most twenty seconds follow one another, as those of
a sensor do, until one comes to the end; then the audit compares everything once more, with one key in a thousand added
behind the looks. Says if any key was missed or is in two shards. Prints Markdown.
"""

# pyright: basic

import argparse
import os
import resource
import tempfile
import threading
import time
from collections import Counter
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from floors import write_figures

from curate_assets.video.video_files import VIDEO_FILES
from curate_resources.sources.audit import audit
from curate_resources.sources.declared import Source
from curate_resources.sources.discovery import Discovery
from curate_resources.sources.manifests import Manifests
from curate_resources.storage.root import Storage

PAGE = 1000
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


class Bucket:
    """Keys by number: every second one exists from the beginning; the odd ones between them can be added."""

    def __init__(self, keys: int) -> None:
        self.last = 2 * keys
        self.added: set[int] = set()
        self.growing = 0
        self.pages = 0

    @property
    def keys(self) -> int:
        """How many there are."""
        return self.last // 2 + len(self.added)

    def page(self, after: int) -> list[int]:
        """The next numbers after one."""
        self.pages += 1
        self.last += 2 * self.growing
        found: list[int] = []
        number = after + 1
        while number < self.last and len(found) < PAGE:
            if number % 2 == 0 or number in self.added:
                found.append(number)
            number += 1
        return found


def name_of(number: int) -> str:
    """The key of a number; keys sort as numbers do."""
    return f"takes/{number:010d}.mp4"


def number_of(key: str) -> int:
    """The number of a key; -1 of what comes before all."""
    return int(key.removeprefix("takes/").removesuffix(".mp4")) if key.startswith("takes/0") else -1


def serve(bucket: Bucket) -> str:
    """Start the server; returns its URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
            after = asked.get("continuation-token") or asked.get("start-after", "")
            found = bucket.page(number_of(after)) if asked.get("prefix") == "takes/" else []
            more = bool(found) and found[-1] + 2 < bucket.last
            contents = "".join(
                f"<Contents><Key>{name_of(number)}</Key><LastModified>{LONG_AGO}</LastModified>"
                f'<ETag>"{number}"</ETag><Size>1000000</Size></Contents>'
                for number in found
            )
            token = f"<NextContinuationToken>{name_of(found[-1])}</NextContinuationToken>" if more else ""
            body = (
                f"<?xml version='1.0'?><ListBucketResult><Name>many</Name><Prefix>{asked.get('prefix', '')}</Prefix>"
                f"<KeyCount>{len(found)}</KeyCount><MaxKeys>{PAGE}</MaxKeys>"
                f"<IsTruncated>{str(more).lower()}</IsTruncated>{token}{contents}</ListBucketResult>"
            ).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_HEAD(self) -> None:
            number = number_of(urlsplit(self.path).path.partition("/many/")[2])
            if number < 0:  # such as the mark of a root
                self.send_response(404)
                self.end_headers()
                return
            self.send_response(200)
            self.send_header("Content-Length", "1000000")
            self.send_header("ETag", f'"{number}"')
            self.send_header("Last-Modified", "Wed, 01 Jan 2020 00:00:00 GMT")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"


def memory_mib() -> int:
    """The most that this process ever held, the server's share included."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--per-shard", type=int, default=100)
    parser.add_argument("--json", type=Path, help="write the figures to this file: benchmarks/floors.py")
    options = parser.parse_args()
    bucket = Bucket(options.keys)
    os.environ |= {"AWS_ENDPOINT_URL": serve(bucket), "AWS_REGION": "us-east-1"}
    os.environ |= {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
    with tempfile.TemporaryDirectory(prefix="curate-discovery-") as root:
        source = Source(uri="s3://many/takes", units_per_shard=options.per_shard, close_after_seconds=0)
        discovery = Discovery(Storage(root), "many", source, VIDEO_FILES)
        print("| step | s | videos so far | shards so far | peak MiB |\n|---|---:|---:|---:|---:|")
        bucket.growing = PAGE // 100
        files = shards = 0
        done = False
        while not done:
            started = time.monotonic()
            look = discovery.look()
            files, shards, done = files + look.files, shards + len(look.shards), look.done
            print(f"| look | {time.monotonic() - started:.1f} | {files} | {shards} | {memory_mib()} |", flush=True)
            if files >= options.keys:
                bucket.growing = 0
        bucket.added = set(range(1, 2 * options.keys, 2000))
        started = time.monotonic()
        found = audit(discovery)
        files, shards = files + found.late, shards + len(found.late_shards)
        print(f"| audit | {time.monotonic() - started:.1f} | {files} | {shards} | {memory_mib()} |")
        manifests = Manifests(discovery.storage)
        held = Counter(entry.uri for shard in manifests.shards() for entry in manifests.load(shard).entries)
    doubled = sum(count > 1 for count in held.values())
    print(f"\n{bucket.keys} keys at the end, {bucket.keys - len(held)} missed, {doubled} in two shards.")
    write_figures(options.json, __file__, {"keys_missed": bucket.keys - len(held), "keys_in_two_shards": doubled})
    if len(held) != bucket.keys or doubled:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
