"""Probe videos from anybody with ffmpeg, and read frames by place."""

import re
from collections.abc import Generator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from media.ffmpeg import (
    FIRST_VIDEO,
    MAX_PIXELS,
    READ_TIMEOUT_S,
    FFmpegError,
    FrameReader,
    Frames,
    run_bounded,
    safe_input,
)
from media.input_files import CHOOSE_ANOTHER, BadInputError
from media.pictures import check_picture_size, too_many_pixels
from media.timing import Timing, timing_of
from media.video_colors import VideoColors, to_srgb_filters
from pipelines.plan.faults import Fault

MAX_LISTED_FRAMES = 200_000
"""Frames of a video that are seen: two hours. What follows is left out, so that no file takes long to look at."""

MAX_MESSAGE_BYTES = 2 << 20
"""Most that ffmpeg may say before it shows a picture: some 10,000 broken frames, more than clips begin with that were
cut off before."""

# Stream, decode time, show time, duration, size, checksum, and flags if there are any but "key frame".
_PACKET = re.compile(r"^0, *(-?\d+), *(-?\d+), *(\d+), *\d+, *\w+(?:, F=0x(\w+))?", re.MULTILINE)
_DISCARDED = 4  # is decoded, but not shown: a clip that was cut without being coded anew has such at its beginning
_NO_TIME = -(1 << 63)
_WORTH_SEEKING = 100  # frames; to decode fewer takes less than a moment
# ffmpeg's own decoders of VP8 and VP9 leave out what says how much can be seen through; the library's don't.
_ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
_ALPHA_MODE = re.compile(r"^ *alpha_mode *: 1\s*$", re.MULTILINE | re.IGNORECASE)

_NO_DECODER = re.compile(r"Error while opening decoder|[Dd]ecoder .{0,60}not found|[Nn]o decoder|Could not find codec")


@dataclass(frozen=True, slots=True)
class VideoListing:
    """Packets of a video's first picture stream, with its properties.

    Args:
        width, height: Size as shown: turned as the file says, pixels made square.
        starts: When each frame is shown, in ticks from the start of the file, ascending.
        seekable: Whether those are the frames' own times, not only the order of their packets.
        durations: Of each packet, in ticks.
        tick: Seconds.
        rounded_fps: As ffmpeg rounds it, to two decimals.
        codec, pix_fmt: As ffmpeg names them.
        colors: What the file says about them.
        is_interlaced: Whether a frame has two halves of different times, line by line.
        decoder: The one that reads it whole, where that is not ffmpeg's own choice.
        has_audio: Whether there is sound, too.
    """

    width: int
    height: int
    starts: list[int]
    seekable: bool
    durations: list[int]
    tick: Fraction
    rounded_fps: Fraction | None
    codec: str
    pix_fmt: str
    colors: VideoColors
    is_interlaced: bool
    decoder: str
    has_audio: bool


def list_video(path: Path, *, max_frames: int) -> VideoListing:
    """List the packets with exact times, and decode one frame.

    The bundled ffmpeg comes without ffprobe, and its own summary rounds the frame rate.

    Raises:
        FFmpegError: There is no moving picture in the file, or none that can be decoded.
    """
    done = run_bounded(
        *("-v", "info", *safe_input(path)),
        # Written in blocks: line by line, 200,000 take half as long again, and the longer the busier the machine is.
        *("-map", FIRST_VIDEO, "-c", "copy", "-frames:v", str(max_frames)),
        *("-flush_packets", "0", "-f", "framecrc", "pipe:1"),
        *("-map", FIRST_VIDEO, "-vf", "showinfo=checksum=0", "-frames:v", "1", "-f", "null", "-"),
        max_message_bytes=MAX_MESSAGE_BYTES,
        timeout_s=READ_TIMEOUT_S,
    )
    packets, messages = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    frame_match = re.search(r"\bn: *0 .* fmt:(\w+) .*\bsar:(\d+)/(\d+) s:(\d+)x(\d+) i:(\w) ", messages)
    stream = re.search(r"^ *Stream #0:.*: Video: .*$", messages, re.MULTILINE)
    codec = re.search(r"^#codec_id 0: (\w+)", packets, re.MULTILINE)
    time_base = re.search(r"^#tb 0: (\d+)/(\d+)", packets, re.MULTILINE)
    lines = [line for line in _PACKET.findall(packets) if not int(line[3] or "0", 16) & _DISCARDED]
    if not (frame_match and stream and codec and time_base and lines):
        err = FFmpegError("ffmpeg finds no moving picture in the file")
        err.messages = messages
        raise err
    times = [int(line[1]) for line in lines]
    has_times = _NO_TIME not in times
    rounded_fps = re.search(r", (\d+(?:\.\d+)?) fps", stream[0])
    sar = (
        Fraction(int(frame_match[2]), int(frame_match[3]))
        if int(frame_match[2]) and int(frame_match[3])
        else Fraction(1)
    )
    decoder = _ALPHA_DECODERS.get(codec[1], "") if _ALPHA_MODE.search(messages) else ""
    return VideoListing(
        width=round(int(frame_match[4]) * sar),
        height=int(frame_match[5]),
        starts=sorted(times if has_times else (int(line[0]) for line in lines)),
        seekable=has_times,
        durations=[int(line[2]) for line in lines],
        tick=Fraction(int(time_base[1]), int(time_base[2])),
        rounded_fps=Fraction(rounded_fps[1]) if rounded_fps else None,
        codec=codec[1],
        pix_fmt=frame_match[1],
        colors=VideoColors.of_frame(messages, pix_fmt=frame_match[1], has_alpha=bool(decoder)),
        is_interlaced=frame_match[6] in "TB",
        decoder=decoder,
        has_audio=re.search(r"^ *Stream #0:.*: Audio: ", messages.split("Stream mapping:")[0], re.MULTILINE)
        is not None,
    )


