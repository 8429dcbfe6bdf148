"""The story of a generation: load, encode, denoise window by window, decode into the writer."""

import os
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from pipelines.beginning import begin, check_inputs
from pipelines.catalog import advise_size, find_base_model, find_motion_module
from pipelines.catalog_entries import Lora
from pipelines.checkpoint import Checkpoint, run_key
from pipelines.clip_inputs import NO_INPUTS, ClipInputs
from pipelines.conditions import Conditions
from pipelines.context import count_windows, plan_extension
from pipelines.decode import decode_frames, preview_frame
from pipelines.denoise import DenoiseState, DenoiseStep, build_scheduler
from pipelines.device import choose_device
from pipelines.downloads import following
from pipelines.errors import InvalidRequestError
from pipelines.events import Clip, Event, Progress, Stage
from pipelines.extend import count_all_windows, denoise_extended
from pipelines.lora import LoraPlan, find_loras, load_lora, plan_loras
from pipelines.masks import composite
from pipelines.models import Components, ModelStore, applied
from pipelines.motion_families import advise
from pipelines.prompts import encode_prompts
from pipelines.request import GenerationRequest
from pipelines.steering import build_conditions, check_steering, weights_of
from pipelines.vae_files import AnyVae
from pipelines.version import VERSION

#: What decoding a frame costs beside one guided UNet pass over it: 40.2 against 35.5 TFLOP at 16×512×512.
DECODE_COST = 1.13
_NOT_KEPT = "An extension is not kept while it is made: interrupted, it starts at its beginning."
#: Previews may take this share of the time; a slow model has one every step, a fast one now and then.
PREVIEW_SHARE = 0.05


class FrameSink(Protocol):
    """Where frames go; leaving it cleanly completes the files, leaving it by an exception removes them."""

    @property
    def files(self) -> tuple[Path, ...]: ...

    @property
    def num_frames(self) -> int: ...

    def write(self, frames: np.ndarray) -> None: ...


OpenWriter = Callable[[GenerationRequest, str], AbstractContextManager[FrameSink]]
"""Opens the sink of a request's frames; the text is the recipe that its files carry."""


@cache
def default_store() -> ModelStore:
    """The models of this process, loaded once and shared.

    `STUDIO_WINDOWS` in the environment is the number of windows that go through the UNet together, 1 by default.
    """
    device = choose_device()
    return ModelStore(device.kind, device.torch_dtype, windows_a_call=int(os.environ.get("STUDIO_WINDOWS") or 1))


