"""A request's passes, the steps that each skips, and its windows."""

from typing import NamedTuple

from pipelines.plan.context import count_windows, plan_extension
from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.faults import Fault
from pipelines.plan.request import GenerationRequest


class Pass(NamedTuple):
    """One pass as it is planned.

    Args:
        request: The pass, as `passes_of` has it.
        windows: How many go through the UNet in all its steps.
        steps: How many steps it takes, those of extensions and of all iterations among them.
    """

    request: GenerationRequest
    windows: int
    steps: int


def passes_of(request: GenerationRequest) -> tuple[GenerationRequest, ...]:
    """Split a request into its passes; the last makes the clip.

    Example:
        >>> [each.width for each in passes_of(GenerationRequest.build(seed=0, hires_scale=1.5))]
        [512, 768]
    """
    if request.hires_scale == 1:
        return (request,)
    width, height = request.clip_size
    second = {"width": width, "height": height, "strength": request.hires_strength, "free_init_iterations": 0}
    one_pass = {"hires_scale": 1.0}
    return request.model_copy(update=one_pass), request.model_copy(update=one_pass | second)


def plan_passes(request: GenerationRequest) -> tuple[Pass, ...]:
    """Plan the passes of a request with the work in each.

    Raises:
        InvalidRequestError: `strength` leaves no step.

    Example:
        >>> [(each.windows, each.steps) for each in plan_passes(GenerationRequest.build(seed=0, hires_scale=1.5))]
        [(25, 25), (12, 12)]
    """
    steps = request.num_inference_steps
    planned = []
    for number, pass_request in enumerate(passes_of(request)):
        start = second_step(pass_request, steps) if number else first_step(pass_request, steps)
        blocks = len(plan_extension(pass_request))
        windows = pass_request.iterations * count_all_windows(pass_request, steps)
        windows -= count_windows(pass_request.first_clip, start)
        planned.append(Pass(pass_request, windows, pass_request.iterations * steps * (1 + blocks) - start))
    return tuple(planned)


def count_all_windows(request: GenerationRequest, steps: int) -> int:
    """Count the windows of all of a clip's steps, extensions included."""
    return count_windows(request.first_clip, steps) + steps * len(plan_extension(request))


def windows_before(request: GenerationRequest, steps: int, *, iteration: int = 0, block: int = 0, step: int = 0) -> int:
    """Count a pass's windows before a step.

    Args:
        request: The pass.
        steps: Of an iteration.
        iteration, block, step: Where, as `DenoiseState` counts them.
    """
    if block:
        return count_windows(request.first_clip, steps) + (block - 1) * steps + step
    return iteration * count_all_windows(request, steps) + count_windows(request.first_clip, step)


def first_step(request: GenerationRequest, steps: int) -> int:
    """Return the step that a clip begins at, after `strength` skips.

    Raises:
        InvalidRequestError: No step is left.
    """
    if not request.starts_from_pictures:
        return 0
    left = min(int(steps * request.strength), steps)  # as diffusers counts them
    if not left:
        raise InvalidRequestError(
            Fault(
                code="strength.leaves_no_step",
                field="strength",
                rule="leave at least one of the {steps} steps",
                got=f"{request.strength:g}",
                fix="Raise {strength:label}",
                values={"steps": steps},
            )
        )
    return steps - left


def second_step(request: GenerationRequest, steps: int) -> int:
    """Return the step that a second pass begins at."""
    return steps - min(int(steps * request.strength), steps)
