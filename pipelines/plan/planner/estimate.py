"""Estimate a clip's seconds and memory, and how to make it fit."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from pipelines.plan.choices import Scheduler
from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.events import Stage
from pipelines.plan.notes import Note
from pipelines.plan.plan import Pass, Plan, plan_of
from pipelines.plan.planner.costs import CELL, cells_of, control_network, cost_of, kind_of, networks_of
from pipelines.plan.planner.machine import QUOTA_FACTOR, TURN_MARGIN_S, Machine, device_bytes, ram_bytes, this_machine
from pipelines.plan.planner.pace import Pace, in_memory, models_of, pace_of, read_runs
from pipelines.plan.planner.tasks import READ, tasks_of
from pipelines.plan.request import GenerationRequest
from pipelines.plan.settings import process_settings, settings

ROOM = 0.92
"""Of the memory there is, a clip may take this share: allocators lose some to gaps."""

_CHUNK_CELLS = 1024  # decoded at once, one frame at least
_PROGRAM_RAM = 0.9e9  # with torch, before anything is loaded
_CUDA_RAM = 2.0e9  # the same with CUDA's libraries
_CUDA_CONTEXT = 0.5e9  # of the card
_LATENT_BYTES = 16  # a cell: 4 values in float32
_SHORTEST_WINDOW = 8
_SMALLEST_SIDE = 64


@dataclass(frozen=True)
class Estimate:
    """Estimated time and memory of clips.

    Args:
        seconds: From the press to the last file, on a machine that does nothing else.
        device_seconds: Of them, those in which a lent device is held: all but finishing and writing frames.
        peak_bytes_device: Memory of the device at the worst moment; of a CPU that is `peak_bytes_ram`.
        peak_bytes_ram: Of the program.
        zero_gpu_seconds: What it takes of ZeroGPU's quota; None elsewhere.
        turns: How often the device is asked for; elsewhere once for each clip.
        is_rough: Whether no clip of such a model has been made here to go by.
        stages: The seconds of each stage. Frames are finished while they are decoded.
        clips: How many clips.
    """

    seconds: float
    device_seconds: float
    peak_bytes_device: float
    peak_bytes_ram: float
    zero_gpu_seconds: float | None
    turns: int
    is_rough: bool
    stages: Mapping[Stage, float]
    clips: int = 1


@dataclass(frozen=True)
class Budget:
    """Memory there is, bytes; None where nobody can tell."""

    device: float | None
    ram: float | None

    def holds(self, estimate: Estimate) -> bool:
        """Tell whether there is room for a clip; assumed if unknown."""
        needs = ((estimate.peak_bytes_device, self.device), (estimate.peak_bytes_ram, self.ram))
        return all(there is None or needed <= ROOM * there for needed, there in needs)


def this_budget(machine: Machine | None = None) -> Budget:
    """Return the memory of this machine."""
    return Budget(device_bytes(machine or this_machine()), ram_bytes())


def estimate(request: GenerationRequest, *, clips: int = 1, machine: Machine | None = None) -> Estimate:
    """Estimate one clip, or several that differ only in their seeds.

    Raises:
        InvalidRequestError: `strength` leaves no step.
    """
    return estimate_plan(plan_of(request), clips=clips, machine=machine)


def estimate_plan(plan: Plan, *, clips: int = 1, machine: Machine | None = None) -> Estimate:
    """Estimate planned clips that differ only in their seeds."""
    return _estimate([(plan, clips)], machine or this_machine())


def estimate_all(requests: Sequence[GenerationRequest], *, machine: Machine | None = None) -> Estimate:
    """Estimate clips made one after the other, such as a grid's.

    Models are loaded, and control clips made, for the first that needs them.

    Args:
        requests: At least one.
        machine: Where they are made; this one if not given.

    Raises:
        InvalidRequestError: `strength` leaves no step.
    """
    # Neighbours that differ only in their seeds are estimated once.
    alike = groupby(request.model_copy(update={"seed": 0}) for request in requests)
    return _estimate([(plan_of(request), len(list(same))) for request, same in alike], machine or this_machine())


def _estimate(plans: Sequence[tuple[Plan, int]], machine: Machine) -> Estimate:
    """Estimate clips, each made so many times."""
    stages = dict.fromkeys(Stage, 0.0)
    held, turns, device, ram, is_rough = 0.0, 0, 0.0, 0.0, False
    before: GenerationRequest | None = None
    for plan, count in plans:
        request = plan.request
        pace = pace_of(machine, kind_of(request.base_model))
        is_rough = is_rough or pace.is_rough
        device, ram = map(max, (device, ram), peak_bytes(plan, machine))
        for times, previous in ((1, before), (count - 1, request)):
            if not times:
                continue
            engine, tasks = _seconds(plan, previous, pace, machine)
            for stage in Stage:
                stages[stage] += times * (engine.get(stage, 0.0) + tasks[stage])
            lent = sum(engine.values()) + tasks[Stage.PREPROCESS]
            held += times * lent
            turns += times * (turns_of(lent) if machine.kind == "zerogpu" and not request.extended_from else 1)
        before = request
    return Estimate(
        seconds=sum(stages.values()),
        device_seconds=held,
        peak_bytes_device=device,
        peak_bytes_ram=ram,
        zero_gpu_seconds=QUOTA_FACTOR * held if machine.kind == "zerogpu" else None,
        turns=turns,
        is_rough=is_rough,
        stages=stages,
        clips=sum(count for _, count in plans),
    )


def turns_of(seconds: float) -> int:
    """Count the ZeroGPU turns of a clip that needs these seconds."""
    return max(1, math.ceil(seconds / max(1, settings().max_gpu_seconds - TURN_MARGIN_S)))


def _seconds(
    plan: Plan, before: GenerationRequest | None, pace: Pace, machine: Machine
) -> tuple[dict[Stage, float], dict[Stage, float]]:
    """Estimate each stage's seconds, of the engine's networks and all else.

    Args:
        before: The clip that was made just before; None where nobody knows.
    """
    request, models = plan.request, models_of(plan.request)
    if before:
        loaded = models_of(before) == models
    else:
        loaded = in_memory(read_runs(machine, kind_of(request.base_model)), models)
    engine = pace.engine_seconds(cost_of(plan, windows_a_call=process_settings().windows), loaded=loaded)
    tasks = dict.fromkeys(Stage, 0.0)
    is_kept = before is not None and _control_clips(before) == _control_clips(request)
    for task in tasks_of(request):
        if not (is_kept and task.stage is Stage.PREPROCESS and task.name != READ):
            tasks[task.stage] += pace.task_seconds(task)
    return engine, tasks


def _control_clips(request: GenerationRequest) -> object:
    """Return all that decides a request's control clips, which are reused."""
    return request.controls, request.source_video, request.clip_size, request.num_frames


