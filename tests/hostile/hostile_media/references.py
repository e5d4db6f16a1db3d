"""Files that point elsewhere: playlists, scripts and session descriptions, and movies whose data lie in other files."""

import random
import struct
import zlib

from hostile_media.boxes import box, replaced
from hostile_media.traps import Traps

_TEXTS = {
    "hls": "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:4\n#EXTINF:1,\n{ref}\n#EXTINF:1,\n{url}\n#EXT-X-ENDLIST\n",
    "hls_master": "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1000\n{ref}\n",
    "hls_key": '#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-KEY:METHOD=AES-128,URI="{ref}"\n#EXTINF:1,\n{ref}\n',
    "hls_map": '#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-MAP:URI="{ref}"\n#EXTINF:1,\n{url}\n#EXT-X-ENDLIST\n',
    "m3u": "{ref}\n{url}\n",
    "ffconcat": "ffconcat version 1.0\nfile '{ref}'\nfile '{url}'\n",
    "ffconcat_streams": "ffconcat version 1.0\nstream\nfile {ref}\nduration 1\ninpoint 0\nfile_packet_meta x y\n",
    "concat": "file '{ref}'\n",
    "mpd": '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
    'mediaPresentationDuration="PT1S"><Period><AdaptationSet contentType="video"><Representation id="0" '
    'bandwidth="1000"><BaseURL>{ref}</BaseURL><SegmentList duration="1"><SegmentURL media="{ref}"/></SegmentList>'
    "</Representation></AdaptationSet></Period></MPD>",
    "mpd_bare": '<MPD type="static" mediaPresentationDuration="PT1S"><BaseURL>{url}</BaseURL><Period><AdaptationSet '
    'contentType="video"><Representation id="0"><SegmentTemplate media="{url}" initialization="{ref}" duration="1"/>'
    "</Representation></AdaptationSet></Period></MPD>",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=-\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {port} RTP/AVP 96\n"
    "a=rtpmap:96 H264/90000\na=control:rtsp://127.0.0.1:{port}/a\n",
    "asx": '<asx version="3.0"><entry><ref href="{ref}"/><ref href="{url}"/></entry></asx>',
    "pls": "[playlist]\nFile1={ref}\nFile2={url}\nNumberOfEntries=2\nVersion=2\n",
    "asf_reference": "[Reference]\nRef1={url}?MSWMExt=.asf\nRef2={ref}\n",
    "xspf": '<?xml version="1.0"?><playlist version="1"><trackList><track><location>{ref}</location></track>'
    "</trackList></playlist>",
    "smil": '<smil><body><video src="{ref}"/></body></smil>',
    "qtl": '<?xml version="1.0"?><?quicktime type="application/x-quicktime-media-link"?><embed src="{ref}"/>',
    "smooth": '<?xml version="1.0"?><SmoothStreamingMedia MajorVersion="2" Duration="1"><StreamIndex Type="video" '
    'Url="{ref}"><c d="1"/></StreamIndex></SmoothStreamingMedia>',
    "imf": '<?xml version="1.0"?><CompositionPlaylist xmlns="http://www.smpte-ra.org/schemas/2067-3/2016"><Id>urn:uuid:0'
    "</Id><Asset><Path>{ref}</Path></Asset></CompositionPlaylist>",
    "ram": "rtsp://127.0.0.1:{port}/a.rm\n{ref}\n",
    "vobsub": "# VobSub index file, v7 (do not modify this line!)\nsize: 64x64\nid: en, index: 0\n"
    "timestamp: 00:00:00:000, filepos: 000000000\n",
    "avisynth": 'AviSource("{ref}")\n',
    "lavfi": "movie={ref}\n",
    "srt": "1\n00:00:00,000 --> 00:00:02,000\n{ref}\n",
    "webvtt": "WEBVTT\n\n00:00.000 --> 00:02.000\n{ref}\n",
    "ass": "[Script Info]\nScriptType: v4.00+\n[Events]\nDialogue: 0,0:00:00.00,0:00:02.00,D,,0,0,0,,{ref}\n",
    "sami": "<SAMI><BODY><SYNC Start=0><P>{ref}</BODY></SAMI>",
    "svg": '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="64" height="64">'
    '<image xlink:href="{ref}" width="64" height="64"/></svg>',
    "html": '<html><body><video src="{url}"></video><img src="{ref}"></body></html>',
    "image_pattern": "canary%01d.png\n",
    "metadata": ";FFMETADATA1\ntitle={ref}\n",
    "rtp": "RTSPtext {url}\n",
    "name_only": "{ref}",
}

_FOLLOWED = ("ffconcat", "ffconcat_streams", "concat", "hls", "mpd", "sdp")
"""What a library without restrictions follows; HLS only under its own name."""

_PREFIXES = {
    "": b"",
    "byte_order_mark": b"\xef\xbb\xbf",
    "blank": b" \r\n\t" * 40,
    "late": b"\n" * 5000,
    "comment": b"# " + b"x" * 200 + b"\n",
    "tag": b"ID3\x03\x00\x00\x00\x00\x01\x00" + bytes(128),
    "nul": bytes(16),
    "boxes": box(b"ftyp", b"isom\0\0\2\0isomiso2mp41") + box(b"free", bytes(64)),
    "utf16": b"\xff\xfe",
}


