"""Tables of all texts of the page, by language.

They stand beside this file; English ones also in other rooms.

Label and help of a field stand in the request, a group's heading and a preset's name with what they name; other
languages have them in their tables. A language is there when its file is.
"""

import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from string import Formatter

from pydantic import BaseModel

from controlnet.preprocessors import PREPROCESSORS
from pipelines.plan import catalog
from pipelines.plan.gpu import TEXTS as GPU_TEXTS
from pipelines.plan.presets import PRESETS
from pipelines.plan.prompt.dialect import MEANINGS
from pipelines.plan.request import GenerationRequest
from pipelines.plan.request_fields.units import ControlUnit, ImagePrompt
from pipelines.plan.settings import settings
from studio.field_groups import GROUPS
from studio.grid import MAX_CELLS
from studio.limits import allowed_bounds

ENGLISH = "en"
RECORDS: Mapping[type[BaseModel], str] = {GenerationRequest: "field", ControlUnit: "unit", ImagePrompt: "image_prompt"}
"""The first part of the keys of a record's fields."""

_FOLDER = Path(__file__).parent
_COMPOSED = ("told.", "numbers.")  # what the browser never looks up
_SHARED_OPTIONS = ("resolution", "safe")  # they mean the same at every preprocessor that has them
_MORE = "more."  # what the page adds to a field's help


@cache
def languages() -> tuple[str, ...]:
    """List the codes of the languages."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.toml")))


@cache
def table(language: str) -> Mapping[str, str]:
    """Read the texts of a language by key, with open placeholders."""
    texts = dict(_flat(tomllib.loads((_FOLDER / f"{language}.toml").read_text(encoding="utf-8"))))
    return dict(_texts_of_other_rooms()) | texts if language == ENGLISH else texts


@cache
def by_code(language: str, part: str) -> Mapping[str, str]:
    """Read a language's texts of other rooms, none for English.

    Args:
        part: `faults` by the code of their rule, `advice` by the English template, or `notes` by their code.
    """
    texts: dict[str, str] = {}
    if language != ENGLISH:
        for path in sorted((_FOLDER / "by_code").glob(f"*.{language}.toml")):
            texts |= tomllib.loads(path.read_text(encoding="utf-8")).get(part, {})
    return texts


def translations() -> dict[str, dict[str, str]]:
    """Build the texts for browsers, with this server's limits filled in."""
    return {language: _for_browsers(language) for language in languages()}


def filled(language: str, text: str, values: Mapping[str, object]) -> str:
    """Fill a text with its values, formatting numbers by language.

    Example:
        >>> filled("en", "{gb:.1f} GB, {frames:,} frames", {"gb": 1.25, "frames": 2000})
        '1.2 GB, 2,000 frames'
        >>> filled("de", "{gb:.1f} GB, {frames:,} Bilder", {"gb": 1.25, "frames": 2000})
        '1,2 GB, 2.000 Bilder'
    """
    return _Filler(language).vformat(text, (), values)


def written_number(language: str, english: str) -> str:
    """Convert an English number to the language's notation."""
    texts = table(language)
    signs = {ord("."): texts["numbers.decimal"], ord(","): texts["numbers.thousands"]}
    return english.translate(signs)


def heading_key(heading: str) -> str:
    """Build the key of a heading of `GROUPS`.

    Example:
        >>> heading_key("Long clips")
        'group.long_clips'
    """
    return f"group.{heading.lower().replace(' ', '_')}"


def option_key(preprocessor: str, name: str) -> str:
    """Build the first part of the keys of a preprocessor's option.

    Example:
        >>> option_key("canny", "low"), option_key("openpose", "resolution")
        ('option.canny_low', 'option.resolution')
    """
    return f"option.{name}" if name in _SHARED_OPTIONS else f"option.{preprocessor}_{name}"


class _Filler(Formatter):
    def __init__(self, language: str) -> None:
        self._language = language

    def format_field(self, value: object, format_spec: str) -> str:
        text = str(super().format_field(value, format_spec))
        return written_number(self._language, text) if isinstance(value, (int, float)) else text


def _for_browsers(language: str) -> dict[str, str]:
    frames_low, frames_high = allowed_bounds("num_frames")
    limits = {
        "frames_low": frames_low,
        "frames_high": frames_high,
        "most_clips": settings().max_clips,
        "most_cells": MAX_CELLS,
    }
    texts = {
        key: filled(language, text, limits) for key, text in table(language).items() if not key.startswith(_COMPOSED)
    }
    for key in [key for key in texts if key.startswith(_MORE)]:
        texts[f"{key.removeprefix(_MORE)}.help"] += f" {texts.pop(key)}"
    return texts


def _texts_of_other_rooms() -> Iterator[tuple[str, str]]:
    for record, room in RECORDS.items():
        for name, field in record.model_fields.items():
            assert isinstance(field.json_schema_extra, dict)
            yield f"{room}.{name}.label", str(field.json_schema_extra["label"])
            yield f"{room}.{name}.help", str(field.description)
    yield from ((f"told.dialect.{dialect}", meaning) for dialect, meaning in MEANINGS.items())
    for heading in GROUPS:
        yield heading_key(heading), heading
    for note, text in GPU_TEXTS.items():
        yield f"told.gpu.{note}", text
    for preset in PRESETS:
        yield f"preset.{preset.id}", preset.label
    for kind, entries in (("base_model", catalog.base_models()), ("motion_module", catalog.motion_modules())):
        yield from ((f"told.{kind}.{entry.id}", entry.description) for entry in entries if entry.source != "local")
    for preprocessor in PREPROCESSORS.values():
        yield f"preprocessor.{preprocessor.id}", preprocessor.label
        for option in preprocessor.options:
            key = option_key(preprocessor.id, option.name)
            yield f"{key}.label", option.label
            yield f"{key}.help", option.help


def _flat(texts: Mapping[str, object], room: str = "") -> Iterator[tuple[str, str]]:
    for name, value in texts.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{room}{name}.")
        else:
            yield f"{room}{name}", str(value)
