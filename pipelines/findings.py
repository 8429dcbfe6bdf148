"""What a refused value turned out to be, where that is more than the value itself. No torch."""

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

from pipelines.faults import Fault


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


@dataclasses.dataclass(frozen=True)
class FoundFault(Fault):
    """A broken rule whose sentence says more of the value than the value: `got 'a.ckpt', which is empty`.

    Args:
        found: What stands behind "got", as a template; `{got:s}` in it is the value, a text in its whole length.
    """

    found: str = "{got}"

    @property
    def template(self) -> str:
        """The English sentence with its places open."""
        return super().template.replace(", got {got}.", f", got {self.found}.", 1)
