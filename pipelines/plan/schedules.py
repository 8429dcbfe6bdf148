"""Numbers that may change over a clip: `0.8`, `0: 0.5, 15: 1.5`.

Between two keys a number goes straight from one to the other; before the first and after the last it stays.
"""

import math
import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer

from pipelines.plan.prompt.letters import plain_digits
from pipelines.plan.rule_error import RuleError

Keys = tuple[tuple[int, float], ...]
"""Frames, ascending, and the number at each; a number without keys stands at frame 0."""

_KEY = re.compile(r"(\d{1,6})\s*:\s*([+-]?\d*\.?\d+)")


def parse_schedule(value: object) -> Keys:
    """Read a number, or text of `frame: number` pairs.

    Raises:
        ValueError: It is neither; the text says what was expected.

    Example:
        >>> parse_schedule("0: 0.5, 15: 1.5")
        ((0, 0.5), (15, 1.5))
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return ((0, _finite(float(value))),)
    if isinstance(value, (list, tuple)):
        value = ", ".join(f"{frame}: {number}" for frame, number in value)
    text = plain_digits(value).strip() if isinstance(value, str) else ""
    if re.fullmatch(r"[+-]?\d*\.?\d+", text):
        return ((0, float(text)),)
    matches = [_KEY.fullmatch(part.strip()) for part in re.split(r"[,\n]+", text.rstrip(","))]
    keys = tuple((int(key[1]), float(key[2])) for key in matches if key)
    if len(keys) < len(matches):
        raise RuleError("value.no_schedule", "be a number, or keys such as '0: 0.5, 15: 1.5'")
    if any(first >= second for (first, _), (second, _) in pairwise(keys)):
        raise RuleError("value.schedule_not_ascending", "have keys at ascending frames")
    return keys


def schedule_text(keys: Keys) -> float | str:
    """Write a constant as a number, else text that `parse_schedule` reads."""
    if len(keys) == 1:
        return keys[0][1]
    return ", ".join(f"{frame}: {number!r}" for frame, number in keys)


def values_at(keys: Keys, frames: Sequence[int]) -> list[float]:
    """Interpolate the numbers at some frames.

    Example:
        >>> values_at(((0, 0.0), (10, 1.0)), [0, 5, 12])
        [0.0, 0.5, 1.0]
    """
    return [_value_at(keys, frame) for frame in frames]


def is_constant(keys: Keys, value: float) -> bool:
    """Tell whether it is this number at every frame."""
    return all(number == value for _, number in keys)


def _value_at(keys: Keys, frame: int) -> float:
    before = max((key for key in keys if key[0] <= frame), default=keys[0])
    after = min((key for key in keys if key[0] >= frame), default=keys[-1])
    if before[0] >= after[0]:
        return before[1]
    share = (frame - before[0]) / (after[0] - before[0])
    return before[1] + share * (after[1] - before[1])


def _finite(number: float) -> float:
    if not math.isfinite(number):
        raise RuleError("value.not_finite", "be finite")
    return number


def _in_range(low: float, high: float) -> BeforeValidator:
    def check(value: object) -> Keys:
        keys = parse_schedule(value)
        if any(not low <= number <= high for _, number in keys):
            raise RuleError(
                "value.schedule_out_of_range", "be from {low:g} to {high:g} at every key", low=low, high=high
            )
        return keys

    return BeforeValidator(check)


Factor = Annotated[Keys, _in_range(0, 4), PlainSerializer(schedule_text, return_type=float | str)]
"""A factor from 0 to 4, constant or changing."""
