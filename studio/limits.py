"""What a visitor may ask for: the operator's limits, checked before any work. The command line has none."""

from collections.abc import Callable, Generator
from pathlib import Path
from typing import TypeVar

from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.faults import Fault
from pipelines.plan.request import GenerationRequest, field_bounds
from pipelines.plan.settings import Settings, settings

_Told = TypeVar("_Told")
_Make = Callable[[GenerationRequest, Path], Generator[_Told, None, None]]

_LIMITED = {"num_frames": "max_frames", "width": "max_side", "height": "max_side", "num_inference_steps": "max_steps"}
"""Fields of the request and the settings that bound them."""


def check_limits(request: GenerationRequest, found: Settings) -> None:
    """Refuse what goes beyond the operator's limits.

    Args:
        found: The operator's settings.

    Raises:
        InvalidRequestError: It does; the text names field, limit, value and control.

    Example:
        >>> check_limits(GenerationRequest(seed=1, num_frames=64), Settings(max_frames=32))
        Traceback (most recent call last):
        ...
        pipelines.plan.errors.InvalidRequestError: num_frames must be at most 32 on this server, got 64. Lower 'Frames'.
    """
    for name, limit in _LIMITED.items():
        most, value = getattr(found, limit), getattr(request, name)
        if most is not None and value > most:
            rule = "be at most {limit} on this server"
            raise InvalidRequestError(Fault("server.most", name, rule, value, "Lower {field:label}", limit=most))
    if found.max_side is not None and max(request.clip_size) > found.max_side:
        raise InvalidRequestError(
            Fault(
                "server.largest_side",
                "hires_scale",
                "leave both sides at most {limit} pixels on this server",
                f"{request.hires_scale:g}",
                "Lower {field:label}",
                limit=found.max_side,
                seen="{got}, which makes {size}",
                values={"size": "x".join(map(str, request.clip_size))},
            )
        )
    steps = request.num_inference_steps * request.iterations
    if found.max_steps is not None and steps > found.max_steps:
        rounds, per_round = request.free_init_iterations, request.num_inference_steps
        raise InvalidRequestError(
            Fault(
                "server.most_steps",
                "free_init_iterations",
                "make at most {limit} steps in all on this server",
                f"{rounds} rounds of {per_round}",
                "Lower {field:label}",
                limit=found.max_steps,
                values={"rounds": rounds, "per_round": per_round},
            )
        )


def within_limits(make: _Make[_Told]) -> _Make[_Told]:
    """The same engine, for visitors: it refuses what `check_limits` does, before it is called."""

    def limited(request: GenerationRequest, folder: Path) -> Generator[_Told, None, None]:
        check_limits(request, settings())
        yield from make(request, folder)

    return limited


def allowed_bounds(name: str) -> tuple[float | None, float | None]:
    """Lowest and highest value of a numeric field that a visitor may choose; None where there is no bound."""
    low, high = field_bounds(name)
    most = getattr(settings(), _LIMITED[name]) if name in _LIMITED else None
    return low, high if most is None else min(most, high or most)
