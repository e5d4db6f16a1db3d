"""Object stores against a real S3 API whose network fails: what is written is there once, what is read is whole."""

import io
import os
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from curate_resources.storage import object_stores, stored_object
from curate_resources.storage.profiles import StorageSettingsError, storage_settings, store_options
from curate_resources.storage.root import Storage
from curate_resources.storage.stored_object import StorageUnavailable
from gpu_kernels.errors import UserError


@pytest.fixture
def impatient(monkeypatch):
    """One repetition instead of several; stores that are open already are opened again."""
    monkeypatch.setattr(object_stores, "RETRIES", 1)
    monkeypatch.setattr(stored_object, "BODY_ATTEMPTS", 1)
    object_stores._store.cache_clear()
    yield
    object_stores._store.cache_clear()


def test_storage_is_the_same_on_disk_and_in_a_bucket(s3, tmp_path):
    def seen(root: str) -> list[Any]:
        storage = Storage(root)
        storage.write("a/one.json", b"1")
        storage.write("a/deep/er/two.bin", b"0123456789")
        storage.write("three", b"3")
        storage.write("a/one.json", b"one")
        with pytest.raises(KeyError), storage.writer("never") as file:
            file.write(b"x")
            raise KeyError
        storage.delete("three")
        storage.delete("three")
        walked = sorted((found.path, found.bytes) for found in storage.walk(""))
        return [
            storage.read("a/one.json"),
            storage.read("a/deep/er/two.bin", 3, 4),
            storage.read("a/deep/er/two.bin", 8),
            [storage.exists(path) for path in ("a/one.json", "a", "three", "never")],
            [storage.size(path) for path in ("a/one.json", "never")],
            [storage.files(folder) for folder in ("a", "a/deep", "nowhere")],
            [storage.folders(folder) for folder in ("a", "", "nowhere")],
            [sorted(found.path for found in storage.walk(folder)) for folder in ("a", "a/deep", "nowhere")],
            [found.path for found in storage.walk("a", recursive=False)],
            walked,
        ]

    assert seen(s3.bucket("same-storage") + "/some/root") == seen(str(tmp_path / "root"))


def test_nothing_is_lost_or_doubled_on_a_bad_network(s3):
    bucket = s3.bucket("bad-network")
    contents = {f"{bucket}/{number:02d}": random.Random(number).randbytes(200_000) for number in range(40)}
    s3.proxy.share = 0.3

    def through(uri: str) -> bytes:
        object_stores.write(uri, io.BytesIO(contents[uri]))
        return object_stores.read_range(uri, 0, len(contents[uri]))

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(through, contents)) == list(contents.values())
    assert [f"{bucket}/{found.path}" for found in object_stores.listed(bucket)] == list(contents)
    assert set(s3.proxy.met) == set(s3.proxy.FAULTS)


def test_a_large_object_in_parts_on_a_bad_network(s3):
    uri = s3.bucket("in-parts") + "/large.bin"
    content = random.Random(1).randbytes(30_000_000)
    s3.proxy.share = 0.2
    object_stores.write(uri, io.BytesIO(content))
    assert object_stores.stat(uri).bytes == len(content)
    assert b"".join(object_stores.read_range(uri, at, 5_000_000) for at in range(0, len(content), 5_000_000)) == content


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("fault", ["slow_down", "reset", "reset_after", "torn"])
def test_an_upload_in_parts_whose_start_or_end_fails_is_made_again(s3, fault, number):
    """The store's client repeats requests, but not what comes after the headers of an answer."""
    uri = s3.bucket(f"part-{fault.replace('_', '-')}-{number}") + "/large.bin"
    content = random.Random(1).randbytes(12_000_000)
    file = io.BytesIO(b"before" + content)
    file.seek(6)
    s3.proxy.planned = {("POST", number): fault}
    object_stores.write(uri, file)
    assert object_stores.read_range(uri, 0, object_stores.stat(uri).bytes) == content


@pytest.mark.parametrize(
    ("fault", "says"), [("slow_down", "overloaded; try"), ("reset", "reached; check"), ("torn", "")]
)
def test_what_does_not_get_better_is_an_error_that_names_the_object(s3, impatient, fault, says):
    uri = s3.bucket(f"never-{fault.replace('_', '-')}") + "/a.bin"
    object_stores.write(uri, io.BytesIO(b"x" * 100_000))
    s3.proxy.share, s3.proxy.faults = 1.0, (fault,)
    with pytest.raises(StorageUnavailable, match=f"a.bin.*{says}"):
        object_stores.read_range(uri, 0, 100_000)


