"""The one loop over steps and windows.

Each step sends every window of the clip through the UNet, averages where windows overlap, and takes one
scheduler step on the whole clip. So any sampler works at any length, and device memory depends on the
window alone: the clip's latents stay on the CPU, where a step holds them and the next ones, nothing more.
"""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby, pairwise
from typing import Any

import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    LCMScheduler,
    SchedulerMixin,
    UNetMotionModel,
)

from pipelines.engine.diffusers_internals import scheduler_memory, set_scheduler_memory
from pipelines.engine.free_init import renew_noise
from pipelines.engine.inpaint import KnownRegion
from pipelines.engine.interruptible import in_thread
from pipelines.engine.lora.travel import has_travelling_loras, set_strengths_at_frames
from pipelines.engine.motion.modules import set_motion
from pipelines.engine.number_range import require_finite_latents
from pipelines.engine.prompt_states import TextStates
from pipelines.engine.steering.conditions import NO_CONDITIONS, Conditions, UNetCall
from pipelines.engine.steering.frame_conditions import frame_conditions
from pipelines.plan.choices import Scheduler
from pipelines.plan.context import Window, plan_windows
from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.faults import Fault
from pipelines.plan.request import GenerationRequest

_SCHEDULERS: dict[Scheduler, type[SchedulerMixin]] = {
    Scheduler.DDIM: DDIMScheduler,
    Scheduler.EULER: EulerDiscreteScheduler,
    Scheduler.EULER_A: EulerAncestralDiscreteScheduler,
    Scheduler.DPMPP_2M: DPMSolverMultistepScheduler,
    Scheduler.LCM: LCMScheduler,
}
#: So many frames of a clip are told while it is made: enough to see how it moves, whatever its length.
ESTIMATED_FRAMES = 8
#: Values of a clip that a scheduler steps at once: 4 MB, so that its intermediate results are small too.
_STRETCH = 1 << 20
#: torch draws normal numbers in blocks; stretches of whole blocks draw what the whole clip would.
_BLOCK = 16


@dataclass(frozen=True)
class DenoiseState:
    """A clip between two steps, enough to resume to the identical clip.

    Args:
        step: Steps done of the present iteration.
        latents: float32 [1, 4, F, h, w] on the CPU.
        generator_state: State of the clip's random generator.
        scheduler_memory: What a multistep scheduler remembers of earlier steps.
        iteration: Iterations of FreeInit before the present one.
        begun: The step that it began at: those before it are what `strength` leaves out.
        block: The window of an extension that it belongs to, from 1; 0 for the clip itself.
        known, made: Of a clip that is extended, latents before every step and after the last: of the frames that the
            window is given, and so far of those it makes. Of the clip itself, of its last frames alone.
        before: The latents of all frames before the window's new ones.
    """

    step: int
    latents: torch.Tensor
    generator_state: torch.Tensor
    scheduler_memory: dict[str, object] = field(default_factory=dict)
    iteration: int = 0
    begun: int = 0
    block: int = 0
    known: tuple[torch.Tensor, ...] = ()
    made: tuple[torch.Tensor, ...] = ()
    before: torch.Tensor | None = None

    def to_dict(self) -> dict[str, object]:
        """Convert to tensors and plain values, for `torch.save` and `weights_only` loads."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "DenoiseState":
        """Inverse of `to_dict`."""
        return cls(**values)


@dataclass(frozen=True)
class DenoiseStep:
    """Event after and within each call of the UNet.

    Args:
        step: The step the call belongs to, from 0.
        windows: Windows that went through in it; 0 within a call.
        state: The clip after the step; None until its last window is through.
        estimate: What frames spread over the clip, at most `ESTIMATED_FRAMES`, would be if the noise left were taken
            away now, float32 [1, 4, n, h, w]; comes with `state`.
        iteration: The iteration of FreeInit that the step belongs to, from 0.
        block: The window of an extension that it belongs to, from 1; 0 for the clip itself.
        share: How much of the call is done, where it is within one; None after it.
    """

    step: int
    windows: int
    state: DenoiseState | None = None
    estimate: torch.Tensor | None = None
    iteration: int = 0
    block: int = 0
    share: float | None = None


def build_scheduler(request: GenerationRequest, config: dict[str, object]) -> SchedulerMixin:
    """Build the request's sampler on the model's noise schedule, timesteps set.

    Raises:
        InvalidRequestError: The sampler can't take that many steps.
    """
    scheduler = _SCHEDULERS[request.scheduler].from_config(config)
    try:
        scheduler.set_timesteps(request.num_inference_steps)
    except ValueError as err:
        raise InvalidRequestError(
            Fault(
                code="steps.not_for_sampler",
                field="num_inference_steps",
                rule="suit the sampler {sampler}",
                got=request.num_inference_steps,
                fix="Lower {num_inference_steps:label} ({reason:s})",
                values={"sampler": request.scheduler, "reason": str(err)},
            )
        ) from err
    return scheduler


def first_state(noise: torch.Tensor, generator: torch.Generator, scheduler: SchedulerMixin) -> DenoiseState:
    """Build the state before the first step: noise at the sampler's scale."""
    return DenoiseState(0, noise * scheduler.init_noise_sigma, generator.get_state())


