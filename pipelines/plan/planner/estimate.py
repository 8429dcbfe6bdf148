"""Estimate clips' seconds and memory, and how to make one fit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import accumulate
from math import ceil
from operator import or_

from pipelines.plan.choices import Scheduler
from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.events import Stage
from pipelines.plan.notes import Note
from pipelines.plan.plan import Plan, plan_of
from pipelines.plan.planner.costs import cells_of, control_network, networks_of
from pipelines.plan.planner.machine import (
    QUOTA_FACTOR,
    TURN_MARGIN_S,
    Machine,
    device_bytes,
    models_in_memory,
    ram_bytes,
    read_rates,
    this_machine,
)
from pipelines.plan.planner.tasks import READ, Task, models_of, tasks_of
from pipelines.plan.request import GenerationRequest
from pipelines.plan.settings import process_settings, settings

ROOM = 0.92
"""Of the memory there is, a clip may take this share: allocators lose some to gaps."""

_CHUNK_CELLS = 1024  # decoded at once, one frame at least
_PROGRAM_RAM = 0.9e9  # with torch, before anything is loaded
_CUDA_RAM = 2.0e9  # the same with CUDA's libraries
_CUDA_CONTEXT = 0.5e9  # of the card
_LATENT_BYTES = 16  # a cell: 4 values in float32


@dataclass(frozen=True)
class Estimate:
    """Estimated time and memory of clips."""

    seconds: float  # from the press to the last file, on a machine that does nothing else
    device_seconds: float  # of them, those in which a lent device is held: all but finishing and writing frames
    peak_bytes_device: float  # at the worst moment; of a CPU that is `peak_bytes_ram`
    peak_bytes_ram: float  # of the program
    zero_gpu_seconds: float | None  # what it takes of ZeroGPU's quota; None elsewhere
    turns: int  # how often the device is asked for; elsewhere once for each clip
    is_rough: bool  # no clip of such a model has been made here to go by
    stages: Mapping[Stage, float]  # seconds; frames are finished while they are decoded
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


def this_budget() -> Budget:
    """Return the memory of this machine."""
    return Budget(device_bytes(this_machine()), ram_bytes())


def estimate(*requests: GenerationRequest, machine: Machine | None = None) -> Estimate:
    """Estimate clips that are made one after the other, on this machine.

    Models are loaded, and control clips made, for the first that needs them.

    Raises:
        InvalidRequestError: `strength` leaves no step.
    """
    machine = machine or this_machine()
    rates, is_zero_gpu = read_rates(machine), machine.kind == "zerogpu"
    turn_s = max(1, settings().max_gpu_seconds - TURN_MARGIN_S)
    models, device_s, turns = models_in_memory(machine), 0.0, 0
    tasks: list[Task] = []
    before: list[Task] = []
    peaks: list[tuple[float, float]] = []
    plan: Plan | None = None
    for request in (each.model_copy(update={"seed": 0}) for each in requests):
        if not plan or plan.request != request:  # clips that differ only in their seeds are planned once
            plan = plan_of(request)
            peaks.append(peak_bytes(plan, machine))
        # Control clips are reused, but for reading what they are made from.
        reused = [task for task in before if task.stage is Stage.PREPROCESS and task.name != READ]
        before, models = tasks_of(plan, machine.kind, models), "" if is_zero_gpu else models_of(request)
        of_clip = [task for task in before if task not in reused]
        in_turns = is_zero_gpu and not request.extended_from  # an extension is not kept between them
        lent_s = sum(task.seconds(rates) for task in of_clip if task.is_lent)
        turns += max(1, ceil(lent_s / turn_s)) if in_turns else 1
        device_s += lent_s
        tasks += of_clip
    stages = stage_seconds(tasks, rates)
    device, ram = map(max, zip(*peaks, strict=True))
    return Estimate(
        seconds=sum(stages.values()),
        device_seconds=device_s,
        peak_bytes_device=device,
        peak_bytes_ram=ram,
        zero_gpu_seconds=QUOTA_FACTOR * device_s if is_zero_gpu else None,
        turns=turns,
        is_rough=any(task.stage is Stage.DENOISE and task.name not in rates for task in tasks),
        stages=stages,
        clips=len(requests),
    )


def stage_seconds(tasks: Sequence[Task], rates: Mapping[str, float]) -> dict[Stage, float]:
    """Estimate the seconds of each stage."""
    return {stage: sum(task.seconds(rates) for task in tasks if task.stage is stage) for stage in Stage}


def peak_bytes(plan: Plan, machine: Machine) -> tuple[float, float]:
    """Estimate peak memory of device and program, one on a CPU.

    Weights, the values that live in a call of the UNet or of the VAE, whichever are more, and on the CPU the
    latents of the whole clip: those of a step and the prediction, what the sampler remembers, and what FreeInit
    takes between two rounds.
    """
    request, nets, value_bytes = plan.request, networks_of(plan.request), 4 if machine.dtype == "float32" else 2
    names = ["unet", "text", "vae_decoder", "vae_encoder", *(["image_encoder"] if request.image_prompts else [])]
    # A model that two units share is held once.
    names += [control_network(model) for model in {unit.model for unit in request.controls}]
    weights = sum(nets[name].parameters for name in names if name in nets) * value_bytes
    windows = min(process_settings().windows, plan.passes[0].step_windows[0])
    frames = (2 if request.guidance_scale > 1 else 1) * windows * request.window_frames
    live = 0
    for cells in (cells_of(each.request) for each in plan.passes):
        chunk = max(cells, _CHUNK_CELLS // cells * cells)
        live = max(live, nets["unet"].live * frames * cells, nets["vae_decoder"].live * chunk)
    clips = 2 + (request.scheduler is Scheduler.DPMPP_2M) + (4 if request.iterations > 1 else 0)
    latents = clips * _LATENT_BYTES * request.num_frames * cells_of(plan.passes[-1].request)
    if machine.kind == "cpu":
        return (_PROGRAM_RAM + weights + live * value_bytes + latents,) * 2
    return _CUDA_CONTEXT + weights + live * value_bytes, _CUDA_RAM + latents


def fit(request: GenerationRequest, budget: Budget, *, machine: Machine | None = None) -> dict[str, float]:
    """Find changes to fit memory: second pass, then window, then size.

    Empty if it fits, or if none of it helps.
    """
    scales = [1 + quarters / 4 for quarters in reversed(range(int(4 * (request.hires_scale - 1))))]
    sides, length = {"width": request.width, "height": request.height}, request.window_frames
    shared = max(request.context_overlap, request.inner_length if request.inner_length < length else 0)
    lengths = [shorter for shorter in (24, 16, 12, 8) if shared < shorter < length]
    steps: list[dict[str, float]] = [{}]
    steps += [{"hires_scale": scale} for scale in scales]
    steps += [{"context_length": shorter} for shorter in lengths]
    steps += [
        {name: max(64, side * eighths // 64 * 8) for name, side in sides.items()} for eighths in (7, 6, 5, 4, 3, 2)
    ]
    for changes in accumulate(steps, or_):
        try:
            changed = GenerationRequest.build(**request.model_dump() | changes)
            if budget.holds(estimate(changed, machine=machine)):
                return changes
        except InvalidRequestError:
            continue  # as a window that an extension needs
    return {}


def advice(changes: Mapping[str, float]) -> Note:
    """Describe the changes that `fit` found."""
    if not changes:
        smaller = "Use a smaller model or a machine with more memory."
        if process_settings().windows > 1:
            return Note("advice.fewer_windows", f"{smaller} Whoever runs it may set STUDIO_WINDOWS=1.")
        return Note("advice.smaller", smaller)
    parts = []
    if scale := changes.get("hires_scale"):
        lower = Note("advice.lower", "lower 'Second pass' to {scale:g}", scale=scale)
        parts.append(Note("advice.leave_out", "leave out the second pass") if scale == 1 else lower)
    if length := changes.get("context_length"):
        parts.append(Note("advice.shorten", "shorten the window to {frames} frames", frames=length))
    if width := changes.get("width"):
        parts.append(Note("advice.make_it", "make it {width}×{height}", width=width, height=changes["height"]))
    words = reduce(lambda first, rest: Note("advice.and", "{first} and {rest}", first=first, rest=rest), parts)
    return Note("advice.sentence", "{words}.", words=words.capitalized())
