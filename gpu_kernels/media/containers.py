"""Opening a media file safely, and the facts about it. Runs inside the sandbox's child.

Only demuxers that read one self-contained file are allowed, and only the `file` protocol: playlists, concat scripts,
session descriptions and image patterns would make the library open other files or connections.
"""

from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from gpu_kernels.media.display import Display
from gpu_kernels.media.file_ends import is_cut_short
from gpu_kernels.media.segments import SEGMENT_FRAMES
from gpu_kernels.media.stream_times import LAST_NS, NANOSECONDS, StreamTimes
from gpu_kernels.media.streams import listen, video_streams
from gpu_kernels.media.timeline import on_one_clock
from gpu_kernels.media.tone_mapping import DynamicRange, dynamic_range
from gpu_kernels.sandbox import ChildMessage, DecodingLimits, MediaError, Send
from gpu_kernels.sandbox.messages import Count, Index, Int64, Side, Text

if TYPE_CHECKING:
    import av
    from av import VideoFrame
    from av.container import InputContainer
    from av.video.codeccontext import VideoCodecContext
    from av.video.stream import VideoStream

DEMUXERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,h264,hevc,av1,obu,ivf,flv,asf,ogg,mxf,gif,"
    "yuv4mpegpipe,nut,dv,rm,wtv,vc1,nsv,amv,swf,cavsvideo,dirac,bink,smk,4xm,roq,mtv,mv,thp"
)
_PLAYLISTS = (b"#EXTM3U", b"ffconcat", b"<MPD", b"<?xml", b"v=0", b"[playlist]", b"<asx", b"[Reference]", b"file '")


class VideoFacts(ChildMessage):
    """What a file says about the stream that is its video; sizes as displayed, times in nanoseconds.

    Size, shape and turn are those of the first frame, should they change within the stream. `duration_ns` is from the
    first frame's time until the last one has been shown.
    """

    kind: Literal["facts"] = "facts"
    container: Text
    stream_index: Index
    """Of the video stream that is used, in the file."""
    codec: Text
    pixel_format: Text
    width: Side
    height: Side
    coded_width: Side
    coded_height: Side
    rotation: int = Field(ge=0, lt=360)
    """Clockwise degrees by which the decoded picture is turned for display."""
    mirrored: bool
    """Whether it is mirrored left to right after that."""
    sample_aspect_ratio: Text
    dynamic_range: DynamicRange
    interlaced: bool
    average_rate: float = Field(gt=0)
    real_rate: float = Field(gt=0)
    constant_rate: bool
    duration_ns: int = Field(ge=0, le=LAST_NS)
    first_pts_ns: int = Field(ge=-LAST_NS, le=LAST_NS)
    frames: Count
    """Packets of the stream that are to be shown; the decoder may give fewer when data is damaged."""
    keyframes: Count
    incomplete: bool
    """Whether there is less in the file than it states, as in a download that broke off."""
    clock_restarts: Index
    """How often the file's clock starts again, as where recordings were joined."""
    segment_pts_ns: list[Int64]
    """Presentation times of every `segment_frames`-th frame but the first; none unless frames can be found by them."""
    audio_index: Index | None
    """Of the sound's stream in the file."""
    audio_codec: Text | None
    audio_sample_rate: Index | None
    audio_channels: Index | None
    audio_error: Text | None
    """Why the sound cannot be used."""
    video_streams: Index

    @model_validator(mode="after")
    def _times_go_on(self) -> "VideoFacts":
        if any(after <= before for before, after in pairwise([self.first_pts_ns, *self.segment_pts_ns])):
            raise ValueError("the times of segments go back")
        return self


def open_media(path: str) -> "InputContainer":
    """Open a file with the allowed demuxers only.

    Raises:
        MediaError: it is a playlist, empty, or nothing that the demuxers know.
    """
    import av.error

    try:
        with open(path, "rb") as file:
            head = file.read(4096)
    except OSError as error:
        raise MediaError(f"not a readable file: {error.strerror}") from error
    if not head:
        raise MediaError("the file is empty")
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith(tuple(mark.lower() for mark in _PLAYLISTS)):
        raise MediaError("the file is a playlist or a text document, not a video; playlists are refused")
    try:
        return av.open(
            f"file:{path}",
            metadata_errors="replace",
            container_options={"protocol_whitelist": "file", "format_whitelist": DEMUXERS, "enable_drefs": "0"},
        )
    except av.error.MemoryError:
        raise
    except av.error.ArgumentError as error:  # what the whitelist answers
        raise MediaError("not a video in one of the container formats that are read") from error
    except av.FFmpegError as error:
        raise MediaError(f"not a readable video: {error.strerror}") from error