def generate(
    request: GenerationRequest,
    *,
    open_writer: OpenWriter,
    inputs: ClipInputs = NO_INPUTS,
    store: ModelStore | None = None,
    resume_from: DenoiseState | None = None,
    on_state: Callable[[DenoiseState], None] | None = None,
    checkpoints: Path | None = None,
) -> Iterator[Event]:
    """Make a clip, telling at every step how far it is.

    Stop it by closing the generator: it ends at the next step or window, and the writer removes what it began.

    Args:
        open_writer: Opens the sink of the frames, only once there are frames to write.
        inputs: The pictures and clips that the request names, opened.
        store: Models to use; this process's own by default.
        resume_from: A state `on_state` was given for this very request; its steps are not done again. Not for a
            request that extends a clip.
        on_state: Called with the state after every step; of an extension, as `denoise_extended` yields them.
        checkpoints: The folder where runs are kept until they are finished: one that was killed, or stopped, goes on
            from its last finished step when it is asked for again. One that extends a clip is not kept, which the
            clip's warnings say: it would take the way of its last frames through all steps.

    Yields:
        `Progress` for every call of the UNet and decoded chunk, and of downloads; one `Clip` at the end.

    Raises:
        InvalidRequestError: The request doesn't fit the model.
        WeightsError: A model can't be loaded.
        ValueError: `resume_from` is given for a request that extends a clip.
    """
    if resume_from and request.extended_from:
        raise ValueError("A run that extends a clip can't be resumed from a state")
    start = time.monotonic()
    base, motion = find_base_model(request.base_model), find_motion_module(request.motion_module)
    if motion.known_family:
        _check_window(request, motion.known_family.max_positions)
    entries = find_loras(request)
    check_inputs(request, inputs)
    check_steering(request, inputs)
    yield Progress(Stage.LOAD, 0, 1, note=f"{base.label} with {motion.label}")
    store = store or default_store()
    components = yield from following(partial(store.load, request.base_model, request.motion_module, request.vae))
    _check_window(request, components.family.max_positions)
    scheduler = build_scheduler(request, components.scheduler_config)
    plan = yield from _plan_loras(request.first_clip, entries, components)
    conditions, steering_weights = yield from _load_steering(request, inputs, store, components)
    weights = {**plan.weights, **steering_weights}
    checkpoint = _open_checkpoint(None if request.extended_from else checkpoints, request, components, weights)
    steps = len(scheduler.timesteps)
    state, kept = yield from begin(request.first_clip, inputs, components.vae, scheduler)
    found = resume_from or checkpoint.load()
    warnings = (*_advice(request, components), *plan.warnings)
    if found:
        state = found
        warnings += (
            f"Going on from {_place(request, state.step, state.iteration, steps)}, where an earlier run ended.",
        )
    if request.extended_from and checkpoints:
        warnings += (_NOT_KEPT,)
    with applied(components, request, plan):
        yield Progress(Stage.ENCODE, 0, 1, note=" ".join((*warnings, *checkpoint.warnings)))
        text = encode_prompts(
            components.tokenizers,
            components.text_encoders,
            prompt=plan.prompt,
            negative_prompt=plan.negative_prompt,
            clip_skip=request.clip_skip,
            blend=request.prompt_blend,
            zero_empty_negative=components.zero_empty_negative,
            tokens=plan.tokens,
        )
        work = _Work.plan(request, steps=steps, state=state)
        previews = _Previews(components.vae)
        for step in denoise_extended(
            request,
            unet=components.unet,
            scheduler=scheduler,
            text=text,
            state=state,
            windows_a_call=store.windows_a_call,
            kept=kept,
            conditions=conditions,
        ):
            work.windows_through(step.windows)
            preview = None
            if step.state:
                state = step.state
                if on_state:
                    on_state(state)
                checkpoint.save(state)
                preview = previews.next(step.estimate)
            note = _place_of(step, request, steps).capitalize()
            yield Progress(Stage.DENOISE, work.windows_done, work.windows_total, work.eta_s(), preview, note)
        warnings += tuple(checkpoint.warnings)
        read = {**components.weights, **weights}
        recipe = request.to_json(made_with={"app": f"AnimateDiff Studio {VERSION}", "weights": read})
        sink = yield from _write(request, inputs, components.vae, state.latents, open_writer(request, recipe), work)
    yield Clip(sink.files, recipe, sink.num_frames, time.monotonic() - start, warnings)
    checkpoint.remove()  # only now, when the caller has the clip


def _open_checkpoint(
    folder: Path | None, request: GenerationRequest, components: Components, added: Mapping[str, str]
) -> Checkpoint:
    unet = components.unet
    weights = {**components.weights, **added}
    return Checkpoint(folder, run_key(request, weights=weights, device=unet.device, dtype=unet.dtype))


def _place_of(step: DenoiseStep, request: GenerationRequest, steps: int) -> str:
    place = _place(request, step.step + 1, step.iteration, steps)
    return f"extension {step.block} of {len(plan_extension(request))}, {place}" if step.block else place


def _place(request: GenerationRequest, step: int, iteration: int, steps: int) -> str:
    place = f"step {step} of {steps}"
    return f"round {iteration + 1} of {request.iterations}, {place}" if request.iterations > 1 else place


def _advice(request: GenerationRequest, components: Components) -> list[str]:
    settings = request.model_dump()
    return [*advise_size(components.base, components.family.base, settings), *advise(components.family, settings)]


def _plan_loras(
    request: GenerationRequest, entries: Mapping[str, Lora], components: Components
) -> Generator[Event, None, LoraPlan]:
    loras = {}
    for name, entry in entries.items():
        yield Progress(Stage.LOAD, 0, 1, note=entry.label)
        loras[name] = yield from following(partial(load_lora, entry))
    return plan_loras(request, loras, models=components.lora_targets, motion_label=components.motion.label)


def _load_steering(
    request: GenerationRequest, inputs: ClipInputs, store: ModelStore, components: Components
) -> Generator[Event, None, tuple[Conditions, dict[str, str]]]:
    """What steers the clip beside its prompts, and what was read for it -> sha256."""
    controls = yield from following(partial(store.load_controls, request, components))
    adapters = yield from following(partial(store.load_adapters, request, components))
    built = build_conditions(request, inputs, controls=controls, adapters=adapters, vae=components.vae)
    return built, weights_of(controls, adapters)


