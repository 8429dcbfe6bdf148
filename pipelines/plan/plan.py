"""Plan of a clip: passes, steps and windows, counted once.

`generate`, the estimate and the time left read the same plan. It counts a step's windows and does not hold them: of
10,000 frames those of 25 steps would be 20 MB.
"""

from dataclasses import dataclass

from pipelines.plan.context import Block, count_windows, plan_extension
from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.faults import Fault
from pipelines.plan.request import GenerationRequest


@dataclass(frozen=True)
class Pass:
    """One pass over the clip.

    Args:
        request: The pass, as `passes_of` has it.
        steps: Of a round, with those that are skipped.
        start: The step that it begins at.
        step_windows: How many windows each step of the first clip has.
        blocks: The windows of extensions, each of which is run in all steps.
    """

    request: GenerationRequest
    steps: int
    start: int
    step_windows: tuple[int, ...]
    blocks: tuple[Block, ...]

    @property
    def windows(self) -> int:
        """Count the windows of all its steps."""
        return self.windows_before(self.request.iterations) - self.windows_before(step=self.start)

    @property
    def steps_taken(self) -> int:
        """Count the steps it takes, in all iterations and extensions."""
        return self.request.iterations * self.steps * (1 + len(self.blocks)) - self.start

    def windows_before(self, iteration: int = 0, *, block: int = 0, step: int = 0) -> int:
        """Count the windows before a step, skipped ones included; as `DenoiseState` counts."""
        if block:
            return sum(self.step_windows) + (block - 1) * self.steps + step
        a_round = sum(self.step_windows) + self.steps * len(self.blocks)
        return iteration * a_round + sum(self.step_windows[:step])


@dataclass(frozen=True)
class Plan:
    """A request and the work that it comes to.

    Args:
        request: The clip.
        passes: One, or two where it is enlarged; the last makes the clip.
    """

    request: GenerationRequest
    passes: tuple[Pass, ...]

    @property
    def windows(self) -> int:
        """Count the windows of all passes."""
        return sum(each.windows for each in self.passes)


def plan_of(request: GenerationRequest, *, steps: int | None = None) -> Plan:
    """Plan a clip.

    Args:
        steps: Of a round, if not `num_inference_steps`: a sampler with trailing timesteps may take one more.

    Raises:
        InvalidRequestError: `strength` leaves no step.

    Example:
        >>> plan = plan_of(GenerationRequest.build(seed=0, hires_scale=1.5))
        >>> [(each.request.width, each.windows, each.steps_taken) for each in plan.passes]
        [(512, 25, 25), (768, 12, 12)]
    """
    steps = request.num_inference_steps if steps is None else steps
    passes = passes_of(request)
    starts = [first_step(passes[0], steps), *(second_step(second, steps) for second in passes[1:])]
    # All passes have the same windows.
    windows, blocks = count_windows(request.first_clip, steps), tuple(plan_extension(request))
    return Plan(
        request, tuple(Pass(each, steps, start, windows, blocks) for each, start in zip(passes, starts, strict=True))
    )


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
