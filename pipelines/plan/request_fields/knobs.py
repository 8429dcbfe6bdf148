"""Declare a request's field: validation, and how faces show it."""

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, ValidationInfo, field_validator
from pydantic.config import JsonDict

from pipelines.plan.rule_error import RuleError

Effect = Literal["cost", "windows", "falloff", "travel"]
"""What a field decides beside the clip: what it takes, its windows, how a picture holds on, how prompts travel."""


def knob(
    default: object,
    *,
    label: str,
    help: str,  # noqa: A002
    fix: str = "",
    step: float | None = None,
    affects: tuple[Effect, ...] = (),
    **rules: Any,
) -> Any:
    """Declare a field.

    Args:
        default: What it is where nothing is said.
        label: What people call it.
        help: One or two plain sentences.
        fix: What to do where a value breaks its rule; to change the control if not given.
        step: Step of its slider.
        affects: What else is drawn or counted anew when it changes.
        rules: As pydantic's `Field` takes them.
    """
    extra: JsonDict = {"label": label, "fix": fix, "step": step, "affects": [*affects]}
    return Field(default, description=help, json_schema_extra=extra, **rules)


class Fields(BaseModel):
    """A group of a request's fields."""

    @field_validator("*", mode="before")
    @classmethod
    def _no_switch_for_a_number(cls, value: object, info: ValidationInfo) -> object:
        """Refuse true and false, which Python takes for 1 and 0."""
        if isinstance(value, bool) and cls.model_fields[str(info.field_name)].annotation in (int, float):
            raise RuleError("value.switch", "be a number")
        return value


def _check_sha256(value: object) -> str:
    if isinstance(value, str) and re.fullmatch(r"([0-9a-f]{64})?", value):
        return value
    raise RuleError("value.no_hash", "be the SHA-256 of a file, 64 hexadecimal digits")


Sha256 = Annotated[str, BeforeValidator(_check_sha256)]
"""A file from outside by the SHA-256 of its bytes, in hexadecimal; empty for none."""
