"""Hostile files by seed: the same seed, count and sources give the same files."""

import random
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from curate_assets.video.video_files import SUFFIXES
from hostile_media.bombs import bomb
from hostile_media.boxes import bodies, box
from hostile_media.references import BINARY, playlist, playlist_appended
from hostile_media.traps import Traps

_SUFFIXES = sorted(SUFFIXES)


@dataclass(frozen=True)
class HostileFile:
    """One file: `path` is relative, `origin` says of what it was made, `sound` that it must be curated well."""

    kind: str
    path: str
    origin: str
    data: bytes
    sound: bool = False


def hostile_files(seed: int, count: int, sources: Mapping[str, bytes], traps: Traps) -> Iterator[HostileFile]:
    """`count` files, every kind in turn, each from a generator of its own: any of them can be made alone."""
    plain = dict(sources)
    for index in range(count):
        kind = KINDS[index % len(KINDS)]
        rng = random.Random(f"{seed}/{index}")
        yield _made(kind, index, rng, plain, traps)


def _made(kind: str, index: int, rng: random.Random, sources: dict[str, bytes], traps: Traps) -> HostileFile:
    turn = index // len(KINDS)
    if kind == "untouched":
        origin = sorted(sources)[turn % len(sources)]
        return HostileFile(kind, f"{index:05d}_{origin}", origin, sources[origin], not origin.startswith("shared_"))
    if kind == "name":
        name = _names(traps)[turn % len(_names(traps))]
        # A box of its own makes the content, and with it the video's id, its own.
        data = sources["h264.mp4"] + box(b"free", f"{index}".encode())
        return HostileFile(kind, f"{index:05d}/{name}", name, data, True)
    if kind == "playlist":
        origin, data = playlist(rng, traps)
        return HostileFile(kind, f"{index:05d}_{origin}{rng.choice(_SUFFIXES)}", origin, data)
    if kind == "reference":
        make = BINARY[turn % len(BINARY)]
        return HostileFile(kind, f"{index:05d}_{make.__name__}.mov", make.__name__, make(rng, traps))
    if kind == "bomb":
        origin, data = bomb(rng, sources)
        return HostileFile(kind, f"{index:05d}_{origin}", origin, data)
    origin = rng.choice(sorted(sources))
    data = sources[origin]
    if kind == "spliced":
        other = rng.choice(sorted(sources))
        data, origin = _spliced(rng, data, sources[other]), f"{origin}+{other}"
    elif kind == "tail_playlist":
        data = playlist_appended(rng, traps, data)
    else:
        data = _CHANGES[kind](rng, data)
    return HostileFile(kind, f"{index:05d}_{kind}_{origin}", origin, data)


# ---------------------------------------------------------------- changes of real files


def _header_bits(rng: random.Random, data: bytes) -> bytes:
    """Bits where the file says what it is: its beginning, or the index of a movie."""
    places = [(start, end) for kind, start, end in bodies(data) if kind == b"moov"] or [(0, min(len(data), 1024))]
    return _flipped(rng, data, *rng.choice(places), rng.choice([1, 1, 3, 10, 40]))


