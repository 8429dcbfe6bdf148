"""Read folders of pictures as zips of them; never for visitors."""

import os
from collections.abc import Iterable
from pathlib import Path

from media.input_files import BadInputError, check_plain_file, natural_order
from media.picture_zip import is_picture_name
from media.pictures import MAX_PICTURE_BYTES
from pipelines.plan.faults import Fault

_SHOWN = 3


def pictures_in(folder: Path) -> list[str]:
    """List the pictures of a folder, recursively, in natural order.

    Links are left out, so that nothing outside is read; so are hidden files and what is no picture.

    Returns:
        Their names below the folder, with slashes; at least one.

    Raises:
        BadInputError: It can't be read, or has no picture.
    """
    pictures: list[str] = []
    other_files: list[str] = []
    try:
        for path, _, names in os.walk(folder, onerror=_raise):
            for name in names:
                whole = Path(path, name)
                below = whole.relative_to(folder).as_posix()
                (pictures if is_picture_name(below) and not whole.is_symlink() else other_files).append(below)
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
    if not pictures:
        raise BadInputError(_without_pictures(other_files))
    return sorted(pictures, key=natural_order)


def read_picture(path: Path) -> bytes:
    """Read one picture's file.

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


def _without_pictures(other_files: Iterable[str]) -> Fault:
    """Build the fault of a folder without pictures."""
    rule, fix = "be a folder with pictures", "Put PNGs or JPEGs into it"
    names = sorted((name for name in other_files if not name.startswith(".")), key=natural_order)
    if not names:
        return Fault(code="folder.empty", rule=rule, got="an empty one", fix=fix)
    got, remaining = ", ".join(names[:_SHOWN]), len(names) - _SHOWN
    if remaining <= 0:
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
        values={"names": got, "more": remaining},
        seen="one with {names:s} and {more:,} more",
    )
