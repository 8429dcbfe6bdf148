"""The one loop over steps and windows.

Each step sends every window of the clip through the UNet, averages where windows overlap, and takes one
scheduler step on the whole clip. So any sampler works at any length, and device memory depends on the
window alone: the clip's latents stay on the CPU.
"""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
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

from pipelines.context import Window, plan_windows
from pipelines.errors import InvalidRequestError
from pipelines.frame_conditions import frame_conditions
from pipelines.motion import set_motion
from pipelines.prompts import TextStates
from pipelines.request import GenerationRequest, Scheduler

_SCHEDULERS: dict[Scheduler, Any] = {
    Scheduler.DDIM: DDIMScheduler,
    Scheduler.EULER: EulerDiscreteScheduler,
    Scheduler.EULER_A: EulerAncestralDiscreteScheduler,
    Scheduler.DPMPP_2M: DPMSolverMultistepScheduler,
    Scheduler.LCM: LCMScheduler,
}
#: What a scheduler carries from step to step. Everything else follows from its config and the step count.
_SCHEDULER_MEMORY = ("_step_index", "model_outputs", "lower_order_nums")


@dataclass(frozen=True)
class DenoiseState:
    """A clip between two steps; save it, load it, and go on to the identical clip.

    Args:
        step: Steps done.
        latents: float32 [1, 4, F, h, w] on the CPU.
        generator_state: State of the clip's random generator.
        scheduler_memory: What a multistep scheduler remembers of earlier steps.
    """

    step: int
    latents: torch.Tensor
    generator_state: torch.Tensor
    scheduler_memory: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """A dict of tensors and plain values, fit for `torch.save` and a `weights_only` load."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "DenoiseState":
        """Inverse of `to_dict`."""
        return cls(**values)


@dataclass(frozen=True)
class DenoiseStep:
    """What the loop tells after each window.

    Args:
        step: The step the window belongs to, from 0.
        state: The clip after the step; None until its last window is through.
        estimate: What the clip would be if the noise left were taken away now, float32 [1, 4, F, h, w];
            comes with `state`.
    """

    step: int
    state: DenoiseState | None = None
    estimate: torch.Tensor | None = None


def build_scheduler(request: GenerationRequest, config: dict[str, Any]) -> SchedulerMixin:
    """The request's sampler on the model's noise schedule, its timesteps set.

    Raises:
        InvalidRequestError: The sampler can't take that many steps.
    """
    scheduler = _SCHEDULERS[request.scheduler].from_config(config)
    try:
        scheduler.set_timesteps(request.num_inference_steps)
    except ValueError as err:
        raise InvalidRequestError(
            f"num_inference_steps must suit the sampler {request.scheduler}, got {request.num_inference_steps}. "
            f"Lower 'Steps' ({err})."
        ) from err
    return scheduler


def first_state(noise: torch.Tensor, generator: torch.Generator, scheduler: SchedulerMixin) -> DenoiseState:
    """The state before the first step: noise at the sampler's own scale."""
    return DenoiseState(0, noise * scheduler.init_noise_sigma, generator.get_state())


def denoise(
    request: GenerationRequest,
    *,
    unet: UNetMotionModel,
    scheduler: SchedulerMixin,
    text: TextStates,
    state: DenoiseState,
) -> Iterator[DenoiseStep]:
    """Run the steps that are left, yielding after each window.

    The caller may stop between any two yields; no gradient or global state is held across them.
    """
    generator = torch.Generator("cpu")
    generator.set_state(state.generator_state)
    for name, value in state.scheduler_memory.items():
        setattr(scheduler, name, deepcopy(value))
    latents = state.latents
    for step in range(state.step, len(scheduler.timesteps)):
        t = scheduler.timesteps[step]
        scaled = scheduler.scale_model_input(latents, t)
        prediction = torch.zeros_like(latents)
        windows = plan_windows(request, step)
        for done, window in enumerate(windows, start=1):
            _add_window(prediction, scaled, window, unet, text, t, request)
            if done < len(windows):
                yield DenoiseStep(step)
        latents, estimate = _scheduler_step(scheduler, prediction, t, latents, generator)
        memory = {name: deepcopy(getattr(scheduler, name)) for name in _SCHEDULER_MEMORY if hasattr(scheduler, name)}
        state = DenoiseState(step + 1, latents, generator.get_state(), memory)
        yield DenoiseStep(step, state, estimate)


@torch.no_grad()
def _add_window(
    prediction: torch.Tensor,
    scaled: torch.Tensor,
    window: Window,
    unet: UNetMotionModel,
    text: TextStates,
    t: torch.Tensor,
    request: GenerationRequest,
) -> None:
    """Add a window's weighted prediction to the clip's, in place."""
    frames = list(window.frame_indices)
    guided = request.guidance_scale > 1
    sample = scaled[:, :, frames].to(unet.device, unet.dtype)
    states = text.for_frames(window.frame_indices, guided=guided).to(unet.device, unet.dtype)
    set_motion(unet, request, [frames] * (2 if guided else 1))
    added = text.added_conditions(guided=guided, height=request.height, width=request.width, indices=frames)
    with frame_conditions(unet, per_frame=not text.is_constant):
        out = unet(
            torch.cat([sample, sample]) if guided else sample,
            t,
            encoder_hidden_states=states,
            added_cond_kwargs={name: value.to(unet.device, unet.dtype) for name, value in added.items()},
        ).sample
    out = out.to(prediction.device, prediction.dtype)
    if guided:
        negative, positive = out.chunk(2)
        out = negative + request.guidance_scale * (positive - negative)
    prediction[:, :, frames] += out * torch.tensor(window.weights)[:, None, None]


@torch.no_grad()
def _scheduler_step(
    scheduler: SchedulerMixin,
    prediction: torch.Tensor,
    t: torch.Tensor,
    latents: torch.Tensor,
    generator: torch.Generator,
) -> tuple[torch.Tensor, torch.Tensor]:
    """One step on the whole clip: the next latents, and the present estimate of the clean ones."""
    result = scheduler.step(prediction, t, latents, generator=generator)
    estimate = getattr(result, "pred_original_sample", getattr(result, "denoised", None))
    if estimate is None:  # DPM++ keeps it to itself
        estimate = scheduler.model_outputs[-1]
    return result.prev_sample, estimate