def denoise(
    request: GenerationRequest,
    *,
    unet: UNetMotionModel,
    scheduler: SchedulerMixin,
    text: TextStates,
    state: DenoiseState,
    windows_a_call: int = 1,
    known_region: KnownRegion | None = None,
    conditions: Conditions = NO_CONDITIONS,
) -> Generator[DenoiseStep, None, None]:
    """Run the remaining steps of all iterations, yielding after each UNet call.

    The caller may stop between any two yields; no gradient or global state is held across them. A state once yielded is
    never changed.

    Args:
        windows_a_call: Windows of one length that may go through the UNet together, >= 1: faster where the
            device has memory for them, the same frames but for rounding.
        known_region: What stays as it is, put back after every step and before an iteration's first.
        conditions: What steers the clip beside its prompts.
    """
    generator = torch.Generator("cpu")
    generator.set_state(state.generator_state)
    set_scheduler_memory(scheduler, state.scheduler_memory)
    latents = state.latents
    steps = len(scheduler.timesteps)
    first_step = state.begun
    for done_before in range(state.iteration * steps + state.step, request.iterations * steps):
        iteration, step = divmod(done_before, steps)
        if iteration > state.iteration:
            state = _next_iteration(request, state, generator, scheduler)
            latents = state.latents
            if known_region:
                known_region.put_back(latents, scheduler, step)
        t = scheduler.timesteps[step]
        part = (step - first_step) / (steps - first_step), (step + 1 - first_step) / (steps - first_step)
        predict = partial(_predict, unet, text, request, conditions, t, part)
        prediction = torch.zeros(latents.shape)
        calls = list(_calls(plan_windows(request, step), windows_a_call))
        for number, windows in enumerate(calls, 1):
            clips = [list(window.frame_indices) for window in windows]
            sample = scheduler.scale_model_input(torch.cat([latents[:, :, frames] for frames in clips]), t)
            sign = DenoiseStep(step, 0, iteration=iteration)
            noises = yield from in_thread(partial(predict, sample, clips), unet.motion_state.pace, sign)
            _add_windows(prediction, windows, noises)
            if number < len(calls):
                yield DenoiseStep(step, len(windows), iteration=iteration)
        estimate = _estimate(scheduler, prediction, t, latents)
        latents = _scheduler_step(scheduler, prediction, t, latents, generator)
        require_finite_latents(latents, step=step + 1, steps=steps)
        if known_region:
            known_region.put_back(latents, scheduler, step + 1)
        state = DenoiseState(
            step + 1, latents, generator.get_state(), scheduler_memory(scheduler), iteration, first_step
        )
        yield DenoiseStep(step, len(windows), state, estimate, iteration)


def denoise_behind(
    request: GenerationRequest,
    *,
    window: range,
    known_latents: Sequence[torch.Tensor],
    unet: UNetMotionModel,
    scheduler: SchedulerMixin,
    text: TextStates,
    state: DenoiseState,
    conditions: Conditions = NO_CONDITIONS,
) -> Generator[DenoiseStep, None, None]:
    """Generate new frames after known ones in one window, yielding every step.

    At every step the known frames are what they were at that step when they were made, so the new ones see in
    them the noise that they have themselves. Only the new ones are stepped: a sampler treats each value alone,
    so what it remembers or draws is theirs alone, too.

    Args:
        window: The frames of the window in the clip, the known ones first.
        known_latents: Before every step, the latents of the known frames, float32 [1, 4, K, h, w].
        state: That of the new frames, before the first step or after another.
        conditions: As `denoise` takes them.
    """
    scheduler.set_timesteps(request.num_inference_steps)
    generator = torch.Generator("cpu")
    generator.set_state(state.generator_state)
    set_scheduler_memory(scheduler, state.scheduler_memory)
    latents = state.latents
    for step in range(state.step, len(known_latents)):
        t, before = scheduler.timesteps[step], known_latents[step]
        sample = scheduler.scale_model_input(torch.cat([before, latents], dim=2), t)
        part = step / len(known_latents), (step + 1) / len(known_latents)
        predict = partial(_predict, unet, text, request, conditions, t, part, sample, [list(window)])
        prediction = yield from in_thread(predict, unet.motion_state.pace, DenoiseStep(step, 0))
        prediction = prediction[:, :, before.shape[2] :].contiguous()
        estimate = _estimate(scheduler, prediction, t, latents)
        latents = _scheduler_step(scheduler, prediction, t, latents, generator)
        require_finite_latents(latents, step=step + 1, steps=len(known_latents))
        state = DenoiseState(step + 1, latents, generator.get_state(), scheduler_memory(scheduler))
        yield DenoiseStep(step, 1, state, estimate)


def _next_iteration(
    request: GenerationRequest, state: DenoiseState, generator: torch.Generator, scheduler: SchedulerMixin
) -> DenoiseState:
    """Build the first state of FreeInit's next iteration, with a fresh scheduler."""
    scheduler.set_timesteps(request.num_inference_steps)
    iteration = state.iteration + 1
    alphas = scheduler.alphas_cumprod
    noise = renew_noise(request, state.latents, generator, iteration=iteration, alphas_cumprod=alphas)
    return replace(first_state(noise, generator, scheduler), iteration=iteration)


