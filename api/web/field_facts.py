"""Describe a field for help: type, default, range, meaning."""

from dataclasses import dataclass
from types import NoneType
from typing import Literal, get_args, get_origin

from pydantic_core import PydanticUndefined

from pipelines.plan.request import FILE_FIELDS, GenerationRequest, field_bounds
from pipelines.plan.schedules import Keys, schedule_text
from studio.fields import MODEL_FIELDS, json_type
from studio.limits import allowed_bounds

_NAMES: dict[object, str] = {str: "text", int: "whole number", float: "number", bool: "true or false", dict: "object"}


@dataclass(frozen=True)
class FieldFacts:
    """Facts of a request field or an endpoint's extra parameter.

    Args:
        kind: Its type in JSON, in words.
        default: In words.
        allowed: Its bounds or choices; empty where there are none.
        meaning: What it does.
    """

    kind: str
    default: str
    allowed: str
    meaning: str


def field_facts(name: str, *, with_limits: bool = False) -> FieldFacts:
    """Collect the facts of a request field.

    Args:
        name: Of the field.
        with_limits: With this server's limits, where the operator has set some.

    Example:
        >>> facts = field_facts("num_inference_steps")
        >>> facts.kind, facts.default, facts.allowed
        ('whole number', 'model', '1 to 150')
    """
    field = GenerationRequest.model_fields[name]
    low, high = allowed_bounds(name) if with_limits else field_bounds(name)
    allowed = f"{low:,} to {high:,}" if low is not None and high is not None else choices_of(json_type(name))
    kind = "file" if name in FILE_FIELDS else type_in_words(json_type(name))
    return FieldFacts(kind, _default(name), allowed, str(field.description))


def type_in_words(kind: object) -> str:
    """Name a type in words.

    Example:
        >>> type_in_words(list[int] | None), type_in_words(float | str)
        ('list of whole numbers', 'number or text')
    """
    if get_origin(kind) is Literal:
        return "text"
    if get_origin(kind) is list:
        item = type_in_words(get_args(kind)[0])
        return f"list of {item}" + ("" if item == "text" else "s")
    parts = [part for part in get_args(kind) if part is not NoneType] if get_origin(kind) is not dict else []
    if parts:
        return " or ".join(type_in_words(part) for part in parts)
    return _NAMES.get(get_origin(kind) or kind, "file")


def choices_of(kind: object) -> str:
    """List a type's choices, comma-separated; empty if it has none."""
    if get_origin(kind) is Literal:
        return ", ".join(get_args(kind))
    return next(filter(None, map(choices_of, get_args(kind))), "")


def _default(name: str) -> str:
    field = GenerationRequest.model_fields[name]
    default = field.default
    if name in MODEL_FIELDS:
        return "model"
    if field.annotation == Keys:
        return str(schedule_text(default))
    if name == "base_model":
        return "demo; SD 1.5 with a GPU"
    if default is PydanticUndefined:
        return "-1"
    if isinstance(default, tuple):
        return ", ".join(map(str, default)) or "none"
    return str(default) or "none"
