"""Broken rules whose value is told in words of its own: whole, in a unit, or with what is wrong with it."""

from dataclasses import dataclass

from pipelines.faults import Fault

_VALUE = ", got {got}. "


@dataclass(frozen=True)
class WordedFault(Fault):
    """A broken rule, as a `Fault` is one.

    Args:
        seen: What stands behind "got", a template such as `{got:.1f} GiB` or `{name}, which is damaged`. Names of
            files are among the values, which are told whole.
    """

    seen: str = "{got}"

    @property
    def template(self) -> str:
        """The English sentence with its places open."""
        return super().template.replace(_VALUE, f", got {self.seen}. ", 1)


def about(fault: Fault, called: str) -> Fault:
    """The same broken rule about a field, by what callers call it: `mask`, or `controls 2 clip`.

    Example:
        >>> about(Fault("clip.text"), "controls 2 clip").place
        (2, 'clip')
    """
    name, *place = called.split(" ")
    return fault.of(name, *(int(part) if part.isdigit() else part for part in place))
