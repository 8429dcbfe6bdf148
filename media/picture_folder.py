"""Folders of pictures that their owner names, read as a zip of them would be; never for visitors' own words."""

import os
from collections.abc import Iterable
from pathlib import Path

from media.input_files import BadInputError, check_plain_file, natural_order
from media.picture_zip import is_picture_name
from media.pictures import MAX_PICTURE_BYTES

_SHOWN = 3


def pictures_in(folder: Path) -> list[str]:
    """Find the pictures of a folder and of the folders inside, in the order of their names as people count.

    Links are left out, so that nothing outside is read; so are hidden files and what is no picture.

    Returns:
        Their names below the folder, with slashes; at least one.

    Raises:
        BadInputError: It can't be read, or has no picture.
    """
    found: list[str] = []
    others: list[str] = []
    try:
        for path, _, names in os.walk(folder, onerror=_raise):
            for name in names:
                whole = Path(path, name)
                below = whole.relative_to(folder).as_posix()
                (found if is_picture_name(below) and not whole.is_symlink() else others).append(below)
    except OSError as err:
        raise BadInputError(f"must be a folder that can be read, got {folder} ({err.strerror}). Check it.") from err
    if not found:
        raise BadInputError(f"must be a folder with pictures, got {_in_words(others)}. Put PNGs or JPEGs into it.")
    return sorted(found, key=natural_order)


def read_picture(path: Path) -> bytes:
    """One picture's file.

    Raises:
        BadInputError: It is no plain file or too large.
    """
    if check_plain_file(path) > MAX_PICTURE_BYTES:
        raise BadInputError(
            f"must have pictures of at most {MAX_PICTURE_BYTES >> 20} MiB, got more. Make them smaller."
        )
    return path.read_bytes()


def _raise(err: OSError) -> None:
    raise err


def _in_words(others: Iterable[str]) -> str:
    """What a folder without pictures holds."""
    names = sorted((name for name in others if not name.startswith(".")), key=natural_order)
    if not names:
        return "an empty one"
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return f"one with {', '.join(names[:_SHOWN])}{more}"
