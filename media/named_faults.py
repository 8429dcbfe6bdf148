"""Faults of files, with the names that callers use."""

from pipelines.plan.faults import Fault


def about(fault: Fault, called: str) -> Fault:
    """Set the place of a fault from its caller's field name.

    Example:
        >>> about(Fault("clip.text"), "controls 2 clip").place
        (2, 'clip')
    """
    field, *place = called.split(" ")
    return fault.of(field, *(int(part) if part.isdigit() else part for part in place))