def peak_bytes(plan: Plan, machine: Machine) -> tuple[float, float]:
    """Estimate peak memory of device and program, one on a CPU.

    Weights, the values that live in a call of the UNet or of the VAE, whichever are more, and on the CPU the
    latents of the whole clip: those of a step and the prediction, what the sampler remembers, and what FreeInit
    takes between two rounds.
    """
    request, nets = plan.request, networks_of(plan.request)
    names = ["unet", "text", "vae_decoder", "vae_encoder", *(["image_encoder"] if request.image_prompts else [])]
    # A model that two units share is held once.
    names += [control_network(model) for model in {unit.model for unit in request.controls}]
    weights = sum(nets[name].parameters for name in names if name in nets) * machine.bytes_a_value
    live = max(map(_live_values, plan.passes)) * machine.bytes_a_value
    clips = 2 + (request.scheduler is Scheduler.DPMPP_2M) + (4 if request.iterations > 1 else 0)
    width, height = request.clip_size
    latents = clips * _LATENT_BYTES * request.num_frames * (width * height // CELL)
    if machine.kind == "cpu":
        together = _PROGRAM_RAM + weights + live + latents
        return together, together
    return _CUDA_CONTEXT + weights + live, _CUDA_RAM + latents


def _live_values(planned: Pass) -> int:
    """Count values in memory at once while a pass is computed."""
    request, nets = planned.request, networks_of(planned.request)
    images = (2 if request.guidance_scale > 1 else 1) * min(process_settings().windows, planned.step_windows[0])
    window = nets["unet"].live * images * request.window_frames * cells_of(request)
    frames = max(1, _CHUNK_CELLS // cells_of(request))
    return max(window, nets["vae_decoder"].live * frames * cells_of(request))


def fit(request: GenerationRequest, budget: Budget, *, machine: Machine | None = None) -> dict[str, float]:
    """Find changes to fit memory: second pass, then window, then size.

    Returns:
        Fields and their new values; empty if it fits, or if none of it helps.

    Example:
        >>> large = GenerationRequest.build(seed=0, width=1024, height=1024, base_model="demo")
        >>> fit(large, Budget(None, None))
        {}
    """
    machine = machine or this_machine()
    for changes in _ways(request):
        try:
            changed = GenerationRequest.build(**request.model_dump() | changes)
            if budget.holds(estimate(changed, machine=machine)):
                return changes
        except InvalidRequestError:
            continue  # as a window that an extension needs
    return {}


def advice(changes: Mapping[str, float]) -> Note:
    """Describe the changes for a clip that won't fit.

    Args:
        changes: What `fit` found.
    """
    if not changes:
        smaller = "Use a smaller model or a machine with more memory."
        if process_settings().windows > 1:
            return Note("advice.fewer_windows", f"{smaller} Whoever runs it may set STUDIO_WINDOWS=1.")
        return Note("advice.smaller", smaller)
    parts = []
    if "hires_scale" in changes:
        scale = changes["hires_scale"]
        lower = Note("advice.lower", "lower 'Second pass' to {scale:g}", scale=scale)
        parts.append(Note("advice.leave_out", "leave out the second pass") if scale == 1 else lower)
    if "context_length" in changes:
        length = changes["context_length"]
        parts.append(Note("advice.shorten", "shorten the window to {frames} frames", frames=length))
    if "width" in changes:
        parts.append(
            Note("advice.make_it", "make it {width}×{height}", width=changes["width"], height=changes["height"])
        )
    words = parts[0]
    for part in parts[1:]:
        words = Note("advice.and", "{first} and {rest}", first=words, rest=part)
    return Note("advice.sentence", "{words}.", words=words.capitalized())


def _ways(request: GenerationRequest) -> Iterator[dict[str, float]]:
    """Yield changes, from none to a small clip in short windows."""
    changes: dict[str, float] = {}
    yield changes
    quarters = int(4 * (request.hires_scale - 1))
    for left in reversed(range(quarters)):
        changes = {"hires_scale": 1 + left / 4}
        yield changes
    length = request.window_frames
    shared = max(request.context_overlap, request.inner_length if request.inner_length < length else 0)
    for shorter in (24, 16, 12, _SHORTEST_WINDOW):
        if shared < shorter < length:
            changes = changes | {"context_length": shorter}
            yield changes
    for eighths in (7, 6, 5, 4, 3, 2):
        width, height = (max(_SMALLEST_SIDE, side * eighths // 64 * 8) for side in (request.width, request.height))
        yield changes | {"width": width, "height": height}
