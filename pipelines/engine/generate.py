"""Generate a clip: load, encode prompts, denoise by windows, decode into writer."""

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch

from pipelines.engine.base_models.vae_files import AnyVae
from pipelines.engine.checkpoint import Checkpoint, run_key
from pipelines.engine.decode import decode_chunk, split_chunks
from pipelines.engine.denoise import DenoiseState, build_scheduler
from pipelines.engine.device import choose_device
from pipelines.engine.extend import denoise_extended
from pipelines.engine.hires import resize_inputs
from pipelines.engine.init_latents import check_inputs, prepare_hires_latents, prepare_latents
from pipelines.engine.interruptible import Pace, in_thread
from pipelines.engine.lora.merged import LoraPlan, find_loras, load_lora, plan_loras
from pipelines.engine.masks import composite
from pipelines.engine.models import Components, ModelStore, applied
from pipelines.engine.previews import Previews, Work, is_moving
from pipelines.engine.prompt_states import TextStates, encode_prompts
from pipelines.engine.steering.build import build_conditions, check_steering, weights_of
from pipelines.engine.steering.control.store import LoadedControl
from pipelines.engine.steering.image_prompts import LoadedAdapter
from pipelines.engine.weights.downloads import track_downloads
from pipelines.plan.catalog import advise_size, find_base_model, find_motion_module
from pipelines.plan.catalog_entries import Lora
from pipelines.plan.clip_inputs import NO_INPUTS, ClipInputs
from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.events import Clip, Event, Progress, Stage
from pipelines.plan.faults import Fault
from pipelines.plan.motion_families import advise
from pipelines.plan.notes import Note, listed
from pipelines.plan.plan import Pass, Plan, plan_of
from pipelines.plan.prompt.dialect import foreign_notes
from pipelines.plan.request import GenerationRequest
from pipelines.plan.settings import process_settings
from pipelines.plan.version import VERSION


class FrameSink(Protocol):
    """Receiver of frames; exiting completes its files, an exception removes them."""

    @property
    def files(self) -> tuple[Path, ...]: ...

    @property
    def num_frames(self) -> int: ...

    def write(self, frames: np.ndarray) -> None: ...


OpenWriter = Callable[[GenerationRequest, str], AbstractContextManager[FrameSink]]
"""Opens the sink of a request's frames; the text is the recipe that its files carry."""


@cache
def default_store() -> ModelStore:
    """Return the models of this process, loaded once and shared."""
    device = choose_device()
    return ModelStore(device.kind, device.torch_dtype, windows_a_call=process_settings().windows)


def generate(
    clip: GenerationRequest | Plan,
    *,
    open_writer: OpenWriter,
    inputs: ClipInputs = NO_INPUTS,
    store: ModelStore | None = None,
    resume_from: DenoiseState | None = None,
    on_state: Callable[[DenoiseState], None] | None = None,
    checkpoints: Path | None = None,
    frames_done: int | None = None,
) -> Iterator[Event]:
    """Generate a clip, yielding progress at every step.

    Stop it by closing the generator: it ends at the next step or window, and the writer removes what it began.

    Args:
        clip: What to make; its plan where the caller has it.
        open_writer: Opens the sink of the frames, only once there are frames to write.
        inputs: The pictures and clips that the request names, opened.
        store: Models to use; this process's own by default.
        resume_from: A state `on_state` was given for this very request; its steps are not done again. Not for a
            request that has two passes.
        on_state: Called with the state after every step; of an extension, as `denoise_extended` yields them.
        checkpoints: The folder where runs are kept until they are finished: one that was killed, or stopped, goes on
            from its last finished step when it is asked for again.
        frames_done: For a later turn of a run that takes several: how many frames the turns before have handed over,
            which are not handed over again. None in the first. A turn ends when the caller closes the iterator; the
            next one goes on from the last step, if there are `checkpoints`.

    Yields:
        `Progress` for every call of the UNet and decoded chunk, and of downloads; one `Clip` at the end.

    Raises:
        InvalidRequestError: The request doesn't fit the model.
        WeightsError: A model can't be loaded.
        ValueError: `resume_from` is given for a request that has two passes.
    """
    plan = clip if isinstance(clip, Plan) else plan_of(clip)
    request = plan.request
    if resume_from and len(plan.passes) > 1:
        raise ValueError("A run that has two passes can't be resumed from a state")
    start = time.monotonic()
    base, motion = find_base_model(request.base_model), find_motion_module(request.motion_module)
    if motion.known_family:
        _check_window(request, motion.known_family.max_positions)
    entries = find_loras(request)
    check_inputs(request, inputs)
    check_steering(request, inputs)
    yield Progress(Stage.LOAD, 0, 1, note=f"{base.label} with {motion.label}")
    store = store or default_store()
    components = yield from track_downloads(partial(store.load, request.base_model, request.motion_module, request.vae))
    _check_window(request, components.family.max_positions)
    steps = len(build_scheduler(request, components.scheduler_config).timesteps)
    passes = (plan if steps == plan.passes[0].steps else plan_of(request, steps=steps)).passes
    lora_plan = yield from _plan_loras(request, entries, components)
    controls = yield from track_downloads(partial(store.load_controls, request, components))
    adapters = yield from track_downloads(partial(store.load_adapters, request, components))
    weights = {**components.weights, **lora_plan.weights, **weights_of(controls, adapters)}
    runs = [_open_checkpoint(checkpoints, each.request, components, weights) for each in passes]
    saved_states = [resume_from or run.load() for run in runs]
    prompt_notes = foreign_notes(request.prompt, request.negative_prompt)
    warnings = (*prompt_notes, *components.notes, *_advice(request, components), *lora_plan.warnings)
    for number, state in reversed(list(enumerate(saved_states))):
        if state and frames_done is None:
            place = _place(passes[number], state.step, iteration=state.iteration, block=state.block)
            where = listed([*_pass_notes(number, passes), *place])
            warnings += (f"Going on from {where}, where an earlier run ended.",)
            break
    with applied(components, request, lora_plan), _saved_when_closed(runs):
        yield Progress(Stage.ENCODE, 0, 1, note=" ".join((*warnings, *_warnings(runs))))
        text = encode_prompts(
            components.tokenizers,
            components.text_encoders,
            prompt=lora_plan.prompt,
            negative_prompt=lora_plan.negative_prompt,
            clip_skip=request.clip_skip,
            blend=request.prompt_blend,
            zero_empty_negative=components.zero_empty_negative,
            tokens=lora_plan.tokens,
        )
        text = replace(text, size_ids=components.family.size_ids)
        work = Work(sum(map(_windows_left, passes, saved_states)))
        previews = Previews(components.vae, is_moving(passes[0].request))
        runner = _PassRunner(inputs, store, components, controls, adapters, text, work, previews, on_state)
        state = None
        for number, (each, run, saved_state) in enumerate(zip(passes, runs, saved_states, strict=True)):
            state = yield from runner.run(each, state, saved_state, run, note=_pass_notes(number, passes))
        assert state
        warnings += _warnings(runs)
        recipe = request.to_json(made_with={"app": f"AnimateDiff Studio {VERSION}", "weights": weights})
        writer = open_writer(request, recipe)
        sink = yield from _write(passes[-1].request, inputs, components.vae, state.latents, writer, frames_done or 0)
    yield Clip(sink.files, recipe, sink.num_frames, time.monotonic() - start, warnings)
    for run in runs:
        run.remove()  # only now, when the caller has the clip


