"""Render values for refusals as callers wrote them, not as Python."""

import json
from fractions import Fraction

from pipelines.plan.rates import written_rate

_MOST = 60


def shown(value: object, most: int = _MOST) -> str:
    """Render a value, shortened: text as it is, others as JSON.

    Example:
        >>> shown("a red circle"), shown({"model": None}), shown(Fraction(24000, 1001)), shown("x" * 2000)
        ('a red circle', '{"model": null}', '23.976', '2,000 characters')
    """
    if isinstance(value, Fraction):
        value = written_rate(value)
    elif isinstance(value, (set, frozenset, tuple)):
        value = list(value)
    try:
        text = str(value) if isinstance(value, (str, float)) else json.dumps(value, ensure_ascii=False, default=str)
    except (ValueError, RecursionError):
        text = "a list in itself"
    return f"{len(text):,} characters" if len(text) > 4 * most else text[:most]
