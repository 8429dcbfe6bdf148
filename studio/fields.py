"""Describe request fields as JSON types and defaults, for published signatures."""

import dataclasses
import inspect
from collections.abc import Sequence
from enum import StrEnum
from fractions import Fraction
from operator import or_
from types import GenericAlias
from typing import Literal, get_args, get_origin

import pydantic

from pipelines.plan.catalog_entries import BaseModel, MotionModule
from pipelines.plan.motion_families import FAMILY_FIELDS
from pipelines.plan.request import INPUT_FIELDS, RANDOM_SEED, GenerationRequest
from pipelines.plan.schedules import Keys

FieldValues = dict[str, object]
"""Unchecked values of a request's fields by name; calls add their own names."""

FIELDS: tuple[str, ...] = tuple(name for name in GenerationRequest.model_fields if name not in INPUT_FIELDS)
"""Names of the fields that words alone need, in the request's order. Every face uses these names in this order."""

MODEL_FIELDS: tuple[str, ...] = tuple(
    name
    for name in FIELDS
    if name
    in {field.name for kind in (BaseModel, MotionModule) for field in dataclasses.fields(kind)} | {*FAMILY_FIELDS}
)
"""The fields for which a base model or a motion module brings its own default."""


def json_type(name: str) -> object:
    """Derive a field's JSON type, with choices as literals."""
    annotation = GenerationRequest.model_fields[name].annotation
    if annotation == Keys:
        return float | str
    if annotation == tuple[int, ...]:
        return list[int]
    if get_origin(annotation) is tuple and issubclass(get_args(annotation)[0], pydantic.BaseModel):
        return list[dict[str, object]]
    if get_origin(annotation) is tuple:
        return GenericAlias(list, (_literal(get_args(annotation)[0]),))
    if inspect.isclass(annotation) and issubclass(annotation, StrEnum):
        return _literal(annotation)
    return float | str if annotation is Fraction else annotation


def json_default(name: str) -> object:
    """Return a field's published default: -1 for seed, None for model-dependent."""
    if name == "seed":
        return RANDOM_SEED
    if name == "base_model" or name in MODEL_FIELDS:
        return None
    return plain_default(name)


def plain_default(name: str) -> object:
    """Return a field's default without a model's opinion, as in a recipe."""
    return GenerationRequest(seed=0).model_dump(mode="json")[name]


def signature(names: Sequence[str] = FIELDS) -> inspect.Signature:
    """Build a function signature of request fields, all with defaults."""
    parameters = []
    for name in names:
        default = json_default(name)
        kind = json_type(name) if default is not None else or_(json_type(name), None)
        parameters.append(
            inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=kind)
        )
    return inspect.Signature(parameters)


def _literal(choices: type[StrEnum]) -> object:
    return Literal[tuple(choice.value for choice in choices)]
