"""Folders of pictures that their owner names, read as a zip of them would be; never for visitors' own words."""

import os
from collections.abc import Iterable
from pathlib import Path

from media.input_files import BadInputError, check_plain_file, natural_order
from media.picture_zip import is_picture_name
from media.pictures import MAX_PICTURE_BYTES
from pipelines.plan.faults import Fault

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
        raise BadInputError(
            Fault(
                code="folder.unreadable",
                rule="be a folder that can be read",
                got=str(folder),
                fix="Check it",
                values={"folder": str(folder), "why": str(err.strerror)},
                seen="{folder:s} ({why:s})",
            )
        ) from err
    if not found:
        raise BadInputError(_without_pictures(others))
    return sorted(found, key=natural_order)


def read_picture(path: Path) -> bytes:
    """One picture's file.

    Raises:
        BadInputError: It is no plain file or too large.
    """
    if check_plain_file(path) > MAX_PICTURE_BYTES:
        raise BadInputError(
            Fault(
                code="folder.picture_too_large",
                rule="have pictures of at most {limit} MiB",
                got="more",
                fix="Make them smaller",
                limit=MAX_PICTURE_BYTES >> 20,
            )
        )
    return path.read_bytes()


def _raise(err: OSError) -> None:
    raise err


def _without_pictures(others: Iterable[str]) -> Fault:
    """What is wrong with a folder that holds only these."""
    rule, fix = "be a folder with pictures", "Put PNGs or JPEGs into it"
    names = sorted((name for name in others if not name.startswith(".")), key=natural_order)
    if not names:
        return Fault(code="folder.empty", rule=rule, got="an empty one", fix=fix)
    got, more = ", ".join(names[:_SHOWN]), len(names) - _SHOWN
    if more <= 0:
        return Fault(
            code="folder.no_pictures",
            rule=rule,
            got=got,
            fix=fix,
            values={"names": got},
            seen="one with {names:s}",
        )
    return Fault(
        code="folder.no_pictures_among_many",
        rule=rule,
        got=got,
        fix=fix,
        values={"names": got, "more": more},
        seen="one with {names:s} and {more:,} more",
    )
