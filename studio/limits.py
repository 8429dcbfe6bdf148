"""Check visitors' requests against the operator's limits."""

from collections.abc import Callable, Generator
from pathlib import Path
from typing import TypeVar

from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.faults import Fault
from pipelines.plan.request import GenerationRequest, field_bounds
from pipelines.plan.settings import Settings, settings

_Event = TypeVar("_Event")
_Make = Callable[[GenerationRequest, Path], Generator[_Event, None, None]]

_LIMITED = {"num_frames": "max_frames", "width": "max_side", "height": "max_side", "num_inference_steps": "max_steps"}
"""Fields of the request and the settings that bound them."""


def check_limits(request: GenerationRequest, limits: Settings) -> None:
    """Refuse a request beyond the operator's limits.

    Args:
        limits: The operator's settings.

    Raises:
        InvalidRequestError: It does; the text names field, limit, value and control.

    Example:
        >>> check_limits(GenerationRequest(seed=1, num_frames=64), Settings(max_frames=32))
        Traceback (most recent call last):
        ...
        pipelines.plan.errors.InvalidRequestError: num_frames must be at most 32 on this server, got 64. Lower 'Frames'.
    """
    for name, limit in _LIMITED.items():
        most, value = getattr(limits, limit), getattr(request, name)
        if most is not None and value > most:
            rule = "be at most {limit} on this server"
            raise InvalidRequestError(Fault("server.most", name, rule, value, "Lower {field:label}", limit=most))
    if limits.max_side is not None and max(request.clip_size) > limits.max_side:
        raise InvalidRequestError(
            Fault(
                "server.largest_side",
                "hires_scale",
                "leave both sides at most {limit} pixels on this server",
                f"{request.hires_scale:g}",
                "Lower {field:label}",
                limit=limits.max_side,
                seen="{got}, which makes {size}",
                values={"size": "x".join(map(str, request.clip_size))},
            )
        )
    steps = request.num_inference_steps * request.iterations
    if limits.max_steps is not None and steps > limits.max_steps:
        rounds, per_round = request.free_init_iterations, request.num_inference_steps
        raise InvalidRequestError(
            Fault(
                "server.most_steps",
                "free_init_iterations",
                "make at most {limit} steps in all on this server",
                f"{rounds} rounds of {per_round}",
                "Lower {field:label}",
                limit=limits.max_steps,
                values={"rounds": rounds, "per_round": per_round},
            )
        )


def within_limits(make: _Make[_Event], limits: Settings) -> _Make[_Event]:
    """Wrap an engine so that it refuses requests beyond the limits."""

    def limited(request: GenerationRequest, folder: Path) -> Generator[_Event, None, None]:
        check_limits(request, limits)
        yield from make(request, folder)

    return limited


def allowed_bounds(name: str) -> tuple[float | None, float | None]:
    """Return a numeric field's allowed bounds; None where unbounded."""
    low, high = field_bounds(name)
    most = getattr(settings(), _LIMITED[name]) if name in _LIMITED else None
    return low, high if most is None else min(most, high or most)
