"""Convert pydantic's errors about a request to faults."""

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from pipelines.plan.errors import UserError
from pipelines.plan.faults import Fault
from pipelines.plan.rule_error import RuleError
from pipelines.plan.shown_values import shown

_FIELDS_SHOWN = 8
# Words of pydantic's that only who writes Python knows.
_PLAIN = {r"a valid (tuple|list)\b": "a list", r",? (unable to (parse|interpret)|after validation) ?.*": ""}
_OF_TEXT = {"string_type", "string_unicode"}  # kinds of faults that no shorter text would mend
_LIMITS = ("ge", "gt", "le", "lt", "max_length", "min_length", "expected")
_CHANGE = "Change {field:label}"


def fault_of(err: ValidationError, model: type[BaseModel]) -> Fault:
    """Return the first broken rule.

    Args:
        model: What was to be made; every field of it tells its remedy.
    """
    first = err.errors(include_url=False)[0]
    if first["type"] == "value_error" and not first["loc"]:
        return _raised_fault(first)
    name, *inner = first["loc"]
    fields = model.model_fields
    if inner and isinstance(inner[0], int):
        unit = get_args(fields[str(name)].annotation)[0]
        if isinstance(unit, type) and issubclass(unit, BaseModel):
            return _of_unit(first, inner[1:], unit).of(str(name), inner[0] + 1)
    return _field_fault(first, str(name), fields)


def _raised_fault(first: ErrorDetails) -> Fault:
    """Return the fault that a check of several fields raised."""
    error = first["ctx"]["error"]
    assert isinstance(error, UserError)
    assert error.fault
    return error.fault


def _field_fault(first: ErrorDetails, name: str, fields: Mapping[str, FieldInfo]) -> Fault:
    got = shown(first["input"])
    if first["type"] == "extra_forbidden":
        alike = [field for field in fields if name in field] or get_close_matches(name, fields) or list(fields)
        listed = ", ".join(alike[:_FIELDS_SHOWN])
        fix, values = "Known fields: {known}, …", {"known": listed}
        # The sentence ends without a full stop: the list goes on.
        return Fault("field.unknown", name, "be a field of the request", f"{name}={got}", fix, values=values, end="")
    extra = fields[name].json_schema_extra
    assert isinstance(extra, dict)
    fix = "Write it as text" if first["type"] in _OF_TEXT else str(extra["fix"]) or _CHANGE
    context = first.get("ctx", {})
    if isinstance(error := context.get("error"), RuleError):
        return Fault(error.code, name, error.rule, got, fix, values=error.values)
    limit = next((context[key] for key in _LIMITS if key in context), None)
    if first["type"] == "enum":
        limit = re.findall(r"'([^']*)'", str(limit))
    rule = re.sub(
        r"^(Input|String|List|Tuple|Value|Dictionary) should (be |have )?",
        lambda match: "be " if match[2] != "have " else "have ",
        first["msg"],
    )
    for words, plain in _PLAIN.items():
        rule = re.sub(words, plain, rule)
    return Fault(f"value.{first['type']}", name, "{rule}", got, fix, limit=limit, values={"rule": rule})


def _of_unit(first: ErrorDetails, inner: Sequence[int | str], unit: type[BaseModel]) -> Fault:
    fields = unit.model_fields
    if first["type"] == "value_error" and not inner:
        return _raised_fault(first)
    if not inner or inner[0] not in fields:
        got = shown(inner[0] if inner else first["input"])
        values = {"known": ", ".join(fields)}
        return Fault("unit.unknown_field", "", "have known fields", got, "They are {known}", values=values)
    return _field_fault(first, str(inner[0]), fields)
