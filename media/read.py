"""Read clips back: their recipe, what they are, their frames. The files may come from anybody."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from media.ffmpeg import MAX_PIXELS, FFmpegError, FrameReader, Frames
from media.gif_comment import read_gif_comment
from media.mp4 import read_mp4_recipe
from media.png import DamagedZipError, iter_png_frames, read_png_facts, read_png_recipe
from media.video import list_video
from pipelines.choices import OutputFormat
from pipelines.errors import UserError
from pipelines.request_fields.clip import MAX_NUM_FRAMES

MAX_READ_BYTES = 4 << 30
"""Most that `read_frames` puts in memory."""

_ANOTHER = "Choose another file"
_RECIPE_READERS = {
    OutputFormat.MP4: read_mp4_recipe,
    OutputFormat.GIF: read_gif_comment,
    OutputFormat.PNG: read_png_recipe,
}
_SNIFFED_BYTES = 12


@dataclass(frozen=True, slots=True)
class ClipInfo:
    """What a clip is.

    Args:
        width, height: Size as shown, pixels.
        fps: Frames per second. Exact for MP4 and PNG; for GIF, whose clock has 1/100 s, frames by duration.
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
    """The recipe that a clip of ours carries.

    Raises:
        UserError: The file is not an MP4, GIF or zip of PNGs, is damaged, or carries no recipe.
    """
    try:
        recipe = _RECIPE_READERS[_sniffed(path)](path)
    except (FFmpegError, DamagedZipError) as err:
        raise _damaged(path) from err
    if not recipe:
        raise UserError(f"file must carry a recipe, got {path.name}, which has none. Choose a clip that this app made.")
    return recipe


def probe(path: Path, *, max_frames: int = MAX_NUM_FRAMES) -> ClipInfo:
    """Say what a clip is, by counting its frames and decoding the first.

    Raises:
        UserError: The file is no clip of a known kind, is damaged, or has more than `max_frames` frames.
    """
    try:
        if _sniffed(path) is OutputFormat.PNG:
            width, height, fps, num_frames = read_png_facts(path)
            info = ClipInfo(width, height, fps, num_frames, "png", "rgb24")
        else:
            info = _probe_video(path, max_frames)
    except (FFmpegError, DamagedZipError) as err:
        raise _damaged(path) from err
    counts = (info.num_frames, info.width, info.height)
    if min(counts) < 1 or info.fps <= 0 or info.width * info.height > MAX_PIXELS:
        raise _damaged(path)
    if info.num_frames > max_frames:
        raise UserError(f"file must have at most {max_frames:,} frames, got more in {path.name}. Shorten the clip.")
    return info


def iter_frames(path: Path, *, max_frames: int = MAX_NUM_FRAMES) -> Generator[Frames, None, None]:
    """Yield the frames of a clip, uint8 [H, W, 3], holding one at a time.

    Raises:
        UserError: As `probe`, or a frame cannot be decoded.
    """
    yield from _whole(path, probe(path, max_frames=max_frames))


def read_frames(path: Path, *, max_frames: int = 1_000) -> Frames:
    """All frames of a clip at once, uint8 [F, H, W, 3]; `iter_frames` needs less memory.

    Raises:
        UserError: As `iter_frames`.
    """
    info = probe(path, max_frames=max_frames)
    num_bytes = info.num_frames * info.height * info.width * 3
    if num_bytes > MAX_READ_BYTES:
        raise UserError(
            f"file must unpack to at most {MAX_READ_BYTES / 2**30:g} GiB of pictures, "
            f"got {num_bytes / 2**30:.1f} GiB in {path.name}. Shorten the clip or make it smaller."
        )
    frames = np.empty((info.num_frames, info.height, info.width, 3), np.uint8)
    for index, frame in enumerate(_whole(path, info)):
        frames[index] = frame
    return frames


def _whole(path: Path, info: ClipInfo) -> Iterator[Frames]:
    count = 0
    try:
        for frame in _decoded(path, info):
            yield frame
            count += 1
    except (FFmpegError, DamagedZipError) as err:
        raise _damaged(path) from err
    if count != info.num_frames:
        raise UserError(f"file must be whole, got {count} of {info.num_frames} frames of {path.name}. {_ANOTHER}.")


def _decoded(path: Path, info: ClipInfo) -> Iterator[Frames]:
    if info.codec == "png":
        yield from iter_png_frames(path, width=info.width, height=info.height)
        return
    with FrameReader(path, width=info.width, height=info.height, max_frames=info.num_frames) as reader:
        yield from reader


def _probe_video(path: Path, max_frames: int) -> ClipInfo:
    listing = list_video(path, max_frames=max_frames + 1)
    duration_s = sum(listing.durations) * listing.tick
    if not duration_s:
        raise FFmpegError("ffmpeg finds no moving picture in the file")
    num_frames = len(listing.durations)
    return ClipInfo(listing.width, listing.height, num_frames / duration_s, num_frames, listing.codec, listing.pix_fmt)


def _sniffed(path: Path) -> OutputFormat:
    """The kind of a file by its first bytes; names say nothing about files from outside."""
    with path.open("rb") as file:
        start = file.read(_SNIFFED_BYTES)
    if start[4:8] == b"ftyp":
        return OutputFormat.MP4
    if start[:6] in (b"GIF87a", b"GIF89a"):
        return OutputFormat.GIF
    if start[:4] == b"PK\x03\x04":
        return OutputFormat.PNG
    raise UserError(f"file must be an MP4, a GIF or a zip of PNG frames, got {path.name}. {_ANOTHER}.")


def _damaged(path: Path) -> UserError:
    return UserError(f"file must be a whole, playable clip, got {path.name}, which is damaged or not one. {_ANOTHER}.")
