"""Probe untrusted videos with PyAV: the program of another process.

A line of JSON in, a line of JSON out. It imports little, so that it starts in a moment, and limits itself, so that a
file that crashes it, hangs it or fills its memory harms nothing else.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import asdict
from fractions import Fraction
from itertools import dropwhile, islice

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard, Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from media.video_listing import VideoColors, VideoListing

_MAX_CPU_S = 60
_MAX_MEMORY = 4 << 30
"""Of addresses; 17 reference frames of the largest size and 10 bits are 0.9 GiB."""

_GENERATE_PTS = 1  # libavformat's AVFMT_FLAG_GENPTS
_HAVE_JUMPS = ("mpeg", "mpegts", "ogg")  # those that libavformat flags AVFMT_TS_DISCONT
# From which on ffmpeg takes a time for the beginning of another recording, and for none.
_JUMP_S, _BACKWARDS_S, _NO_TIME_S = 10, Fraction(1, 10), 30 * 3600
# The decoders of VP8 and VP9 that are usual leave out what says how much can be seen through; the library's don't.
_ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}


class RefusedError(Exception):
    """Video that cannot be read: a fault's code, and what was got."""


def list_video(
    path: str, *, demuxer: str, max_frames: int, max_pixels: int, max_broken_frames: int
) -> dict[str, object]:
    """List a video's packets with exact times, and decode one frame.

    Args:
        path: The file.
        demuxer: Name of the only one that may read it.
        max_frames: Packets that are listed at most.
        max_pixels: Size of the largest frame that is decoded.
        max_broken_frames: So many packets without a picture at the beginning make a video unplayable.

    Returns:
        The fields of a `VideoListing`.

    Raises:
        RefusedError: There is no moving picture in the file, or none that can be decoded.
    """
    with _opened(path, demuxer) as container:
        frame, has_second_layer = _first_frame(container, max_pixels, max_broken_frames)
    with _opened(path, demuxer) as container:
        return asdict(_listing(container, frame, max_frames, has_second_layer=has_second_layer))


def read_tags(path: str, *, demuxer: str) -> dict[str, str]:
    """Read the texts of a video by lower-case name."""
    with _opened(path, demuxer) as container:
        # Ogg has them in its streams; Matroska writes them in capitals.
        texts = container.streams[0].metadata if demuxer == "ogg" else container.metadata
        return {name.lower(): text for name, text in texts.items()}


def _opened(path: str, demuxer: str) -> closing[InputContainer]:
    """Open a file from anybody; see `media.ffmpeg.safe_input`."""
    options = {"protocol_whitelist": "file", "format_whitelist": demuxer}
    container = av.open(f"file:{path}", "r", format=demuxer, container_options=options, metadata_errors="replace")
    container.flags &= ~_GENERATE_PTS  # of times that are not in the file seeking knows nothing
    return closing(container)


def _first_video(container: InputContainer) -> VideoStream:
    """Find the first stream that moves; the others are not read."""
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            for other in container.streams:
                other.discard = Discard.default if other is stream else Discard.all
            return stream
    raise RefusedError("clip.sound_only" if container.streams.audio else "clip.unplayable", "")


def _first_frame(container: InputContainer, max_pixels: int, max_broken_frames: int) -> tuple[VideoFrame, bool]:
    """Decode a frame; and whether HEVC has a second layer under it."""
    stream = _first_video(container)
    context = stream.codec_context
    if context is None:
        raise RefusedError("clip.unknown_codec", "")
    if context.width * context.height > max_pixels:
        raise RefusedError("clip.too_large", f"{context.width} × {context.height}")
    context.options, context.thread_count = {"max_pixels": str(max_pixels)}, 1
    try:
        context.open()
    except av.FFmpegError as err:
        raise RefusedError("clip.unreadable_codec", context.codec.canonical_name) from err
    has_second_layer = False
    for packet in islice(container.demux(stream), max_broken_frames):
        has_second_layer |= context.codec.canonical_name == "hevc" and _has_second_layer(bytes(packet))
        with suppress(av.FFmpegError):
            for frame in stream.decode(packet):
                return frame, has_second_layer
    raise RefusedError("clip.unplayable", "")


def _has_second_layer(data: bytes) -> bool:
    """Read from an HEVC packet of MP4 whether it may have alpha.

    ffmpeg's decoder shows it, PyAV's, which is older, does not.
    """
    at = 0
    while at + 6 <= len(data):
        if data[at + 4] & 1 or data[at + 5] >> 3:  # the number of the layer
            return True
        at += 4 + int.from_bytes(data[at : at + 4])
    return False


