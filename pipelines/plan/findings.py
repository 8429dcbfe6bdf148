"""What a refused value turned out to be, where that is more than the value itself. No torch."""

from collections.abc import Mapping
from typing import NamedTuple


class Finding(NamedTuple):
    """What was found instead of what was wanted, to be put into a sentence by whoever knows of what.

    Args:
        code: Of the broken rule, as `Fault` has it.
        words: A template.
        values: What it names.
    """

    code: str
    words: str
    values: Mapping[str, object] = {}
