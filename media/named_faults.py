"""Broken rules of files, about what callers call the file."""

from pipelines.plan.faults import Fault


def about(fault: Fault, called: str) -> Fault:
    """The same broken rule about a field, by what callers call it: `mask`, or `controls 2 clip`.

    Example:
        >>> about(Fault("clip.text"), "controls 2 clip").place
        (2, 'clip')
    """
    name, *place = called.split(" ")
    return fault.of(name, *(int(part) if part.isdigit() else part for part in place))
