"""What a broken rule of a request is called, in the house's form: field, rule, value, remedy. No torch."""

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from pipelines.shown_values import shown

_FIELDS_SHOWN = 8
# Words of pydantic's that only who writes Python knows.
_PLAIN = {r"a valid (tuple|list)\b": "a list", r",? (unable to (parse|interpret)|after validation) ?.*": ""}
_OF_TEXT = {"string_type", "string_unicode"}  # kinds of faults that no shorter text would mend


def fault_in_words(err: ValidationError, model: type[BaseModel]) -> str:
    """The first broken rule.

    A part of a unit is told as `controls 1 weight must …`.

    Args:
        model: What was to be made; every field of it tells its remedy.
    """
    first = err.errors(include_url=False)[0]
    if first["type"] == "value_error" and not first["loc"]:
        return str(first["ctx"]["error"])
    name, *inner = first["loc"]
    fields = model.model_fields
    if inner and isinstance(inner[0], int):
        unit = get_args(fields[str(name)].annotation)[0]
        if isinstance(unit, type) and issubclass(unit, BaseModel):
            return f"{name} {inner[0] + 1}{_of_unit(first, inner[1:], unit)}"
    return _told(first, str(name), fields)


def _told(first: Mapping[str, Any], name: str, fields: Mapping[str, FieldInfo]) -> str:
    got = shown(first["input"])
    if first["type"] == "extra_forbidden":
        alike = [one for one in fields if name in one] or get_close_matches(name, fields) or list(fields)
        known = ", ".join(alike[:_FIELDS_SHOWN])
        return f"{name} must be a field of the request, got {name}={got}. Known fields: {known}, …"
    rule = re.sub(
        r"^(Input|String|List|Tuple|Value|Dictionary) should (be |have )?",
        lambda match: "be " if match[2] != "have " else "have ",
        first["msg"].removeprefix("Value error, "),
    )
    for words, plain in _PLAIN.items():
        rule = re.sub(words, plain, rule)
    extra = fields[name].json_schema_extra
    assert isinstance(extra, dict)
    fix = "Write it as text" if first["type"] in _OF_TEXT else extra["fix"]
    return f"{name} must {rule.removeprefix('must ')}, got {got}. {fix}."


def _of_unit(first: Mapping[str, Any], inner: Sequence[int | str], unit: type[BaseModel]) -> str:
    fields = unit.model_fields
    if first["type"] == "value_error" and not inner:
        return f" {first['ctx']['error']}"
    if not inner or inner[0] not in fields:
        got = shown(inner[0] if inner else first["input"])
        return f" must have known fields, got {got}. They are {', '.join(fields)}."
    return f" {_told(first, str(inner[0]), fields)}"
