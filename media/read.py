"""Read clips back: their recipe, properties and frames.

The files may come from anybody.
"""

import re
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate
from pathlib import Path

import numpy as np

from media.apng import read_apng_facts, read_apng_recipe
from media.ffmpeg import MAX_PIXELS, FFmpegError, FrameReader, Frames
from media.formats import DamagedClipError, damaged_clip
from media.gif_comment import read_gif_comment
from media.input_files import CHOOSE_ANOTHER, BadInputError
from media.pictures import iter_animation
from media.png import iter_png_frames, read_png_facts, read_png_recipe
from media.tagged_video import read_video_recipe
from media.text import read_text_recipe
from media.timing import timing_of
from media.video import list_video
from media.video_colors import to_srgb_filters
from media.webp_file import read_webp_facts, read_webp_recipe
from pipelines.plan.choices import OutputFormat
from pipelines.plan.errors import UserError
from pipelines.plan.faults import Fault
from pipelines.plan.request_fields.clip import MAX_NUM_FRAMES

MAX_READ_BYTES = 4 << 30
"""Most that `read_frames` puts in memory."""

_RECIPE_READERS = {
    OutputFormat.MP4: read_video_recipe,
    OutputFormat.GIF: read_gif_comment,
    OutputFormat.WEBP: read_webp_recipe,
    OutputFormat.WEBM: read_video_recipe,
    OutputFormat.APNG: read_apng_recipe,
    OutputFormat.PNG: read_png_recipe,
    OutputFormat.TXT: read_text_recipe,
}
_STARTS = {
    rb"....ftyp": OutputFormat.MP4,
    rb"GIF8[79]a": OutputFormat.GIF,
    rb"RIFF....WEBP": OutputFormat.WEBP,
    rb"\x1a\x45\xdf\xa3": OutputFormat.WEBM,
    rb"\x89PNG\r\n\x1a\n": OutputFormat.APNG,
    rb"PK\x03\x04": OutputFormat.PNG,
    rb"(\xef\xbb\xbf)?\s*\{": OutputFormat.TXT,
}
_SNIFFED_BYTES = 64
_MS = Fraction(1, 1000)
_DAMAGE = (FFmpegError, DamagedClipError, BadInputError)


@dataclass(frozen=True, slots=True)
class ClipInfo:
    """Properties of a clip.

    Args:
        width, height: Size as shown, pixels.
        fps: Frames per second. Exact for MP4, APNG and PNG; for WebP and WebM, whose clocks have 1/1000 s, the simplest
            rate that fits; for GIF, whose clock has 1/100 s, frames by duration.
        num_frames: Frames in the file.
        codec, pix_fmt: As ffmpeg names them, such as `h264` and `yuv420p`.
    """

    width: int
    height: int
    fps: Fraction
    num_frames: int
    codec: str
    pix_fmt: str


def read_recipe(path: Path) -> str:
    """Read the recipe that one of our clips carries.

    Raises:
        UserError: The file is of no kind that this app writes, is damaged, or carries no recipe.
    """
    try:
        recipe = _RECIPE_READERS[_sniff_format(path)](path)
    except _DAMAGE as err:
        raise _damage_error(path) from err
    if not recipe:
        raise UserError(
            Fault(
                code="clip.no_recipe",
                field="file",
                rule="carry a recipe",
                got=path.name,
                fix="Choose a clip that this app made",
                seen="{got:s}, which has none",
            )
        )
    return recipe


def probe(path: Path, *, max_frames: int = MAX_NUM_FRAMES) -> ClipInfo:
    """Read the properties of a clip, counting its frames.

    Raises:
        UserError: The file is no clip of a known kind, is damaged, or has more than `max_frames` frames.
    """
    try:
        info = _probe_format(path, _sniff_format(path), max_frames)
    except _DAMAGE as err:
        raise _damage_error(path) from err
    counts = (info.num_frames, info.width, info.height)
    if min(counts) < 1 or info.fps <= 0 or info.width * info.height > MAX_PIXELS:
        raise _damage_error(path)
    if info.num_frames > max_frames:
        raise UserError(
            Fault(
                code="clip.too_long",
                field="file",
                rule="have at most {limit:,} frames",
                got=path.name,
                fix="Shorten the clip",
                limit=max_frames,
                seen="more in {got:s}",
            )
        )
    return info


def iter_frames(path: Path, *, max_frames: int = MAX_NUM_FRAMES) -> Generator[Frames, None, None]:
    """Yield the frames of a clip, uint8 [H, W, 3], lazily.

    Raises:
        UserError: As `probe`, or a frame cannot be decoded.
    """
    yield from _iter_whole(path, probe(path, max_frames=max_frames))