@dataclass(frozen=True)
class _PassRunner:
    """Denoise the passes of a clip with the models they share."""

    inputs: ClipInputs
    store: ModelStore
    components: Components
    controls: tuple[LoadedControl, ...]
    adapters: tuple[LoadedAdapter, ...]
    text: TextStates
    work: Work
    previews: Previews
    on_state: Callable[[DenoiseState], None] | None

    def run(
        self,
        planned: Pass,
        before: DenoiseState | None,
        saved_state: DenoiseState | None,
        checkpoint: Checkpoint,
        note: list[Note],
    ) -> Generator[Event, None, DenoiseState]:
        """Denoise one pass.

        Args:
            before: The pass before it, finished; None for the first.
            saved_state: Where an earlier run of this pass ended.
            checkpoint: Where its states are kept.
            note: What comes before each place in words.

        Returns:
            The state after the last step.
        """
        request, parts = planned.request, self.components
        inputs = resize_inputs(request, self.inputs)
        scheduler = build_scheduler(request, parts.scheduler_config)
        conditions = build_conditions(request, inputs, controls=self.controls, adapters=self.adapters, vae=parts.vae)
        if before is None:
            state, known_region = yield from prepare_latents(request.first_clip, inputs, parts.vae, scheduler)
        else:
            state, known_region = yield from prepare_hires_latents(request, inputs, parts.vae, scheduler, before)
        state = saved_state or state
        steps = denoise_extended(
            request,
            unet=parts.unet,
            scheduler=scheduler,
            text=self.text,
            state=state,
            windows_a_call=self.store.windows_a_call,
            known_region=known_region,
            conditions=conditions,
        )
        with closing(steps):  # a call that is going on ends before the models are put back
            for step in steps:
                self.work.windows_done += step.windows
                place = _place(planned, step.step + 1, iteration=step.iteration, block=step.block)
                step_note = listed([*note, *place]).capitalized()
                progress = Progress(
                    Stage.DENOISE, self.work.windows_done, self.work.windows_total, note=step_note, share=step.share
                )
                if step.state:
                    state = step.state
                    if self.on_state:
                        self.on_state(state)
                    checkpoint.save(state)
                    preview = yield from in_thread(partial(self.previews.next, step.estimate), Pace(), progress)
                    progress = replace(progress, preview=preview)
                yield progress
        return state


@contextmanager
def _saved_when_closed(runs: Sequence[Checkpoint]) -> Iterator[None]:
    """Save the runs' last states if the caller stops them."""
    try:
        yield
    except (GeneratorExit, KeyboardInterrupt):
        for run in runs:
            run.keep_last()
        raise


def _windows_left(planned: Pass, state: DenoiseState | None) -> int:
    if not state:
        return planned.windows
    before = planned.windows_before(state.iteration, block=state.block, step=state.step)
    return planned.windows_before(planned.request.iterations) - before