def test_what_is_not_there(s3):
    bucket = s3.bucket("not-there")
    for uri in (f"{bucket}/a.bin", "s3://no-such-bucket-at-all/a.bin", f"{s3.url}/not-there/a.bin"):
        with pytest.raises(FileNotFoundError, match=r"a\.bin"):
            object_stores.stat(uri)
    with pytest.raises(UserError, match=r"ftp://x/y.*use a folder"):
        object_stores.stat("ftp://x/y")


def test_of_many_processes_that_create_an_object_one_does(s3):
    uri = s3.bucket("one-winner") + "/lock"
    script = (
        "import sys; from curate_resources.storage.object_stores import create; "
        f"print(sum(create('{uri}', sys.argv[1].encode()) for _ in range(4)))"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", script, str(number)], stdout=subprocess.PIPE) for number in range(4)
    ]
    won = [int(process.communicate()[0]) for process in running]
    assert sum(won) == 1
    assert object_stores.read_range(uri, 0, 1) == str(won.index(1)).encode()


def test_a_presigned_url_is_read_in_ranges(s3):
    uri = s3.bucket("presigned") + "/folder/a video.mp4"
    object_stores.write(uri, io.BytesIO(bytes(range(100))))
    url = object_stores.signed(uri, 60)
    s3.proxy.share = 0.3
    about = object_stores.stat(url)
    assert (about.bytes, about.path) == (100, "presigned/folder/a video.mp4")
    assert object_stores.read_range(url, 10, 5) == bytes(range(10, 15))


# ---------------------------------------------------------------- profiles


@pytest.fixture
def settings(tmp_path, monkeypatch):
    def written(text: str) -> None:
        path = tmp_path / f"storage-{len(list(tmp_path.iterdir()))}.yaml"
        path.write_text(text)
        monkeypatch.setenv("CURATE_STORAGE", str(path))

    return written


def test_input_and_output_in_different_accounts(s3, settings, monkeypatch):
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("LAB_SECRET", "of the lab")
    settings(
        f"""
        profiles:
          lab: {{uris: ["s3://lab-*"], endpoint: {s3.url}, region: us-east-1,
                 access_key_id: lab, secret_access_key: "${{LAB_SECRET}}"}}
          inbox: {{uris: ["s3://lab-inbox"], endpoint: {s3.proxy.url}, region: us-east-1,
                   access_key_id: inbox, secret_access_key: s}}
          public: {{uris: ["s3://open"], anonymous: true}}
          google: {{uris: ["gs://x"], options: {{google_service_account: /a.json}}}}
        """
    )
    assert store_options("s3://lab-out/a")["aws_secret_access_key"] == "of the lab"
    assert store_options("s3://lab-inbox/a/b.mp4")["aws_access_key_id"] == "inbox"
    assert store_options("s3://open") == {"aws_skip_signature": "true"}
    assert store_options("gs://x/y") == {"google_service_account": "/a.json"}
    assert store_options("gs://other") == {}
    for name in ("lab-out", "lab-inbox"):
        s3.bucket(name)
        object_stores.write(f"s3://{name}/a", io.BytesIO(b"a"))
        assert object_stores.stat(f"s3://{name}/a").bytes == 1
    assert s3.proxy.requests == {"PUT": 1, "HEAD": 1}  # only the inbox is reached that way


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("profiles: {a: {uris: [], endpont: x}}", r"profiles\.a\.endpont: unknown key"),
        ("profiles: {a: {uris: ['s3://b'], access_key_id: x}}", "go together"),
        ("profiles: {a: {uris: ['s3://b'], secret_access_key: '${NOT_SET_ANYWHERE}'}}", "NOT_SET_ANYWHERE"),
        ("profiles: [", "is not valid YAML"),
        ("scratch: {gib: 0}", "greater than 0"),
    ],
)
def test_bad_settings_are_named_and_secrets_are_not(settings, text, says):
    settings(text)
    with pytest.raises(StorageSettingsError, match=says) as raised:
        storage_settings()
    assert "input_value" not in str(raised.value)


def test_a_settings_file_that_is_not_there_is_an_error(monkeypatch):
    monkeypatch.setenv("CURATE_STORAGE", "/nowhere/storage.yaml")
    with pytest.raises(StorageSettingsError, match=r"/nowhere/storage\.yaml, which is not there"):
        storage_settings()
    assert os.environ["CURATE_STORAGE"]