def read_frames(path: Path, *, max_frames: int = 1_000) -> Frames:
    """Read all frames of a clip, uint8 [F, H, W, 3].

    `iter_frames` needs less memory.

    Raises:
        UserError: As `iter_frames`.
    """
    info = probe(path, max_frames=max_frames)
    num_bytes = info.num_frames * info.height * info.width * 3
    if num_bytes > MAX_READ_BYTES:
        raise UserError(
            Fault(
                code="clip.unpacks_too_large",
                field="file",
                rule="unpack to at most {limit:g} GiB of pictures",
                got=num_bytes / 2**30,
                fix="Shorten the clip or make it smaller",
                limit=MAX_READ_BYTES / 2**30,
                values={"name": path.name},
                seen="{got:.1f} GiB in {name:s}",
            )
        )
    frames = np.empty((info.num_frames, info.height, info.width, 3), np.uint8)
    for index, frame in enumerate(_iter_whole(path, info)):
        frames[index] = frame
    return frames


def _iter_whole(path: Path, info: ClipInfo) -> Iterator[Frames]:
    count = 0
    try:
        for frame in _iter_decoded(path, info):
            yield frame
            count += 1
    except _DAMAGE as err:
        raise _damage_error(path) from err
    if count != info.num_frames:
        raise UserError(
            Fault(
                code="clip.not_whole",
                field="file",
                rule="be whole",
                got=count,
                fix=CHOOSE_ANOTHER,
                limit=info.num_frames,
                values={"name": path.name},
                seen="{got} of {limit} frames of {name:s}",
            )
        )


def _iter_decoded(path: Path, info: ClipInfo) -> Iterator[Frames]:
    if info.codec in ("apng", "webp"):
        yield from iter_animation(path, (info.width, info.height))
        return
    if info.codec == "png":
        yield from iter_png_frames(path, width=info.width, height=info.height)
        return
    listing = list_video(path, max_frames=1)
    size = info.width, info.height
    with FrameReader(
        path,
        width=info.width,
        height=info.height,
        max_frames=info.num_frames,
        filters=to_srgb_filters(listing.colors, size),
        decoder=listing.decoder,
    ) as reader:
        yield from reader


def _probe_format(path: Path, kind: OutputFormat, max_frames: int) -> ClipInfo:
    match kind:
        case OutputFormat.TXT:
            raise UserError(
                Fault(
                    code="clip.text",
                    field="file",
                    rule="have pictures",
                    got=path.name,
                    fix=CHOOSE_ANOTHER,
                    seen="{got:s}, which is a text",
                )
            )
        case OutputFormat.PNG:
            width, height, fps, num_frames = read_png_facts(path)
            return ClipInfo(width, height, fps, num_frames, "png", "rgb24")
        case OutputFormat.APNG:
            width, height, lasts = read_apng_facts(path, max_frames=max_frames + 1)
            return ClipInfo(width, height, _rate(len(lasts), sum(lasts)), len(lasts), "apng", "rgba")
        case OutputFormat.WEBP:
            width, height, lasts_ms = read_webp_facts(path, max_frames=max_frames + 1)
            *starts, end = accumulate(lasts_ms, initial=0)
            return ClipInfo(width, height, _simplest_rate(starts, end), len(starts), "webp", "rgba")
        case _:
            return _probe_video(path, kind, max_frames)


def _probe_video(path: Path, kind: OutputFormat, max_frames: int) -> ClipInfo:
    listing = list_video(path, max_frames=max_frames + 1)
    num_frames = len(listing.starts)
    fps = _rate(num_frames, listing.total_duration * listing.tick)
    if kind is OutputFormat.WEBM:
        fps = _simplest_rate(listing.starts, listing.starts[-1] + listing.last_duration, listing.rounded_fps)
    return ClipInfo(listing.width, listing.height, fps, num_frames, listing.codec, listing.pix_fmt)


def _rate(num_frames: int, duration_s: Fraction | int) -> Fraction:
    if duration_s <= 0:
        raise DamagedClipError("frames take no time")
    return Fraction(num_frames) / duration_s


def _simplest_rate(starts: Sequence[int], end: int, hint: Fraction | None = None) -> Fraction:
    """Find the rate of frames whose times are whole milliseconds."""
    timing = timing_of(starts, end, _MS, hint=hint)
    return timing.fps if timing.even else _rate(len(starts), (end - starts[0]) * _MS)


def _sniff_format(path: Path) -> OutputFormat:
    """Detect the format by the first bytes; names prove nothing."""
    with path.open("rb") as file:
        start = file.read(_SNIFFED_BYTES)
    for pattern, kind in _STARTS.items():
        if re.match(pattern, start, re.DOTALL):
            return kind
    raise UserError(
        Fault(
            code="clip.of_no_kind",
            field="file",
            rule="be an MP4, a WebM, a GIF, a WebP, a PNG, a zip of PNG frames or a recipe",
            got=path.name,
            fix=CHOOSE_ANOTHER,
            seen="{got:s}",
        )
    )


def _damage_error(path: Path) -> UserError:
    return UserError(damaged_clip(path))
