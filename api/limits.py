"""What a visitor may ask for: the operator's limits, checked before any work. The command line has none."""

from collections.abc import Callable, Generator
from pathlib import Path
from typing import TypeVar

from pipelines.errors import InvalidRequestError
from pipelines.request import GenerationRequest, field_bounds, field_label
from pipelines.settings import Settings, settings

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
        pipelines.errors.InvalidRequestError: num_frames must be at most 32 on this server, got 64. Lower 'Frames'.
    """
    for name, limit in _LIMITED.items():
        most, value = getattr(found, limit), getattr(request, name)
        if most is not None and value > most:
            raise InvalidRequestError(
                f"{name} must be at most {most} on this server, got {value}. Lower '{field_label(name)}'."
            )
    if found.max_side is not None and max(request.clip_size) > found.max_side:
        raise InvalidRequestError(
            f"hires_scale must leave both sides at most {found.max_side} pixels on this server, got "
            f"{request.hires_scale:g}, which makes {'x'.join(map(str, request.clip_size))}. Lower 'Second pass'."
        )
    steps = request.num_inference_steps * request.iterations
    if found.max_steps is not None and steps > found.max_steps:
        raise InvalidRequestError(
            f"free_init_iterations must make at most {found.max_steps} steps in all on this server, got "
            f"{request.free_init_iterations} rounds of {request.num_inference_steps}. Lower 'FreeInit rounds'."
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
