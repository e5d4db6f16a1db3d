"""Messages of a child: a JSON header and raw buffers. Nothing that it says is believed unchecked."""

import json
import os
import struct
import time
from collections.abc import Callable, Iterator
from select import select
from typing import Annotated, Any, BinaryIO, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, InstanceOf, ValidationError

from gpu_kernels.sandbox.limits import DecodingLimits, MediaError

Header = dict[str, Any]
Message = tuple[Header, list[memoryview]]
Send = Callable[..., None]

T = TypeVar("T")
Reader = Callable[[Header, list[memoryview]], T]
"""Makes a value of a message; whatever it raises says that the message is none of those that are expected."""

_LARGEST_HEADER = 8 << 20
"""Bytes. JSON grows in memory, twentyfold at worst."""

_LARGEST_MESSAGE = 1 << 30
"""Bytes of all buffers of a message together: they are in memory at the same time."""

_MOST_BUFFERS = 1024

_LONGEST_REASON = 2000
"""Characters of an error that is kept with a row."""

Text = Annotated[str, Field(max_length=1000)]
Index = Annotated[int, Field(ge=0, le=(1 << 31) - 1)]
Side = Annotated[int, Field(ge=1, le=(1 << 31) - 1)]
Int64 = Annotated[int, Field(ge=-(1 << 63), le=(1 << 63) - 1)]
Count = Annotated[int, Field(ge=0, le=(1 << 63) - 1)]
"""None of these is more than a table's column can hold."""


class ChildMessage(BaseModel):
    """A message as its reader expects it: nothing is missing or too much, and nothing is converted.

    A kind of message with buffers has a field `buffers` of the type `Buffers`.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


Buffers = list[InstanceOf[memoryview]]
OneBuffer = Annotated[Buffers, Field(min_length=1, max_length=1)]

M = TypeVar("M", bound=ChildMessage)


def reader_of(*kinds: type[M]) -> Reader[M]:
    """Reads messages of these kinds, which differ in the value of `kind`."""
    by_name = {get_args(each.model_fields["kind"].annotation)[0]: each for each in kinds}

    def read(header: Header, buffers: list[memoryview]) -> M:
        kind = by_name.get(str(header.get("kind")))
        if kind is None:
            raise ValueError(f"its kind is {str(header.get('kind'))[:50]!r}")
        return kind.model_validate(header | ({"buffers": buffers} if buffers else {}))

    return read


def raw(header: Header, buffers: list[memoryview]) -> Message:
    """Reads any message, unchecked."""
    return header, buffers


def framed(value: Header) -> bytes:
    """A header as it is sent: its length, then JSON."""
    packed = json.dumps(value).encode()
    return struct.pack("<I", len(packed)) + packed


def send_message(stream: BinaryIO, header: Header, *buffers: bytes | memoryview) -> None:
    """Send a header and buffers."""
    views = [memoryview(buffer).cast("B") for buffer in buffers]
    stream.write(framed({**header, "_sizes": [view.nbytes for view in views]}))
    for view in views:
        stream.write(view)
    stream.flush()


def stalled(limits: DecodingLimits) -> str:
    """Why a child that says nothing was ended."""
    return f"no progress for {limits.stall_seconds} s while decoding (limits.stall_seconds)"


def messages(descriptor: int, limits: DecodingLimits) -> Iterator[Message]:
    """Messages until the pipe's other end is closed; a message cut short ends the stream.

    Raises:
        MediaError: what comes is not a message, or too much, or nothing for too long, or it never ends.
    """
    received, waited = 0, 0.0

    def wait() -> None:
        nonlocal waited
        began = time.monotonic()
        if not select([descriptor], [], [], limits.stall_seconds)[0]:
            raise MediaError(stalled(limits))
        waited += time.monotonic() - began
        if waited > limits.wait_seconds:
            raise MediaError(f"decoding was waited for more than {limits.wait_seconds} s (limits.wait_seconds)")

    def read(size: int) -> memoryview | None:
        nonlocal received
        received += size
        if received > limits.output_mib << 20:
            raise MediaError(f"decoding gave more than {limits.output_mib} MiB (limits.output_mib)")
        view, filled = memoryview(bytearray(size)), 0
        while filled < size:
            wait()
            count = os.readv(descriptor, [view[filled:]])
            if count == 0:
                return None
            filled += count
        return view

    while (prefix := read(4)) is not None:
        (length,) = struct.unpack("<I", prefix)
        if length > _LARGEST_HEADER:
            raise MediaError(_no_message(f"a header of {length} bytes"))
        if (packed := read(length)) is None:
            return
        header, sizes = _unpacked(packed)
        buffers = [read(size) for size in sizes]
        if None in buffers:
            return
        yield header, [buffer for buffer in buffers if buffer is not None]


def _unpacked(packed: memoryview) -> tuple[Header, list[int]]:
    try:
        header = json.loads(bytes(packed))
        sizes = header.pop("_sizes")
        if len(sizes) > _MOST_BUFFERS or not all(type(size) is int and size >= 0 for size in sizes):
            raise ValueError(f"{len(sizes)} buffers of impossible sizes")
        if sum(sizes) > _LARGEST_MESSAGE:
            raise ValueError(f"{sum(sizes)} bytes at once")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise MediaError(_no_message(str(error))) from error
    return header, sizes


def understood(read: Reader[T], header: Header, buffers: list[memoryview]) -> T:
    """What a message says.

    Raises:
        MediaError: it is none of those that are expected.
    """
    try:
        return read(header, buffers)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(map(str, [header.get("kind"), *first["loc"]]))
        raise MediaError(_no_message(f"{place}: {first['msg']}")) from error
    except (ValueError, TypeError, LookupError, ArithmeticError, AttributeError) as error:
        raise MediaError(_no_message(f"{type(error).__name__}: {error}")) from error


def reason(header: Header) -> str:
    """The reason that an `error` message gives, as text that can be stored."""
    said = str(header.get("message"))[:_LONGEST_REASON]
    return said.encode(errors="replace").decode()  # JSON can hold half characters


def _no_message(why: str) -> str:
    return f"the decoding process sent what is not a message: {why}"[:_LONGEST_REASON].encode(errors="replace").decode()
