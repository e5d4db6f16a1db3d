"""Small files that claim or unpack to something very large."""

import random
import struct
import zlib

from hostile_media.boxes import bodies, box, replaced


def sequence_parameters(width: int, height: int) -> bytes:
    """An H.264 sequence parameter set (baseline, level 6.2) with a picture of about that size."""
    bits = "".join(format(byte, "08b") for byte in (66, 0, 62))

    def golomb(value: int) -> str:
        code = format(value + 1, "b")
        return "0" * (len(code) - 1) + code

    bits += golomb(0) + golomb(0) + golomb(2) + golomb(16) + "0"
    bits += golomb(max(1, width // 16) - 1) + golomb(max(1, height // 16) - 1) + "1" + "1" + "0" + "0" + "1"
    bits += "0" * (-len(bits) % 8)
    data = bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8))
    return b"\0\0\0\1\x67" + data.replace(b"\0\0\0", b"\0\0\3\0").replace(b"\0\0\1", b"\0\0\3\1")


def bomb(rng: random.Random, sources: dict[str, bytes]) -> tuple[str, bytes]:
    """One of them: its kind, which ends in a fitting suffix, and its content."""
    side = rng.choice([4096, 8192, 16384, 32768, 65520])
    other = rng.choice([16, 64, side])
    movie, raw = sources["h264.mp4"], sources["raw.h264"]
    sizes = next((start, end) for kind, start, end in bodies(movie) if kind == b"stsz")
    count = rng.choice([1 << 20, 1 << 26, (1 << 31) - 1, (1 << 32) - 1])
    deep = b""
    for _ in range(rng.choice([50, 2000, 20000])):
        deep = box(rng.choice([b"moov", b"trak", b"udta", b"meta"]), deep)
    brands = box(b"ftyp", b"isom\0\0\2\0isom")
    packed = zlib.compress(bytes(1 << rng.choice([20, 26, 28])), 9)
    unpacks = box(b"dcom", b"zlib") + box(b"cmvd", struct.pack(">I", rng.choice([1 << 26, (1 << 31) - 1])) + packed)
    huge = struct.pack("<HH", min(side, 65535), min(other, 65535))
    frames = rng.choice([1_000, 20_000])
    small = b"FRAME\n" + bytes(6)
    return rng.choice(
        [
            ("sps.h264", sequence_parameters(side, other) + raw[raw.index(b"\0\0\0\1\x68") :]),
            ("sps_alone.h264", sequence_parameters(side, other) * 50),
            ("samples.mp4", replaced(movie, b"stsz", bytes(4) + struct.pack(">II", rng.choice([0, 1, 64]), count))),
            ("runs.mp4", replaced(movie, b"stts", bytes(4) + struct.pack(">III", 1, count, 1))),
            ("samples_cut.mp4", movie[: sizes[0] + 8] + struct.pack(">I", count) + movie[sizes[0] + 12 :]),
            ("nested.mp4", brands + deep),
            ("packed_index.mov", brands + box(b"moov", box(b"cmov", unpacks))),
            (
                "screen.gif",
                b"GIF89a" + huge + b"\x80\0\0" + bytes(6) + (b"\x2c" + bytes(4) + huge + b"\0\2\1\0\0") * 40 + b";",
            ),
            ("frames.y4m", b"YUV4MPEG2 W2 H2 F25:1 C420jpeg\n" + small * frames),
            ("plane.y4m", f"YUV4MPEG2 W{side} H{other} F25:1 C420jpeg\nFRAME\n".encode() + bytes(1 << 16)),
            (
                "endless.mkv",
                bytes.fromhex("1A45DFA3 84 42828161 18538067 01FFFFFFFFFFFFFF") + b"\xec\x01" + bytes(1 << 12),
            ),
            (
                "nested.mkv",
                bytes.fromhex("1A45DFA3 84 42828161 18538067 01FFFFFFFFFFFFFF")
                + bytes.fromhex("1043A77001FFFFFFFFFFFFFF45B901FFFFFFFFFFFFFFB601FFFFFFFFFFFFFF") * 3000,
            ),
            ("picture.avi", _resized_jpeg(sources["mjpeg.avi"], side, other)),
        ]
    )


def _resized_jpeg(data: bytes, width: int, height: int) -> bytes:
    """Every JPEG frame header of a file with another size."""
    changed, at = bytearray(data), -1
    while (at := data.find(b"\xff\xc0\x00\x11", at + 1)) >= 0:
        struct.pack_into(">HH", changed, at + 5, min(height, 65500), min(width, 65500))
    return bytes(changed)