def _write(
    request: GenerationRequest,
    inputs: ClipInputs,
    vae: AnyVae,
    latents: torch.Tensor,
    opened: AbstractContextManager[FrameSink],
    work: "_Work",
) -> Generator[Event, None, FrameSink]:
    """Decode the clip into the sink, one frame a call where the sink takes its time with each."""
    total = request.num_frames + len(request.frames_played_back)
    one_by_one = request.inserted_frames > 0 or request.upscale_by > 1
    done = 0
    with opened as sink:
        for frames in _played(request, inputs, vae, latents):
            for piece in frames[:, None] if one_by_one else frames[None]:
                sink.write(piece)
                done += len(piece)
                work.frames_decoded(len(piece))
                yield Progress(Stage.DECODE, done, total, work.eta_s())
    return sink


def _played(request: GenerationRequest, inputs: ClipInputs, vae: AnyVae, latents: torch.Tensor) -> Iterator[np.ndarray]:
    """Finished frames in the order they are played, chunk by chunk."""
    for _, frames in _decoded(request, inputs, vae, latents):
        yield frames
    # Decoded once more, for to keep the frames would take memory that grows with the clip.
    back = request.frames_played_back
    for first, frames in _decoded(request, inputs, vae, latents, backwards=True) if back else ():
        yield frames[[frame - first for frame in back if first <= frame < first + len(frames)]]


def _decoded(
    request: GenerationRequest, inputs: ClipInputs, vae: AnyVae, latents: torch.Tensor, *, backwards: bool = False
) -> Iterator[tuple[int, np.ndarray]]:
    """Finished frames, chunk by chunk, and the number of the first of each.

    Parts that an extension added are decoded by themselves, in the chunks that they were decoded in before: so their
    frames are the same bit for bit.
    """
    parts = latents.tensor_split(request.extended_from, dim=2)
    at = request.num_frames if backwards else 0
    for part in reversed(parts) if backwards else parts:
        for frames in decode_frames(vae, part, backwards=backwards):
            first = at - len(frames) if backwards else at
            yield first, composite(request, frames, inputs, first)
            at = first if backwards else at + len(frames)


def _check_window(request: GenerationRequest, max_positions: int) -> None:
    window = request.context_length if request.extended_from else min(request.context_length, request.num_frames)
    if 0 < request.inner_length < window:
        name, value, fix = "inner_length", request.inner_length, "Lower 'Inner window length'"
    else:
        name, value, fix = "context_length", request.context_length, "Lower 'Window length', or set an inner one"
    if min(value, window) > max_positions:
        raise InvalidRequestError(
            f"{name} must be at most the {max_positions} positions of the motion module "
            f"{request.motion_module!r}, got {value}. {fix}."
        )


@dataclass
class _Previews:
    """Pictures on the way, as long as they cost next to nothing; the first at once."""

    vae: AnyVae
    started: float = field(default_factory=time.monotonic)
    spent: float = 0.0

    def next(self, estimate: torch.Tensor | None) -> np.ndarray | None:
        begun = time.monotonic()
        if estimate is None or self.spent > PREVIEW_SHARE * (begun - self.started):
            return None
        picture = preview_frame(self.vae, estimate)
        self.spent += time.monotonic() - begun
        return picture


@dataclass
class _Work:
    """Planned and finished work; one unit is a frame through the UNet. The totals come from the plan itself."""

    windows_total: int
    units_a_window: int
    units_total: float
    started: float
    windows_done: int = 0
    units_done: float = 0.0

    @classmethod
    def plan(cls, request: GenerationRequest, *, steps: int, state: DenoiseState) -> "_Work":
        iterations_left = request.iterations - state.iteration
        windows = iterations_left * count_all_windows(request, steps) - count_windows(request.first_clip, state.step)
        frames = min(request.context_length, request.num_frames)
        total = windows * frames + DECODE_COST * (request.num_frames + len(request.frames_played_back))
        return cls(windows, frames, total, time.monotonic())

    def windows_through(self, count: int) -> None:
        self.windows_done += count
        self.units_done += count * self.units_a_window

    def frames_decoded(self, count: int) -> None:
        self.units_done += DECODE_COST * count

    def eta_s(self) -> float | None:
        """Seconds left at the pace so far; None before anything is done."""
        if not self.units_done:
            return None
        return (time.monotonic() - self.started) / self.units_done * max(0.0, self.units_total - self.units_done)
