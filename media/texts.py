"""Read the texts of any file that may hold settings."""

import re
from collections.abc import Iterator
from pathlib import Path

from media.ffmpeg import FFmpegError
from media.formats import DamagedClipError, damaged_clip
from media.gif_comment import iter_gif_comments
from media.input_files import CHOOSE_ANOTHER, BadInputError, demuxer_of
from media.letters import decode_text
from media.picture_text import iter_picture_texts
from media.png import read_png_recipe
from media.tagged_video import read_video_tags
from media.webp_file import iter_webp_texts
from pipelines.plan.errors import UserError
from pipelines.plan.faults import Fault

MAX_TEXT_BYTES = 4 << 20
"""Longest text file that is read."""

NOT_UNICODE = "The text is in no character set of Unicode: check the letters beyond A to Z."

_STARTS = {
    rb"RIFF....WEBP": "webp",
    rb"\x89PNG|\xff\xd8\xff|II\*\0|MM\0\*|BM....\0\0\0\0": "picture",
    rb"GIF8[79]a": "gif",
    rb"....ftyp|\x1a\x45\xdf\xa3": "video",
    rb"PK\x03\x04": "zip",
}
_SNIFFED_BYTES = 64
_OF_VIDEOS = ("comment", "parameters", "prompt", "workflow", "description", "synopsis", "title")


def iter_texts(path: Path) -> Iterator[tuple[str, str]]:
    """Yield a file's texts, those of generators first, with warnings.

    Args:
        path: The file, which may come from anybody and have any name.

    Raises:
        UserError: It is damaged, too large, or of no kind that is read.
    """
    with path.open("rb") as file:
        start = file.read(_SNIFFED_BYTES)
    kind = next((kind for pattern, kind in _STARTS.items() if re.match(pattern, start, re.DOTALL)), "")
    kind = kind or ("video" if demuxer_of(path) else "text")
    try:
        if kind == "text":
            yield _text_file(path)
        else:
            yield from ((text, "") for text in texts_inside(path, kind))
    except (FFmpegError, DamagedClipError) as err:
        raise UserError(damaged_clip(path)) from err
    except BadInputError as err:
        raise UserError(err.fault.of("file")) from err


def texts_inside(path: Path, kind: str) -> Iterator[str]:
    """Yield the texts of a picture, clip or zip, generators' first.

    Raises:
        BadInputError, DamagedClipError, FFmpegError: It is damaged.
    """
    match kind:
        case "webp":
            yield from iter_webp_texts(path)
        case "picture":
            yield from iter_picture_texts(path)
        case "gif":
            yield from iter_gif_comments(path)
        case "zip":
            recipe = read_png_recipe(path)
            yield from () if recipe is None else (recipe,)
        case _:
            tags = read_video_tags(path)
            yield from (tags[name] for name in _OF_VIDEOS if tags.get(name))


def _text_file(path: Path) -> tuple[str, str]:
    with path.open("rb") as file:
        data = file.read(MAX_TEXT_BYTES + 1)
    text, is_certain = decode_text(data[:MAX_TEXT_BYTES])
    if text is None:
        raise UserError(
            Fault(
                code="settings_file.of_no_kind",
                field="file",
                rule="be an MP4, a WebM, a GIF, a WebP, a PNG, a JPEG, a zip of PNG frames, a recipe or an infotext",
                got=path.name,
                fix=CHOOSE_ANOTHER,
                seen="{got:s}",
            )
        )
    if len(data) > MAX_TEXT_BYTES:
        raise UserError(
            Fault(
                code="settings_file.too_long",
                field="file",
                rule="have at most {limit} MiB of text",
                got="more",
                fix=CHOOSE_ANOTHER,
                limit=MAX_TEXT_BYTES >> 20,
            )
        )
    return text, "" if is_certain else NOT_UNICODE
