"""Pictures, clips, control units and image prompts on the command line."""

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from media.named_faults import about
from pipelines.plan.errors import InvalidRequestError, UserError
from pipelines.plan.faults import Fault
from pipelines.plan.request import FILE_FIELDS
from studio.stored_inputs import keep_own, keep_own_source

_UNITS = {"controls": "control", "image_prompts": "image_prompt"}
"""Fields that hold several units, and what one of them is called."""
_LISTS = ("key_frames", "falloff")
_SHA256 = re.compile("[0-9a-f]{64}")
_MOST_OF_PATH, _MOST_OF_UNIT = 300, 80  # letters shown


def keep_inputs(options: Mapping[str, Any]) -> dict[str, Any]:
    """Put hashes in the place of files, and units in the place of their texts.

    Args:
        options: Fields of a request. Files are paths, or hashes already; units are texts as on the command line, or
            mappings as in recipes, with paths for their files.

    Raises:
        UserError: A file is not there or can't be used, or a unit is not written as it must be.
    """
    kept = dict(options)
    source = kept.get("source_video")
    if source and isinstance(source, str) and not _SHA256.fullmatch(source):  # may bring its masks; one given wins
        kept["source_video"], masks = _kept_source(source)
        kept["mask"] = kept.get("mask") or masks
    for name in FILE_FIELDS:
        if kept.get(name):
            kept[name] = _kept(kept[name], name)
    for field, called in _UNITS.items():
        units = kept.get(field)
        if isinstance(units, Sequence) and not isinstance(units, str):
            kept[field] = [_unit(one, f"{called} {number}", field) for number, one in enumerate(units, start=1)]
    return kept


def _kept(value: object, field: str) -> str:
    """The hash of a file."""
    if not isinstance(value, str):
        raise InvalidRequestError(
            about(Fault(code="path.no_text", rule="be a path as text", got=value, fix="Put it into quotes"), field)
        )
    if _SHA256.fullmatch(value):
        return value
    path = _existing(value, field)
    return _kept_once(keep_own, path, _changed_ns(path), field)


def _kept_source(value: str) -> tuple[str, str]:
    """The hashes of a source clip and of the masks it brings."""
    path = _existing(value, "source_video")
    return _kept_once(keep_own_source, path, _changed_ns(path), "source_video")


def _existing(value: str, field: str) -> Path:
    try:
        path = Path(value).absolute()
        if path.exists():
            return path
    except (OSError, ValueError):  # a name that is too long, or with a null byte
        pass
    raise UserError(
        about(
            Fault(
                code="path.not_there",
                rule="be a file or folder",
                got=value[:_MOST_OF_PATH],
                fix="Check the path",
                seen="{got:s}",
            ),
            field,
        )
    )


def _changed_ns(path: Path) -> int:
    """When a file, or anything in a folder, was changed."""
    return max(one.lstat().st_mtime_ns for one in (path, *(path.rglob("*") if path.is_dir() else ())))


@cache
def _kept_once(keep: Callable[..., Any], path: Path, _changed_ns: int, field: str) -> Any:
    """Read once, however many lines of a batch name it."""
    return keep(path, field=field)


def _unit(value: object, called: str, field: str) -> object:
    """A unit with hashes in the place of its files; what is none is left to the request."""
    if isinstance(value, str):
        value = _control(value, called) if field == "controls" else _image_prompt(value, called)
    if not isinstance(value, Mapping):
        return value
    unit = dict(value)
    if unit.get("clip"):
        unit["clip"] = _kept(unit["clip"], f"{called} clip")
    pictures = unit.get("pictures")
    if isinstance(pictures, Sequence) and all(isinstance(one, Sequence) and len(one) == 2 for one in pictures):
        unit["pictures"] = [(frame, _kept(file, f"{called} frame {frame}")) for frame, file in pictures]
    return unit


def _control(text: str, called: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    options = {}
    for name, value in _pairs(text, called):
        if name.startswith("options."):
            options[name.removeprefix("options.")] = value
        elif name in _LISTS:
            values[name] = [part.strip() for part in value.split(",") if part.strip()]
        else:
            values[name] = value
    return values | ({"options": options} if options else {})


def _image_prompt(text: str, called: str) -> dict[str, Any]:
    pairs = _pairs(text, called)
    pictures = [(name, value) for name, value in pairs if name.isdigit()]
    return {name: value for name, value in pairs if not name.isdigit()} | {"pictures": pictures}


def _pairs(text: str, called: str) -> Sequence[tuple[str, str]]:
    try:
        words = shlex.split(text)
    except ValueError as err:
        raise InvalidRequestError(
            about(
                Fault(
                    code="unit.open_quotes",
                    rule="close its quotes",
                    got=text[:_MOST_OF_UNIT],
                    fix="Add the missing one",
                    seen="{got:s}",
                ),
                called,
            )
        ) from err
    pairs = [tuple(word.split("=", 1)) for word in words]
    if not words or any(len(pair) != 2 for pair in pairs):
        raise InvalidRequestError(
            about(
                Fault(
                    code="unit.no_pairs",
                    rule="be name=value, name=value with spaces between",
                    got=text[:_MOST_OF_UNIT],
                    fix="Quote values with spaces",
                    seen="{got:s}",
                ),
                called,
            )
        )
    return [(name, value) for name, value in pairs]
