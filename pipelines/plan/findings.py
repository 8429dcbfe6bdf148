"""Findings: the actual kind of a refused value."""

from collections.abc import Mapping
from typing import NamedTuple


class Finding(NamedTuple):
    """A finding about a refused value, to be put into a sentence.

    Args:
        code: Of the broken rule, as `Fault` has it.
        words: A template.
        values: What it names.
    """

    code: str
    words: str
    values: Mapping[str, object] = {}