def _reference(rng: random.Random, traps: Traps) -> str:
    """A way to name the canary or the listener."""
    video, movie = traps.folder / "canary.ts", traps.folder / "canary.mov"
    text, picture = traps.folder / "canary.txt", traps.folder / "canary.png"
    near = [f"../{traps.folder.name}/canary.ts", traps.beside.name, f"./{traps.beside.name}"]
    port = traps.listener.port
    schemes = ["tcp", "rtmp", "rtsp", "ftp", "https", "udp", "gopher", "mmsh", "hls+http", "icecast", "rtp", "srt"]
    return rng.choice(
        [
            *(str(path) for path in (video, movie, text, picture)),
            f"file:{video}",
            f"file://{text}",
            *near,
            *near,
            traps.url,
            f"{rng.choice(schemes)}://127.0.0.1:{port}/canary.ts",
            f"subfile,,start,0,end,0,,:{video}",
            f"concat:{video}|{text}",
            f"concatf:{text}",
            f"crypto:{video}",
            f"cache:{traps.url}",
            f"async:{video}",
            f"data:text/plain,%23EXTM3U%0A{traps.url}",
        ]
    )


def playlist(rng: random.Random, traps: Traps) -> tuple[str, bytes]:
    """A text that points elsewhere, perhaps behind something that hides it: its kind and content.

    Every second one is such as a library would follow: a format that it knows, bare, with a plain path.
    """
    likely = rng.random() < 0.5
    name = rng.choice(_FOLLOWED if likely else sorted(_TEXTS))
    reference = rng.choice([str(traps.folder / "canary.ts"), traps.beside.name]) if likely else _reference(rng, traps)
    text = _TEXTS[name].format(ref=reference, url=traps.url, port=traps.listener.port)
    hidden = "" if likely or rng.random() < 0.5 else rng.choice(sorted(_PREFIXES))
    data = text.encode("utf-16-le" if hidden == "utf16" else "utf-8")
    if not likely and rng.random() < 0.2:
        data = data.swapcase()
    return f"{name}{'_' if hidden else ''}{hidden}", _PREFIXES[hidden] + data


def playlist_appended(rng: random.Random, traps: Traps, data: bytes) -> bytes:
    """A real file with a playlist at its end."""
    return data + b"\n" + playlist(rng, traps)[1]


# ---------------------------------------------------------------- binary containers


def movie_of_elsewhere(rng: random.Random, traps: Traps) -> bytes:
    """The canary movie's index with its data left out, which a data reference names: an alias or a URL."""
    absolute = str(traps.folder / "canary.mov")
    path = rng.choice([absolute, absolute, f"../{traps.folder.name}/canary.mov", traps.beside.name])
    entries = [
        alias(path),
        alias(path),
        alias(path),
        box(b"url ", bytes(4) + traps.url.encode() + b"\0"),
        box(b"urn ", bytes(4) + path.encode()),
    ]
    return movie_of(traps, rng.choice(entries))


def movie_of(traps: Traps, entry: bytes) -> bytes:
    """The canary movie without its data, with the data reference `entry`."""
    movie = traps.movie
    at = movie.index(b"mdat")
    size = struct.unpack_from(">I", movie, at - 4)[0]
    emptied = movie[: at + 4] + bytes(size - 8) + movie[at - 4 + size :]
    return replaced(emptied, b"dref", bytes(4) + struct.pack(">I", 1) + entry)


def alias(path: str) -> bytes:
    """A QuickTime alias entry of a `dref` box, with the path in its record of type 2."""
    name = path.encode()
    record = struct.pack(">HH", 2, len(name)) + name + bytes(len(name) % 2) + struct.pack(">HH", 0xFFFF, 0)
    return box(b"alis", bytes(4) + bytes(150) + record)


def reference_movie(rng: random.Random, traps: Traps) -> bytes:
    """A QuickTime movie that consists of where another one is."""
    target = _reference(rng, traps).encode() + b"\0"
    location = box(b"rdrf", bytes(4) + b"url " + struct.pack(">I", len(target)) + target)
    return box(b"ftyp", b"qt  \0\0\2\0qt  ") + box(b"moov", box(b"rmra", box(b"rmda", location)))


def flash(rng: random.Random, traps: Traps) -> bytes:
    """A Flash file that imports and loads another."""
    target = _reference(rng, traps).encode() + b"\0"

    def tag(code: int, body: bytes) -> bytes:
        return struct.pack("<HI", code << 6 | 63, len(body)) + body

    action = b"\x83" + struct.pack("<H", len(target) + 1) + target + b"\0\0"
    tags = tag(57, target + struct.pack("<H", 0)) + tag(71, target + b"\1\0" + struct.pack("<H", 0)) + tag(12, action)
    body = b"\x30\x0a\x00\xa0" + struct.pack("<HH", 0x0A00, 1) + tags + tag(1, b"") + tag(0, b"")
    head = b"\x06" + struct.pack("<I", len(body) + 8)
    return b"CWS" + head + zlib.compress(body) if rng.random() < 0.5 else b"FWS" + head + body


def linked_segments(rng: random.Random, traps: Traps) -> bytes:
    """A Matroska file without clusters whose info names its neighbours, as ordered chapters do."""
    reference = _reference(rng, traps).encode()

    def element(identifier: str, body: bytes) -> bytes:
        return bytes.fromhex(identifier) + struct.pack(">Q", 1 << 56 | len(body)) + body

    uid = element("3CB923", bytes(range(16))) + element("3C83AB", reference) + element("3EB923", bytes(range(16)))
    info = element("1549A966", element("2AD7B1", b"\x0f\x42\x40") + uid + element("3E83BB", reference))
    track = element("D7", b"\1") + element("73C5", b"\1") + element("83", b"\1") + element("86", b"V_MPEG4/ISO/AVC")
    track += element("E0", element("B0", b"\x40") + element("BA", b"\x40")) + element("3B4040", reference)
    head = element("1A45DFA3", element("4282", b"matroska"))
    return head + element("18538067", info + element("1654AE6B", element("AE", track)))


BINARY = (movie_of_elsewhere, reference_movie, flash, linked_segments)