class VideoReader:
    """Video read as a clip; attributes as `PictureReader`.

    Raises:
        BadInputError: It has no pictures, none that can be decoded, or too large or too thin ones.
    """

    def __init__(self, path: Path) -> None:
        self.complaint = ""
        self._path = path
        try:
            listing = list_video(path, max_frames=MAX_LISTED_FRAMES)
        except FFmpegError as err:
            raise BadInputError(_refusal(err)) from err
        check_picture_size(listing.width, listing.height)
        self._listing = listing
        self.width, self.height, self.has_audio = listing.width, listing.height, listing.has_audio
        end = listing.starts[-1] + max(1, listing.durations[-1])
        timing = timing_of(listing.starts, end, listing.tick, hint=listing.rounded_fps)
        # Two frames a year apart would be as many taken by time as anyone asks for.
        self.timing: Timing = replace(timing, num_frames=min(timing.num_frames, MAX_LISTED_FRAMES))

    @property
    def start_s(self) -> Fraction:
        """Time of the first frame; sound may begin earlier."""
        return self._listing.starts[0] * self._listing.tick

    def iter_frames(self, places: range, size: tuple[int, int]) -> Generator[Frames, None, None]:
        """Yield the frames at these places of the timing.

        They are uint8 [height, width, 3]; `size` has width first.

        A file that is damaged on the way ends there, and `complaint` says so.

        Raises:
            BadInputError: Not even one can be decoded.
        """
        width, height = size
        skipped, seek_s = self._seek(places.start)
        count = 0
        try:
            with FrameReader(
                self._path,
                width=width,
                height=height,
                max_frames=len(places),
                filters=self._filters(places.start - skipped, places.step, size),
                seek_s=seek_s,
                decoder=self._listing.decoder,
            ) as reader:
                for frame in reader:
                    yield frame
                    count += 1
        except FFmpegError as err:
            if not count:
                raise BadInputError(_refusal(err)) from err
            self.complaint = f"It is damaged or cut off; {count:,} of its frames could be read."

    def _seek(self, place: int) -> tuple[int, Fraction]:
        """Choose how many frames to skip and the time between them."""
        starts = self._listing.starts
        if not (self.timing.even and self._listing.seekable and place >= _WORTH_SEEKING):
            return 0, Fraction(0)
        return place, Fraction(starts[place - 1] + starts[place], 2) * self._listing.tick

    def _filters(self, start: int, every: int, size: tuple[int, int]) -> str:
        by_time = "" if self.timing.even else f"setpts=PTS-STARTPTS,fps={self.timing.fps},"
        picked = rf"select=gte(n\,{start})*not(mod(n-{start}\,{every})),"
        return _deinterlace_filter(self._listing) + by_time + picked + to_srgb_filters(self._listing.colors, size)


def _deinterlace_filter(listing: VideoListing) -> str:
    """Build the filters that deinterlace; empty for progressive videos."""
    return "bwdif=mode=send_frame:deint=interlaced," if listing.is_interlaced else ""


def _refusal(err: FFmpegError) -> Fault:
    """Translate ffmpeg's messages into a fault."""
    if size := re.search(r"Picture size (\d+)x(\d+) (exceeds|is invalid)", err.messages):
        return too_many_pixels("clip.too_large", f"{size[1]} × {size[2]}", MAX_PIXELS)
    if "matches no streams" in err.messages and "Audio: " in err.messages:
        return Fault(code="clip.sound_only", rule="have pictures", got="a file with sound only", fix=CHOOSE_ANOTHER)
    if _NO_DECODER.search(err.messages) and (codec := re.search(r"Stream #0:.*: Video: (\w+)", err.messages)):
        rule, fix = "be a clip in a codec that can be read", "Convert it to H.264 in MP4"
        if codec[1] == "none":
            return Fault(code="clip.unknown_codec", rule=rule, got="one in an unknown codec", fix=fix)
        return Fault(
            code="clip.unreadable_codec",
            rule=rule,
            got=codec[1],
            fix=fix,
            seen="one in {got}, which can't be read from such a file",
        )
    return Fault(
        code="clip.unplayable",
        rule="be a playable clip",
        got="one that is damaged, empty or cut off",
        fix=CHOOSE_ANOTHER,
    )