def _payload_bits(rng: random.Random, data: bytes) -> bytes:
    return _flipped(rng, data, min(256, len(data) // 2), len(data), rng.choice([1, 5, 30, 300]))


def _flipped(rng: random.Random, data: bytes, start: int, end: int, count: int) -> bytes:
    changed = bytearray(data)
    for _ in range(count):
        changed[rng.randrange(start, end)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _truncated(rng: random.Random, data: bytes) -> bytes:
    return data[: rng.choice([rng.randrange(len(data)), rng.randrange(64), len(data) - rng.randrange(1, 9)])]


def _blocks(rng: random.Random, data: bytes) -> bytes:
    """Stretches removed, doubled, blanked, filled with noise, or moved."""
    for _ in range(rng.choice([1, 2, 5])):
        start = rng.randrange(len(data))
        end = min(len(data), start + rng.choice([1, 4, 64, 1500, 20000]))
        block = data[start:end]
        other = rng.randrange(len(data))
        data = (
            rng.choice(
                [
                    data[:start] + data[end:],
                    data[:end] + block * rng.choice([1, 3]) + data[end:],
                    data[:start] + bytes(len(block)) + data[end:],
                    data[:start] + rng.randbytes(len(block)) + data[end:],
                    data[:other] + block + data[other:],
                ]
            )
            or b"\0"
        )
    return data


def _tiny(rng: random.Random, data: bytes) -> bytes:
    return rng.choice(
        [b"", b"", data[: rng.randrange(1, 40)], bytes(rng.choice([1, 4096])), b"\xff" * 512, rng.randbytes(3000)]
    )


def _spliced(rng: random.Random, head: bytes, body: bytes) -> bytes:
    cut = rng.choice([4, 12, 64, 512, 4096, len(head) // 2, len(head)])
    return head[:cut] + body[rng.choice([0, min(cut, len(body) // 2), len(body) // 2]) :]


# ---------------------------------------------------------------- absurd numbers

_BOX_FIELDS = {
    # Kind of box: offsets in its body and widths in bytes.
    b"mvhd": [(12, 4), (16, 4)],
    b"tkhd": [(12, 4), (20, 4), (40, 4), (44, 4), (72, 4), (76, 4), (80, 4)],
    b"mdhd": [(12, 4), (16, 4)],
    b"elst": [(4, 4), (8, 4), (12, 4), (16, 4)],
    b"stsd": [(4, 4), (8, 4), (40, 2), (42, 2), (56, 2), (90, 2)],
    b"stts": [(4, 4), (8, 4), (12, 4)],
    b"ctts": [(4, 4), (8, 4), (12, 4)],
    b"stss": [(4, 4), (8, 4)],
    b"stsc": [(4, 4), (8, 4), (12, 4), (16, 4)],
    b"stsz": [(4, 4), (8, 4), (12, 4)],
    b"stco": [(4, 4), (8, 4)],
    b"trex": [(8, 4), (12, 4), (16, 4)],
    b"tfhd": [(4, 4), (8, 4)],
    b"trun": [(4, 4), (8, 4), (12, 4), (16, 4)],
}
_ELEMENTS = [
    bytes.fromhex(identifier)
    for identifier in "B0 BA 54B0 54BA 4489 2AD7B1 23E383 D7 E7 56AA 56BB 53AC 53AB 9A 9F B5 6264 54AA A3 AE".split()
]
_NAMES = [b"width", b"height", b"framerate", b"duration", b"videodatarate", b"filesize"]
_INTEGERS = [0, 1, 2, 0x7F, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 1 << 24, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFE, 0xFFFF_FFFF]
_REALS = [0.0, -1.0, 1e-300, 1e18, 1e300, float("inf"), float("-inf"), float("nan")]


def _numbers(rng: random.Random, data: bytes) -> bytes:
    """Sizes, durations, time scales, rates, counts and times made absurd, by what the container has."""
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 4])):
        rng.choice(_writers(data))(rng, changed)
    return bytes(changed)


def _writers(data: bytes) -> list:
    if fields := [
        (start + offset, width)
        for kind, start, end in bodies(data)
        for offset, width in _BOX_FIELDS.get(kind, [])
        if start + offset + width <= end
    ]:
        return [lambda rng, changed: _write(rng, changed, *rng.choice(fields), ">")]
    if data.startswith(b"\x1aE\xdf\xa3"):
        return [_write_element]
    if data.startswith(b"RIFF"):
        avih, strh, strf = (data.find(name) + 8 for name in (b"avih", b"strh", b"strf"))
        places = [avih + at for at in (0, 16, 20, 24, 32, 36)] + [strh + at for at in (16, 20, 24, 28, 32, 36, 44)]
        places += [strf + at for at in (0, 4, 8, 12, 20)]
        return [lambda rng, changed: _write(rng, changed, rng.choice(places), 4, "<")]
    if data.startswith(b"YUV4MPEG2"):
        return [_write_text]
    if data.startswith(b"FLV"):
        return [_write_named, _write_anywhere]
    if data.startswith(b"OggS"):
        return [_write_page, _write_anywhere]
    return [_write_anywhere]


def _write(rng: random.Random, changed: bytearray, at: int, width: int, order: str) -> None:
    value = rng.choice([*_INTEGERS, rng.getrandbits(32)])
    if width == 4 and rng.random() < 0.3:
        value = value << 16  # fixed point
    struct.pack_into(order + {2: "H", 4: "I"}[width], changed, at, value & ((1 << 8 * width) - 1))


def _write_element(rng: random.Random, changed: bytearray) -> None:
    places = [(at, name) for name in _ELEMENTS if (at := changed.find(name, 40)) >= 0]
    at, name = rng.choice(places)
    at += len(name)
    width = changed[at] & 0x7F
    if changed[at] & 0x80 and 0 < width <= 8 and at + 1 + width <= len(changed):
        real = struct.pack(">d", rng.choice(_REALS))[:width]
        whole = (rng.choice(_INTEGERS) * rng.choice([1, 1 << 32]) & ((1 << 8 * width) - 1)).to_bytes(width, "big")
        changed[at + 1 : at + 1 + width] = rng.choice([real, whole])


def _write_text(rng: random.Random, changed: bytearray) -> None:
    line, frames = bytes(changed).split(b"\n", 1)
    words = line.split()
    at = rng.randrange(1, len(words))
    words[at] = words[at][:1] + rng.choice([b"0", b"-1", b"99999999", b"1:0", b"0:1", b"1:2147483647", b"2147483647:1"])
    changed[:] = b" ".join(words) + b"\n" + frames


def _write_named(rng: random.Random, changed: bytearray) -> None:
    name = rng.choice(_NAMES)
    if (at := changed.find(name + b"\0")) >= 0:
        struct.pack_into(">d", changed, at + len(name) + 1, rng.choice(_REALS))


def _write_page(rng: random.Random, changed: bytearray) -> None:
    pages = [at for at in range(len(changed) - 14) if changed.startswith(b"OggS", at)]
    struct.pack_into(
        "<Q", changed, rng.choice(pages) + 6, rng.choice(_INTEGERS) << rng.choice([0, 31, 32]) & (1 << 64) - 1
    )


def _write_anywhere(rng: random.Random, changed: bytearray) -> None:
    end = min(len(changed), 400) - 4
    _write(rng, changed, rng.randrange(4, end), rng.choice([2, 4]), rng.choice("<>"))


_CHANGES = {
    "header_bits": _header_bits,
    "payload_bits": _payload_bits,
    "truncated": _truncated,
    "blocks": _blocks,
    "numbers": _numbers,
    "tiny": _tiny,
}

KINDS = (
    "untouched",
    "header_bits",
    "payload_bits",
    "numbers",
    "truncated",
    "spliced",
    "blocks",
    "tiny",
    "playlist",
    "tail_playlist",
    "reference",
    "bomb",
    "numbers",
    "playlist",
    "header_bits",
    "name",
)
"""One file of each in turn; some are worth more than one."""


def _names(traps: Traps) -> list[str]:
    port = traps.listener.port
    return [
        "two words.mp4",
        " leading and trailing .mp4",
        "it's.mp4",
        'say "cheese".mp4',
        "new\nline.mp4",
        "carriage\rreturn\ttab.mp4",
        "100%.mp4",
        "%03d.mp4",
        "canary%d.mp4",
        "%s%n%x.mp4",
        f"http:127.0.0.1:{port}.mp4",
        "file:canary.mpegts.mp4",
        f"concat:..|{traps.beside.name}|a.mp4",
        "subfile,,start,0,end,0,,:canary.mpegts.mp4",
        "data:video,mp4;base64,AAAA.mp4",
        "pipe:0.mp4",
        "fd:.mp4",
        "lavfi:movie=canary.mpegts.mp4",
        "crypto:canary.mpegts.mp4",
        "tee:a|b.mp4",
        "-i.mp4",
        "--help.mp4",
        "-.mp4",
        "~.mp4",
        "$HOME.mp4",
        "$(touch pwned).mp4",
        "`id`.mp4",
        "; rm -rf x ;.mp4",
        "a & b | c > d.mp4",
        "[0-9]{a,b}?*.mp4",
        "back\\slash.mp4",
        "@list.mp4",
        "#fragment?query=1&x.mp4",
        "{uri}.mp4",
        "'; DROP TABLE clips; --.mp4",
        "日本語 🎬.mp4",
        "re\u0301sume\u0301.mp4",
        "\u202egpm.mp4",
        "a" * 250 + ".mp4",
        "..mp4.mp4",
        "mov,mp4.MP4",
        "\x01\x1b[31mred.mp4",
    ]
