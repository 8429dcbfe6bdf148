"""Parse and store images, clips and units named on the command line."""

import re
import shlex
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from media.named_faults import about
from pipelines.plan.errors import InvalidRequestError, UserError
from pipelines.plan.faults import Fault
from pipelines.plan.request import FILE_FIELDS
from studio.fields import FieldValues
from studio.stored_inputs import keep_local, keep_local_source

_UNITS = {"controls": "control", "image_prompts": "image_prompt"}
"""Fields that hold several units, and what one of them is called."""
_LISTS = ("key_frames", "falloff")
_SHA256 = re.compile("[0-9a-f]{64}")
_MOST_OF_PATH, _MOST_OF_UNIT = 300, 80  # letters shown


def keep_inputs(options: Mapping[str, object]) -> FieldValues:
    """Replace files by hashes, and unit texts by units.

    Args:
        options: Fields of a request. Files are paths, or hashes already; units are texts as on the command line, or
            mappings as in recipes, with paths for their files.

    Raises:
        UserError: A file is not there or can't be used, or a unit is not written as it must be.
    """
    fields = dict(options)
    source = fields.get("source_video")
    if source and isinstance(source, str) and not _SHA256.fullmatch(source):  # may bring its masks; one given wins
        fields["source_video"], masks = _store_source(source)
        fields["mask"] = fields.get("mask") or masks
    for name in FILE_FIELDS:
        if fields.get(name):
            fields[name] = _store_file(fields[name], name)
    for field, label in _UNITS.items():
        units = fields.get(field)
        if isinstance(units, Sequence) and not isinstance(units, str):
            fields[field] = [_unit(unit, f"{label} {number}", field) for number, unit in enumerate(units, start=1)]
    return fields


def _store_file(value: object, field: str) -> str:
    """Store a file and return its hash."""
    if not isinstance(value, str):
        raise InvalidRequestError(
            about(Fault(code="path.no_text", rule="be a path as text", got=value, fix="Put it into quotes"), field)
        )
    if _SHA256.fullmatch(value):
        return value
    path = _existing(value, field)
    return _store_once(path, _changed_ns(path), field)


def _store_source(value: str) -> tuple[str, str]:
    """Store a source clip; return its hash and its masks'."""
    path = _existing(value, "source_video")
    return _store_source_once(path, _changed_ns(path))


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
    """Return the newest modification time of a file or folder tree."""
    return max(entry.lstat().st_mtime_ns for entry in (path, *(path.rglob("*") if path.is_dir() else ())))


@cache
def _store_once(path: Path, _changed_ns: int, field: str) -> str:
    """Store once, however many lines of a batch name it."""
    return keep_local(path, field=field)


@cache
def _store_source_once(path: Path, _changed_ns: int) -> tuple[str, str]:
    """Store a source and its masks once, too."""
    return keep_local_source(path, field="source_video")


def _unit(value: object, label: str, field: str) -> object:
    """Parse a unit, hash its files; other values pass unchanged."""
    if isinstance(value, str):
        value = _control(value, label) if field == "controls" else _image_prompt(value, label)
    if not isinstance(value, Mapping):
        return value
    unit = dict(value)
    if unit.get("clip"):
        unit["clip"] = _store_file(unit["clip"], f"{label} clip")
    pictures = unit.get("pictures")
    if isinstance(pictures, Sequence) and all(isinstance(pair, Sequence) and len(pair) == 2 for pair in pictures):
        unit["pictures"] = [(frame, _store_file(file, f"{label} frame {frame}")) for frame, file in pictures]
    return unit


def _control(text: str, label: str) -> FieldValues:
    values: FieldValues = {}
    options = {}
    for name, value in _pairs(text, label):
        if name.startswith("options."):
            options[name.removeprefix("options.")] = value
        elif name in _LISTS:
            values[name] = [part.strip() for part in value.split(",") if part.strip()]
        else:
            values[name] = value
    return values | ({"options": options} if options else {})


def _image_prompt(text: str, label: str) -> FieldValues:
    pairs = _pairs(text, label)
    pictures = [(name, value) for name, value in pairs if name.isdigit()]
    return {name: value for name, value in pairs if not name.isdigit()} | {"pictures": pictures}


def _pairs(text: str, label: str) -> Sequence[tuple[str, str]]:
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
                label,
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
                label,
            )
        )
    return [(name, value) for name, value in pairs]
