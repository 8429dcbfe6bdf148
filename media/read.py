"""Read clips back: their recipe, properties and frames.

The files may come from anybody.
"""

import re
from collections.abc import Generator, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from media.ffmpeg import FFmpegError, Frames
from media.formats import DamagedClipError, damaged_clip
from media.input_facts import InputFacts
from media.input_files import CHOOSE_ANOTHER, BadInputError
from media.inputs import Reader, open_reader
from media.pictures import opened_picture
from media.text import read_text_recipe
from media.texts import texts_inside
from pipelines.plan.choices import OutputFormat
from pipelines.plan.errors import UserError
from pipelines.plan.faults import Fault
from pipelines.plan.request_fields.clip import MAX_NUM_FRAMES

MAX_READ_BYTES = 4 << 30
"""Most that `read_frames` puts in memory."""

_KINDS = {
    OutputFormat.GIF: "gif",
    OutputFormat.WEBP: "webp",
    OutputFormat.APNG: "picture",
    OutputFormat.PNG: "zip",
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


def read_recipe(path: Path) -> str:
    """Read the recipe that one of our clips carries.

    Raises:
        UserError: The file is of no kind that this app writes, is damaged, or carries no recipe.
    """
    kind = _sniff_format(path)
    try:
        if kind is OutputFormat.TXT:
            return read_text_recipe(path)
        recipe = next(texts_inside(path, _KINDS.get(kind, "video")), "")
    except (FFmpegError, DamagedClipError, BadInputError) as err:
        raise UserError(damaged_clip(path)) from err
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


def probe(path: Path, *, max_frames: int = MAX_NUM_FRAMES) -> InputFacts:
    """Read the properties of a clip, counting its frames.

    Raises:
        UserError: The file is no clip of a known kind, is damaged, or has more than `max_frames` frames.
    """
    return _opened(path, max_frames)[1]


def iter_frames(path: Path, *, max_frames: int = MAX_NUM_FRAMES) -> Generator[Frames, None, None]:
    """Yield the frames of a clip, uint8 [H, W, 3], lazily.

    Raises:
        UserError: As `probe`, or a frame cannot be decoded.
    """
    yield from _iter_whole(path, *_opened(path, max_frames))


def read_frames(path: Path, *, max_frames: int = 1_000) -> Frames:
    """Read all frames of a clip, uint8 [F, H, W, 3].

    `iter_frames` needs less memory.

    Raises:
        UserError: As `iter_frames`.
    """
    reader, info = _opened(path, max_frames)
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
    for index, frame in enumerate(_iter_whole(path, reader, info)):
        frames[index] = frame
    return frames


def _opened(path: Path, max_frames: int) -> tuple[Reader, InputFacts]:
    if _sniff_format(path) is OutputFormat.TXT:
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
    try:
        reader, facts = open_reader(path)
        if facts.fps is None:  # a single picture, unless it is an animation of one frame
            with opened_picture(path) as picture:
                picture.load()
                lasts_ms = Fraction(picture.info["duration"])
                facts = replace(facts, fps=1000 / lasts_ms if lasts_ms else None)
    except BadInputError as err:
        raise UserError(damaged_clip(path)) from err
    if facts.fps is None:
        raise UserError(damaged_clip(path))
    if facts.num_frames > max_frames:
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
    return reader, facts


def _iter_whole(path: Path, reader: Reader, facts: InputFacts) -> Iterator[Frames]:
    count = 0
    try:
        for frame in reader.iter_frames(range(facts.num_frames), (facts.width, facts.height)):
            yield frame
            count += 1
    except BadInputError as err:
        raise UserError(damaged_clip(path)) from err
    if count != facts.num_frames or reader.complaint:
        raise UserError(
            Fault(
                code="clip.not_whole",
                field="file",
                rule="be whole",
                got=count,
                fix=CHOOSE_ANOTHER,
                limit=facts.num_frames,
                values={"name": path.name},
                seen="{got} of {limit} frames of {name:s}",
            )
        )


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
