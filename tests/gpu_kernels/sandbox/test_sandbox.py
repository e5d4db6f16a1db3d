import os
import signal
import stat
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from gpu_kernels.media.containers import VideoFacts
from gpu_kernels.sandbox import DecoderCrashed, DecodingLimits, MediaError, Nursery, Send, reader_of
from gpu_kernels.sandbox.messages import raw

HERE = Path(__file__).resolve()


# Operations that children run: they import this file.


def echo(send: Send, limits: DecodingLimits, value: int) -> None:
    send({"kind": "progress"})
    send({"kind": "echo", "value": value, "pids": [os.getpid(), os.getppid()]}, np.full(3, value).data, b"")


def say_nothing(send: Send, limits: DecodingLimits) -> None:
    send({"kind": "progress"})


def say_twice(send: Send, limits: DecodingLimits) -> None:
    for _ in range(2):
        send({"kind": "echo"})


def echo_and_hang(send: Send, limits: DecodingLimits, value: int) -> None:
    echo(send, limits, value)
    time.sleep(1000)


def segfault(send: Send, limits: DecodingLimits) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def leave(send: Send, limits: DecodingLimits) -> None:
    os._exit(3)


def allocate(send: Send, limits: DecodingLimits) -> None:
    np.ones((limits.memory_mib << 20) + 1, np.uint8)


def spin(send: Send, limits: DecodingLimits) -> None:
    for turn in count():
        if turn % 1_000_000 == 0:
            send({"kind": "progress"})


def hang(send: Send, limits: DecodingLimits) -> None:
    time.sleep(1000)


def hang_up_and_hang(send: Send, limits: DecodingLimits) -> None:
    os.close(_pipe())
    time.sleep(1000)


def flood(send: Send, limits: DecodingLimits) -> None:
    while True:
        send({"kind": "flood"}, bytes(1 << 20))


def lie(send: Send, limits: DecodingLimits) -> None:
    os.write(_pipe(), struct.pack("<I", 2) + b"[]")


def boast(send: Send, limits: DecodingLimits) -> None:
    os.write(_pipe(), struct.pack("<I", 0xFFFFFFFF))


def object_to(send: Send, limits: DecodingLimits) -> None:
    raise ValueError("the third atom is upside down")


def write(send: Send, limits: DecodingLimits, path: str) -> None:
    Path(path).write_text("taken over")


def _pipe() -> int:
    return next(fd for fd in range(3, 256) if _is_pipe(fd))


def _is_pipe(descriptor: int) -> bool:
    try:
        return stat.S_ISFIFO(os.fstat(descriptor).st_mode)
    except OSError:
        return False


@pytest.fixture(scope="module")
def importable() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(HERE.parent))
        yield


@pytest.fixture(scope="module")
def small(importable: None) -> Iterator[Nursery]:
    with Nursery(DecodingLimits(memory_mib=3072, cpu_seconds=1, stall_seconds=2, output_mib=8)) as nursery:
        yield nursery


@pytest.mark.parametrize(
    ("operation", "error", "message"),
    [
        ("segfault", DecoderCrashed, "SIGSEGV"),
        ("leave", DecoderCrashed, "exit status 3"),
        ("allocate", MediaError, r"3072 MiB \(limits\.memory_mib\)"),
        ("spin", DecoderCrashed, r"1 CPU seconds \(limits\.cpu_seconds\)"),
        ("hang", MediaError, r"2 s .*\(limits\.stall_seconds\)"),
        ("hang_up_and_hang", MediaError, r"2 s .*\(limits\.stall_seconds\)"),
        ("flood", MediaError, r"8 MiB \(limits\.output_mib\)"),
        ("lie", MediaError, "not a message"),
        ("boast", MediaError, "a header of 4294967295 bytes"),
        ("object_to", MediaError, "ValueError: the third atom is upside down"),
    ],
)
def test_a_fault_is_an_error_that_names_its_cause_and_the_next_request_is_served(
    small: Nursery, operation: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        for _ in small.run(f"test_sandbox:{operation}", raw, []):
            pass
    ((header, buffers),) = small.run("test_sandbox:echo", raw, [], value=7)
    assert header["value"] == 7
    assert [bytes(buffer) for buffer in buffers] == [np.full(3, 7).tobytes(), b""]


def test_ordinary_errors_keep_the_nursery(small: Nursery) -> None:
    def parent() -> int:
        ((header, _),) = small.run("test_sandbox:echo", raw, [], value=1)
        return header["pids"][1]

    before = parent()
    for operation in ("object_to", "segfault"):
        with pytest.raises(MediaError):
            list(small.run(f"test_sandbox:{operation}", raw, []))
    assert parent() == before


def test_children_write_no_files(small: Nursery, tmp_path: Path) -> None:
    target = tmp_path / "file"
    with pytest.raises(MediaError, match=r"not permitted|denied|File too large"):
        list(small.run("test_sandbox:write", raw, [], path=str(target)))
    assert not target.exists() or target.read_bytes() == b""


def test_one_answer_is_one(small: Nursery) -> None:
    assert small.ask("test_sandbox:echo", raw, [], value=7)[0]["value"] == 7
    for operation, said in (("say_nothing", "no answer"), ("say_twice", "more than one answer")):
        with pytest.raises(MediaError, match=said):
            small.ask(f"test_sandbox:{operation}", raw, [])
    with pytest.raises(MediaError, match="its kind is 'echo'"):
        small.ask("test_sandbox:echo", reader_of(VideoFacts), [], value=7)


def test_nothing_is_left_after_close_nor_when_the_reader_stops(importable: None) -> None:
    nursery = Nursery(DecodingLimits())
    ((header, _),) = nursery.run("test_sandbox:echo", raw, [], value=1)
    messages = nursery.run("test_sandbox:echo_and_hang", raw, [], value=1)
    child, parent = next(messages)[0]["pids"]
    assert header["pids"][1] == parent
    assert not _exists(header["pids"][0])  # not as a zombie either
    messages.close()
    assert not _exists(child)
    ((header, _),) = nursery.run("test_sandbox:echo", raw, [], value=1)
    nursery.close()
    assert not any(map(_exists, [parent, *header["pids"]]))


def test_nothing_is_left_when_the_parent_is_killed(tmp_path: Path) -> None:
    """The parent has the checkout on its own path only, and stands elsewhere: the nursery must find it all the same."""
    script = f"""if True:
        import os, sys
        sys.path.insert(0, {str(HERE.parents[3])!r})
        os.environ["PYTHONPATH"] = {str(HERE.parent)!r}
        from gpu_kernels.sandbox import DecodingLimits, Nursery
        from gpu_kernels.sandbox.messages import raw
        for header, _ in Nursery(DecodingLimits()).run("test_sandbox:echo_and_hang", raw, [], value=1):
            print(*header["pids"], flush=True)
    """
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path, env=environment) as process:
        assert process.stdout is not None
        pids = [int(pid) for pid in process.stdout.readline().split()]
        assert len(pids) == 2 and all(map(_runs, pids))
        process.kill()
    deadline = time.monotonic() + 30
    while any(map(_runs, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(_runs, pids))


def _exists(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def _runs(pid: int) -> bool:
    """Whether it is there and no zombie: those of a killed parent are left to init."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
