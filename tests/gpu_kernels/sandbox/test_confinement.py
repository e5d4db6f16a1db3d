"""What a decoding child is shut off from: each time, a child tries."""

import ctypes
import errno
import json
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from gpu_kernels.sandbox import DecodingLimits, MediaError, Nursery, Send
from gpu_kernels.sandbox.messages import raw
from gpu_kernels.sandbox.trial import open_ways, targets

LANDLOCK = 444
"""landlock_create_ruleset"""


def tell_variables(send: Send, limits: DecodingLimits) -> None:
    started_with = Path(f"/proc/{os.getpid()}/environ").read_text()
    send({"kind": "variables", "known": dict(os.environ), "started_with": started_with})


def read_all(send: Send, limits: DecodingLimits, paths: list[str]) -> None:
    for path in paths:
        send({"kind": "content", "text": Path(path).read_text()})


@pytest.fixture
def nursery(monkeypatch: pytest.MonkeyPatch) -> Iterator[Nursery]:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    with Nursery(DecodingLimits()) as nursery:
        yield nursery


def landlock_version() -> int:
    return ctypes.CDLL(None).syscall(LANDLOCK, None, 0, 1)


@pytest.mark.skipif(landlock_version() < 6, reason="needs Landlock ABI 6, which is in Linux 6.12 and later")
def test_no_way_is_open_to_a_child() -> None:
    assert open_ways(DecodingLimits()) == []


UNCONFINED = """if True:
    import json, sys
    from gpu_kernels.sandbox.trial import attempt
    attempt(lambda header: print(header["way"], flush=True), None, json.loads(sys.argv[1]))
"""


def test_every_way_is_open_to_another_process() -> None:
    """Otherwise the trial would show nothing."""
    with targets() as made:
        tried = subprocess.run([sys.executable, "-c", UNCONFINED, json.dumps(asdict(made))], stdout=subprocess.PIPE)
    assert tried.returncode == 0
    may_be_closed = b"" if os.getuid() == 0 else b"trace other processes\n"
    assert tried.stdout in (b"", may_be_closed)


def without_landlock() -> None:
    refuse((LANDLOCK, None))


def without_filters() -> None:
    seccomp, prctl = (317, 157) if os.uname().machine == "x86_64" else (277, 167)
    refuse((seccomp, None), (prctl, 22))  # PR_SET_SECCOMP


def refuse(*calls: tuple[int, int | None]) -> None:
    """Have the kernel lack, for this process, system calls, or those with some first argument."""
    missing = (0x06, 0, 0, 0x00050000 | errno.ENOSYS)
    program = []
    for number, argument in calls:
        tests = [missing] if argument is None else [(0x20, 0, 0, 16), (0x15, 0, 1, argument), missing, (0x20, 0, 0, 0)]
        program += [(0x20, 0, 0, 0), (0x15, 0, len(tests), number), *tests]
    packed = b"".join(struct.pack("=HBBI", *each) for each in [*program, (0x06, 0, 0, 0x7FFF0000)])
    libc = ctypes.CDLL(None)
    assert libc.prctl(38, 1, 0, 0, 0) == 0
    fields = struct.pack("=H6xQ", len(packed) // 8, ctypes.addressof(buffer := ctypes.create_string_buffer(packed)))
    assert libc.prctl(22, 2, ctypes.create_string_buffer(fields), 0, 0) == 0
    del buffer


@pytest.mark.parametrize(
    ("lacking", "still_open"),
    [
        (without_landlock, ["read other files", "read other processes' variables"]),
        (without_filters, ["send over UDP, as for DNS", "reach sockets that have a path", "change files"]),
    ],
)
def test_where_the_kernel_lacks_one_guard_the_other_holds(lacking, still_open) -> None:
    ask = "from gpu_kernels.sandbox.trial import *; print(*open_ways(DecodingLimits()), sep='\\n')"
    said = subprocess.run(
        [sys.executable, "-c", ask], stdout=subprocess.PIPE, text=True, check=True, preexec_fn=lacking
    )
    assert said.stdout.splitlines() == still_open


def test_a_child_knows_only_the_variables_of_the_list(nursery: Nursery, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_SECRET_ACCESS_KEY", "RAY_AUTH_TOKEN", "CURATE_STORAGE", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "s3cret")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    ((header, _),) = nursery.run("test_confinement:tell_variables", raw, [])
    assert header["known"]["TZ"] == "Asia/Tokyo"
    assert "s3cret" not in json.dumps(header)


def test_a_child_opens_its_own_files_and_no_other(nursery: Nursery, tmp_path: Path) -> None:
    own, other = tmp_path / "own", tmp_path / "other"
    own.write_text("mine")
    other.write_text("not mine")
    (tmp_path / "link").symlink_to(own)
    contents = nursery.run("test_confinement:read_all", raw, [str(tmp_path / "link")], paths=[str(own)])
    assert [header["text"] for header, _ in contents] == ["mine"]
    with pytest.raises(MediaError, match=r"PermissionError.*other"):
        list(nursery.run("test_confinement:read_all", raw, [str(own)], paths=[str(other)]))