def _calls(windows: Sequence[Window], most: int) -> Iterator[list[Window]]:
    """Group neighbouring windows of one length that go through the UNet together."""
    for _, same in groupby(windows, key=lambda window: len(window.frame_indices)):
        alike = list(same)
        for start in range(0, len(alike), most):
            yield alike[start : start + most]


def _add_windows(prediction: torch.Tensor, windows: Sequence[Window], noises: torch.Tensor) -> None:
    """Add the weighted predictions of windows to the clip's, in place."""
    for window, noise in zip(windows, noises, strict=True):
        prediction[:, :, list(window.frame_indices)] += noise * torch.tensor(window.weights)[:, None, None]


@torch.no_grad()
def _predict(
    unet: UNetMotionModel,
    text: TextStates,
    request: GenerationRequest,
    conditions: Conditions,
    t: torch.Tensor,
    part: tuple[float, float],
    sample: torch.Tensor,
    clips: Sequence[list[int]],
) -> torch.Tensor:
    """Predict noise for windows [W, 4, L, h, w] with classifier-free guidance.

    Args:
        part, clips: As in `UNetCall`.
    """
    guided = request.guidance_scale > 1
    frames = [frame for clip in clips for frame in clip]
    sample = sample.to(unet.device, unet.dtype)
    states = rows = text.for_frames(frames, guided=guided).to(unet.device, unet.dtype)
    if text.is_constant and not has_travelling_loras(unet):
        rows = states[:: len(frames)]
    batch = [*clips, *clips] if guided else clips
    set_motion(unet, request, batch)
    set_strengths_at_frames(unet, batch)
    added = text.added_conditions(
        guided=guided, height=request.height, width=request.width, indices=frames, clips=len(clips)
    )
    added = {name: value.to(unet.device, unet.dtype) for name, value in added.items()}
    sample = torch.cat([sample, sample]) if guided else sample
    call = UNetCall(sample, t, part, clips, guided, states, added)
    with frame_conditions(unet, per_frame=not text.is_constant), conditions.applied(unet, call) as arguments:
        out = unet(sample, t, encoder_hidden_states=rows, added_cond_kwargs=added, **arguments).sample
    out = out.to("cpu", torch.float32)
    if guided:
        negative, positive = out.chunk(2)
        out = negative + request.guidance_scale * (positive - negative)
    return out


def _estimate(
    scheduler: SchedulerMixin, prediction: torch.Tensor, t: torch.Tensor, latents: torch.Tensor
) -> torch.Tensor:
    """Estimate frames spread over the clip; the scheduler is restored."""
    frames = spread(latents.shape[2])
    before = scheduler_memory(scheduler)
    set_scheduler_memory(scheduler, before, lambda clip: clip[:, :, frames])
    # A generator of its own: what is drawn here must not be missing in the clip's.
    result = scheduler.step(prediction[:, :, frames], t, latents[:, :, frames], generator=torch.Generator())
    estimate = getattr(result, "pred_original_sample", getattr(result, "denoised", None))
    if estimate is None:  # DPM++ keeps it to itself
        estimate = scheduler.model_outputs[-1]
    set_scheduler_memory(scheduler, before)
    return estimate


def spread(num_frames: int) -> list[int]:
    """Choose the middle frames of `ESTIMATED_FRAMES` equal stretches of a clip.

    Example:
        >>> spread(1), spread(16), spread(10_000)[:3]
        ([0], [1, 3, 5, 7, 9, 11, 13, 15], [625, 1875, 3125])
    """
    count = min(ESTIMATED_FRAMES, num_frames)
    return [(2 * index + 1) * num_frames // (2 * count) for index in range(count)]


def _scheduler_step(
    scheduler: SchedulerMixin,
    prediction: torch.Tensor,
    t: torch.Tensor,
    latents: torch.Tensor,
    generator: torch.Generator,
) -> torch.Tensor:
    """Step the whole clip, a stretch at a time.

    Every sampler treats each value alone.

    Args:
        prediction: Becomes the next latents, which are returned.
    """
    before = scheduler_memory(scheduler)
    old, new = latents.flatten(), prediction.view(-1)
    outputs = before.get("model_outputs")
    recent = torch.empty_like(new) if isinstance(outputs, list) else None
    for start, end in pairwise([*range(0, len(new) - _BLOCK + 1, _STRETCH), len(new)]):
        set_scheduler_memory(scheduler, before, partial(_stretch, start, end))
        following = scheduler.step(new[start:end], t, old[start:end], generator=generator).prev_sample
        if recent is not None:
            recent[start:end] = scheduler.model_outputs[-1]
        new[start:end] = following
    if recent is not None and isinstance(outputs, list):  # the next step would drop the oldest one without a look
        scheduler.model_outputs = [None, *outputs[2:], recent.view(latents.shape)]
    return prediction


def _stretch(start: int, end: int, clip: torch.Tensor) -> torch.Tensor:
    return clip.view(-1)[start:end]