def _listing(container: InputContainer, frame: VideoFrame, max_frames: int, *, has_second_layer: bool) -> VideoListing:
    stream = _first_video(container)
    tick, rate = stream.time_base or Fraction(1), stream.average_rate
    usual_duration = round(1 / (rate * tick)) if rate else 0
    shown_at, sent_at, durations = [], [0], [0]
    for packet in islice(_shown(container, stream, tick), max_frames):
        shown_at.append(packet.pts)
        sent_at.append(sent_at[-1] + durations[-1] if packet.dts is None else packet.dts)
        durations.append(packet.duration or usual_duration)
    if not shown_at:
        raise RefusedError("clip.unplayable", "")
    starts = [time for time in shown_at if time is not None]
    seekable = len(starts) == len(shown_at)
    codec = stream.codec_context.codec.canonical_name
    alpha_mode = {name.lower(): text for name, text in stream.metadata.items()}.get("alpha_mode")
    decoder = _ALPHA_DECODERS.get(codec, "") if alpha_mode == "1" else ""
    has_alpha = frame.format.has_palette or any(component.is_alpha for component in frame.format.components)
    width, height, aspect = frame.width, frame.height, stream.sample_aspect_ratio or Fraction(1)
    if abs(frame.rotation) == 90:
        width, height, aspect = height, width, 1 / aspect
    sounds = (sound.codec_context for sound in container.streams.audio)
    return VideoListing(
        width=round(width * aspect),
        height=height,
        starts=sorted(starts if seekable else sent_at[1:]),
        seekable=seekable,
        last_duration=durations[-1],
        total_duration=sum(durations),
        tick=tick,
        rounded_fps=round(rate, 2) if rate else None,
        codec=codec,
        pix_fmt=frame.format.name,
        colors=VideoColors(frame.color_primaries, frame.color_trc, has_alpha or has_second_layer or bool(decoder)),
        is_interlaced=frame.interlaced_frame,
        decoder=decoder,
        audio_codecs=[context.codec.canonical_name if context else "" for context in sounds],
    )


def _shown(container: InputContainer, stream: VideoStream, tick: Fraction) -> "Iterator[Packet[VideoStream]]":
    """Yield the packets that are shown, timed from the file's start.

    Recordings that are put together begin their clock anew, where ffmpeg goes on.
    """
    has_jumps = container.format.name in _HAVE_JUMPS
    offset = round(Fraction(container.start_time or 0, av.time_base) / tick)
    last = expected = None
    with suppress(av.FFmpegError):  # what was cut off is read as far as it goes
        for packet in dropwhile(lambda packet: not packet.is_keyframe, container.demux(stream)):
            if packet.dts is not None:
                late = 0 if expected is None else packet.dts - offset - expected
                if has_jumps and expected is not None and last is not None:
                    if abs(late) * tick > _JUMP_S or expected + late + _BACKWARDS_S / tick < last:
                        offset += late
                elif abs(late) * tick > _NO_TIME_S:
                    packet.pts = packet.dts = None
            if packet.dts is not None:
                packet.dts -= offset
                last, expected = packet.dts, packet.dts + (packet.duration or 0)
            if packet.pts is not None:
                packet.pts -= offset
            if packet.size and not packet.is_discard:
                yield packet


def _limit_resources() -> None:
    """Limit the process's memory, and its time for the next file."""
    try:
        import resource
    except ImportError:  # Windows has none; the other process watches the clock
        return
    usage = resource.getrusage(resource.RUSAGE_SELF)
    for kind, limit in (
        (resource.RLIMIT_AS, _MAX_MEMORY),
        (resource.RLIMIT_CPU, round(usage.ru_utime + usage.ru_stime) + _MAX_CPU_S),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(kind)
        with suppress(ValueError, OSError):  # macOS has no limit of addresses; an operator's own may be lower
            resource.setrlimit(kind, (limit, hard))


def main() -> None:
    """Answer questions until there are no more."""
    av.logging.set_level(None)
    for line in sys.stdin:
        _limit_resources()
        question = json.loads(line)
        answer: dict[str, object]
        try:
            read = read_tags if question.pop("tags", False) else list_video
            answer = {"read": read(**question)}
        except RefusedError as err:
            answer = {"refused": err.args}
        except (av.FFmpegError, MemoryError):
            answer = {"refused": ("clip.unplayable", "")}
        sys.stdout.write(json.dumps(answer, default=str) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