def probe(send: Send, limits: DecodingLimits, path: str, segment_frames: int = SEGMENT_FRAMES) -> None:
    """Sandboxed operation: one message with the facts; decodes one frame, reads every packet header."""
    with open_media(path) as container:
        streams = video_streams(container)
        stream = streams[0]
        context = stream.codec_context
        context.thread_count = 1
        if context.width * context.height > limits.max_pixels:
            raise MediaError(f"{context.width}x{context.height} pixels are more than limits.max_pixels allows")
        times = StreamTimes(container, stream)
        incomplete = is_cut_short(path)
        frame = None
        for timed in on_one_clock(container, _packets(container, stream, times)):
            if times.packets % 1000 == 0:
                send({"kind": "progress"})
            times.add(timed)
            if frame is None:
                frame = _first_frame(context, timed.packet)
        if frame is None and times.packets:
            frame = _first_frame(context, None)
        if frame is None:
            raise MediaError(f"no frame of the {context.name} stream could be decoded")
        incomplete = incomplete or times.ends_early()
        pts = times.pts()
        tick = times.tick
        shown = Display(stream)(frame)
        if shown.width * shown.height > limits.max_pixels:
            raise MediaError(f"displayed as {shown.width}x{shown.height} pixels, more than limits.max_pixels allows")
        segments = pts[segment_frames::segment_frames] if times.each_has_its_own() else pts[:0]
        stated = stream.guessed_rate or Fraction(25)
        raw = times.without()
        average = stated if raw else times.average_rate(stream.average_rate or stated, incomplete)
        real = stated if raw else stream.base_rate or stated
        first_pts_ns = int(pts[0] * tick * NANOSECONDS)
        if not (first_pts_ns >= -LAST_NS and int(pts[-1] * tick * NANOSECONDS) <= LAST_NS):
            raise MediaError("the file has presentation times of more than a century")
        with open_media(path) as again:
            sound = listen(send, again)
        facts = VideoFacts(
            container=container.format.name,
            stream_index=stream.index,
            codec=context.codec.canonical_name,
            pixel_format=frame.format.name,
            width=shown.width,
            height=shown.height,
            coded_width=frame.width,
            coded_height=frame.height,
            rotation=shown.rotation,
            mirrored=shown.mirrored,
            sample_aspect_ratio=f"{shown.aspect.numerator}:{shown.aspect.denominator}",
            dynamic_range=dynamic_range(frame),
            interlaced=frame.interlaced_frame,
            average_rate=float(average),
            real_rate=float(real),
            constant_rate=times.is_constant(),
            duration_ns=times.duration_ns(incomplete),
            first_pts_ns=first_pts_ns,
            frames=times.packets,
            keyframes=times.keyframes,
            incomplete=incomplete,
            clock_restarts=times.restarts,
            segment_pts_ns=[int(each * tick * NANOSECONDS) for each in segments.tolist()],
            audio_index=sound.index,
            audio_codec=sound.codec,
            audio_sample_rate=sound.sample_rate,
            audio_channels=sound.channels,
            audio_error=sound.error,
            video_streams=len(streams),
        )
    send(facts.model_dump())


def _packets(container: "InputContainer", stream: "VideoStream", times: StreamTimes) -> "Iterator[av.Packet[Any]]":
    """The packets of the stream; those of the others only show how far the file goes."""
    import av.error

    try:
        for packet in container.demux():
            if packet.size:
                times.pass_by(packet)
                if packet.stream.index == stream.index:
                    yield packet
    except av.error.MemoryError:
        raise
    except av.FFmpegError:
        times.broken_off = True  # it ends within a packet; what was read before counts


def _first_frame(context: "VideoCodecContext", packet: "av.Packet[Any] | None") -> "VideoFrame | None":
    """The first frame that a packet completes, or that the decoder still holds at the end."""
    import av.error

    try:
        return next(iter(context.decode(packet)), None)
    except av.error.MemoryError:
        raise
    except av.FFmpegError:
        return None
