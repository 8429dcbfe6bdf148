"""Probe videos from anybody, and read frames by place."""

from collections.abc import Generator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from pydantic import TypeAdapter

from media.ffmpeg import MAX_PIXELS, FFmpegError, FrameReader, Frames
from media.input_files import CHOOSE_ANOTHER, BadInputError
from media.pictures import check_picture_size, too_many_pixels
from media.probe_process import READ_TIMEOUT_S, ProbeError, ask_worker
from media.timing import Timing, timing_of
from media.video_colors import to_srgb_filters
from media.video_listing import VideoListing
from pipelines.plan.faults import Fault

MAX_LISTED_FRAMES = 200_000
"""Frames of a video that are seen: two hours. What follows is left out, so that no file takes long to look at."""

MAX_BROKEN_FRAMES = 10_000
"""Most that may come before the first that can be decoded: more than clips begin with that were cut off before."""

_WORTH_SEEKING = 100  # frames; to decode fewer takes less than a moment


_LISTING = TypeAdapter(VideoListing)


def list_video(path: Path, *, max_frames: int, timeout_s: float = READ_TIMEOUT_S) -> VideoListing:
    """List the packets with exact times, and decode one frame.

    Raises:
        ProbeError: There is no moving picture in the file, or none that can be decoded in time.
    """
    limits = {"max_frames": max_frames, "max_pixels": MAX_PIXELS, "max_broken_frames": MAX_BROKEN_FRAMES}
    return _LISTING.validate_python(ask_worker(path, timeout_s=timeout_s, **limits))


class VideoReader:
    """Video read as a clip; attributes as `PictureReader`.

    Args:
        path: The file.
        listing: Its packets, where they were listed before.

    Raises:
        BadInputError: It has no pictures, none that can be decoded, or too large or too thin ones.
    """

    def __init__(self, path: Path, listing: VideoListing | None = None) -> None:
        self.complaint = ""
        self._path = path
        try:
            listing = listing or list_video(path, max_frames=MAX_LISTED_FRAMES)
        except ProbeError as err:
            raise BadInputError(_refusal(err.code, err.got)) from err
        check_picture_size(listing.width, listing.height)
        self.listing = listing
        self.width, self.height = listing.width, listing.height
        end = listing.starts[-1] + max(1, listing.last_duration)
        timing = timing_of(listing.starts, end, listing.tick, hint=listing.rounded_fps)
        # Two frames a year apart would be as many taken by time as anyone asks for.
        self.timing: Timing = replace(timing, num_frames=min(timing.num_frames, MAX_LISTED_FRAMES))

    @property
    def start_s(self) -> Fraction:
        """Time of the first frame; sound may begin earlier."""
        return self.listing.starts[0] * self.listing.tick

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
                decoder=self.listing.decoder,
            ) as reader:
                for frame in reader:
                    yield frame
                    count += 1
        except FFmpegError as err:
            if not count:
                raise BadInputError(_refusal("clip.unplayable")) from err
            self.complaint = f"It is damaged or cut off; {count:,} of its frames could be read."

    def _seek(self, place: int) -> tuple[int, Fraction]:
        """Choose how many frames to skip and the time between them."""
        starts = self.listing.starts
        if not (self.timing.even and self.listing.seekable and place >= _WORTH_SEEKING):
            return 0, Fraction(0)
        return place, Fraction(starts[place - 1] + starts[place], 2) * self.listing.tick

    def _filters(self, start: int, every: int, size: tuple[int, int]) -> str:
        by_time = "" if self.timing.even else f"setpts=PTS-STARTPTS,fps={self.timing.fps},"
        picked = rf"select=gte(n\,{start})*not(mod(n-{start}\,{every})),"
        return _deinterlace_filter(self.listing) + by_time + picked + to_srgb_filters(self.listing.colors, size)


def _deinterlace_filter(listing: VideoListing) -> str:
    """Build the filters that deinterlace; empty for progressive videos."""
    return "bwdif=mode=send_frame:deint=interlaced," if listing.is_interlaced else ""


def _refusal(code: str, got: str = "") -> Fault:
    """Build the fault of a video that cannot be read."""
    match code:
        case "clip.too_large":
            return too_many_pixels(code, got, MAX_PIXELS)
        case "clip.sound_only":
            return Fault(code=code, rule="have pictures", got="a file with sound only", fix=CHOOSE_ANOTHER)
        case "clip.unknown_codec" | "clip.unreadable_codec":
            return Fault(
                code=code,
                rule="be a clip in a codec that can be read",
                got=got or "one in an unknown codec",
                fix="Convert it to H.264 in MP4",
                seen="one in {got}, which can't be read from such a file" if got else "{got}",
            )
        case _:
            return Fault(
                code="clip.unplayable",
                rule="be a playable clip",
                got="one that is damaged, empty or cut off",
                fix=CHOOSE_ANOTHER,
            )