def _pass_notes(number: int, passes: Sequence[Pass]) -> list[Note]:
    """Describe which pass it is, if there are several."""
    if len(passes) == 1:
        return []
    return [Note("progress.pass", "pass {number} of {count}", number=number + 1, count=len(passes))]


def _warnings(runs: Sequence[Checkpoint]) -> tuple[str, ...]:
    return tuple(warning for run in runs for warning in run.warnings)


def _open_checkpoint(
    folder: Path | None, request: GenerationRequest, components: Components, weights: Mapping[str, str]
) -> Checkpoint:
    unet = components.unet
    return Checkpoint(folder, run_key(request, weights=weights, device=unet.device, dtype=unet.dtype))


def _place(planned: Pass, step: int, *, iteration: int, block: int) -> list[Note]:
    place = Note("progress.step", "step {step} of {steps}", step=step, steps=planned.steps)
    if block:
        count = len(planned.blocks)
        return [Note("progress.extension", "extension {number} of {count}", number=block, count=count), place]
    if (rounds := planned.request.iterations) > 1:
        return [Note("progress.round", "round {number} of {count}", number=iteration + 1, count=rounds), place]
    return [place]


def _advice(request: GenerationRequest, components: Components) -> list[str]:
    settings = request.model_dump()
    return [*advise_size(components.base, components.family.base, settings), *advise(components.family, settings)]


def _plan_loras(
    request: GenerationRequest, entries: Mapping[str, Lora], components: Components
) -> Generator[Event, None, LoraPlan]:
    loras = {}
    for name, entry in entries.items():
        yield Progress(Stage.LOAD, 0, 1, note=entry.label)
        loras[name] = yield from track_downloads(partial(load_lora, entry))
    return plan_loras(request, loras, models=components.lora_targets, motion_label=components.motion.label)


def _write(
    request: GenerationRequest,
    inputs: ClipInputs,
    vae: AnyVae,
    latents: torch.Tensor,
    opened: AbstractContextManager[FrameSink],
    frames_done: int,
) -> Generator[Event, None, FrameSink]:
    """Decode the clip into the sink, frame by frame if slow."""
    total = request.num_frames + len(request.frames_played_back)
    one_by_one = request.inserted_frames > 0 or request.upscale_by > 1
    done = frames_done
    pace = Pace()
    with opened as sink:
        for chunk in _chunks_played(request, latents, skipped=done):
            decode = partial(decode_chunk, vae, chunk.latents, chunk.decoded)
            decoded = yield from in_thread(decode, pace, Progress(Stage.DECODE, done, total))
            frames = composite(request, decoded, inputs, chunk.start + chunk.decoded.start)
            frames = frames[[frame - chunk.decoded.start for frame in chunk.played]]
            for piece in frames[:, None] if one_by_one else frames[None]:
                sink.write(piece)
                done += len(piece)
                yield Progress(Stage.DECODE, done, total)
    return sink


class _Chunk(NamedTuple):
    """Frames that are decoded together.

    Args:
        latents: Those of the clip or a part that an extension added.
        start: The part's first frame in the clip.
        decoded: Its frames that are decoded.
        played: Those of them that are wanted, in the order they are played.
    """

    latents: torch.Tensor
    start: int
    decoded: range
    played: Sequence[int]


def _chunks_played(request: GenerationRequest, latents: torch.Tensor, *, skipped: int) -> Iterator[_Chunk]:
    """Split a clip into chunks in the order they are played.

    Parts that an extension added are decoded by themselves, in the chunks that they were decoded in before: so their
    frames are the same bit for bit. What is played back is decoded once more, for to keep the frames would take memory
    that grows with the clip.

    Args:
        skipped: Frames at the beginning that are not wanted.
    """
    forth = []
    for start, part in zip(
        (0, *request.extended_from), latents.tensor_split(request.extended_from, dim=2), strict=True
    ):
        forth += [_Chunk(part, start, frames, frames) for frames in split_chunks(part)]
    played_back = set(request.frames_played_back)
    back = [
        chunk._replace(played=[frame for frame in reversed(chunk.decoded) if chunk.start + frame in played_back])
        for chunk in reversed(forth)
    ]
    for chunk in (*forth, *back):
        played = chunk.played[skipped:]
        skipped = max(0, skipped - len(chunk.played))
        if played:
            yield chunk._replace(played=played)


def _check_window(request: GenerationRequest, max_positions: int) -> None:
    window = request.window_frames
    if 0 < request.inner_length < window:
        code, name, fix = "windows.inner_longer_than_module", "inner_length", "Lower {inner_length:label}"
    else:
        code, name = "windows.longer_than_module", "context_length"
        fix = "Lower {context_length:label}, or set an inner one"
    value = getattr(request, name)
    if min(value, window) > max_positions:
        raise InvalidRequestError(
            Fault(
                code=code,
                field=name,
                rule="be at most the {limit} positions of the motion module {module:s}",
                got=value,
                fix=fix,
                limit=max_positions,
                values={"module": request.motion_module},
            )
        )
