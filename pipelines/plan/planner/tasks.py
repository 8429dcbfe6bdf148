"""Tasks of a clip: their work, and assumed rates until measured ones.

Whoever does a task beside the engine's networks measures it under its name.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from math import ceil, prod
from typing import NamedTuple

from pipelines.plan.choices import ColorMatch, Interpolation, OutputFormat
from pipelines.plan.events import Stage
from pipelines.plan.plan import Plan
from pipelines.plan.planner.costs import frame_flops, kind_of, reading_flops, window_flops
from pipelines.plan.request import GenerationRequest
from pipelines.plan.settings import process_settings

Measure = Callable[[str], AbstractContextManager[None]]
"""Counts the time inside the context for the task of this name."""

READ = "read"
COLORS = "match colours"
preprocess_task = "preprocess {}".format
between_task = "between {}".format
enlarge_task = "enlarge {}".format
write_task = "write {}".format

WITHOUT_NETWORKS = frozenset(
    {"none", "invert", "canny", "scribble_xdog", "lineart_standard", "shuffle", "tile", "blur"}
)
"""The preprocessors that look at every pixel; the others look at a picture of their own size."""

START = 2_000_000
"""To start and end ffmpeg takes as long as so many pixels, roughly: small clips must not make large ones look slow."""

_SPEEDS = {
    "cpu": (100e9, 12e9, 70e9, 0.055, 4.0),
    "cuda": (40e12, 40e12, 40e12, 0.05, 10.0),
    "xpu": (15e12, 15e12, 15e12, 0.1, 10.0),
    "mps": (3e12, 3e12, 3e12, 0.1, 10.0),
    "zerogpu": (150e12, 150e12, 100e12, 0.05, 15.0),
}
"""Operations a second of the UNet's layers, of attention and of the VAE; seconds of a call of the UNet beside them, and
of loading. With the demo model one core did 100 GFLOP/s in layers and 12 in attention; those of GPUs are assumed."""

_FORMATS = {
    OutputFormat.MP4: (6e-8, START, 0.04),
    OutputFormat.WEBM: (6e-8, START, 0.005),
    OutputFormat.GIF: (6e-8, START, 0.25),
    OutputFormat.WEBP: (1e-7, START, 0.015),
    OutputFormat.APNG: (1e-7, START, 0.0),
    OutputFormat.PNG: (2.5e-7, 0, 0.0),
}
"""Seconds a pixel, pixels more, and bytes a pixel at the usual quality: one clip of 31 × 512 × 512 on a busy core."""


class Task(NamedTuple):
    """Something that takes time in proportion to its work.

    Args:
        name: What its rate is kept under.
        stage: When it is done. Encoders have threads of their own: most of writing is seen behind the last frame.
        work: Pixels of all frames that it looks at or makes; of the engine's networks the seconds that are assumed.
        rate: Seconds for each that are assumed.
    """

    name: str
    stage: Stage
    work: float
    rate: float = 1.0

    @property
    def is_lent(self) -> bool:
        """Whether it needs the device: frames are finished and written without."""
        return self.stage not in (Stage.DECODE, Stage.WRITE) or self.name.startswith("vae ")

    def seconds(self, rates: Mapping[str, float]) -> float:
        """Estimate its time by the measured or assumed rate."""
        return self.work * rates.get(self.name, self.rate)


def unmeasured(name: str) -> AbstractContextManager[None]:
    """Count nothing."""
    del name
    return nullcontext()


def models_of(request: GenerationRequest) -> str:
    """Name the models of a request in one comparable line."""
    steering = (*(unit.model for unit in request.controls), *(prompt.model for prompt in request.image_prompts))
    finishing = (request.interpolation, request.upscaler if request.upscale_by > 1 else "")
    return " ".join((request.base_model, request.motion_module, request.vae, *steering, *finishing))


def tasks_of(plan: Plan, device: str, models: str = "") -> list[Task]:
    """List a clip's tasks, without loading models that are in memory.

    Text and image encoders are left out: they take less than a hundredth.

    Example:
        >>> from pipelines.plan.plan import plan_of
        >>> request = GenerationRequest.build(seed=0, base_model="demo", interpolation="flow", upscale_by=2)
        >>> [task.name for task in tasks_of(plan_of(request), "cpu", models_of(request))]
        ['unet demo', 'vae demo', 'between flow', 'enlarge lanczos', 'write MP4']
    """
    request, kind, on_gpu = plan.request, kind_of(plan.request.base_model), device != "cpu"
    layers, attention, vae, call_s, load_s = _SPEEDS[device]
    flops = sum(each.windows * window_flops(each.request, layers / attention) for each in plan.passes)
    calls = sum(ceil(each.windows / process_settings().windows) for each in plan.passes)
    decoded = request.num_frames * (2 if request.frames_played_back else 1)  # once more, to be played back
    load = Task(f"load {kind}", Stage.LOAD, load_s * (models != models_of(request)))
    read = Task(f"vae {kind}", Stage.ENCODE, reading_flops(request) / vae)
    denoise = Task(f"unet {kind}", Stage.DENOISE, flops / layers + calls * call_s)
    decode = Task(f"vae {kind}", Stage.DECODE, decoded * frame_flops(request) / vae)
    tasks = [*input_tasks(request, on_gpu=on_gpu), load, read, denoise, decode]
    tasks += _finish_tasks(request, on_gpu=on_gpu and device != "zerogpu")
    return [task for task in tasks if task.work]


def input_tasks(request: GenerationRequest, *, on_gpu: bool) -> list[Task]:
    """List the tasks that decode clips and make control clips."""
    frame, num_frames = prod(request.clip_size), request.num_frames
    clips = [request.source_video, request.mask, *(unit.clip for unit in request.controls)]
    tasks = [Task(READ, Stage.PREPROCESS, sum(map(bool, clips)) * (START + num_frames * frame), 3e-8)]
    for unit in request.controls:
        seen, rate = float(frame), 5e-8
        if unit.preprocessor not in WITHOUT_NETWORKS:
            width, height = sorted(request.clip_size)
            seen, rate = unit.options.get("resolution", 512) ** 2 * height / width, (1e-5, 1e-7)[on_gpu]
        tasks.append(Task(preprocess_task(unit.preprocessor), Stage.PREPROCESS, num_frames * seen, rate))
    return tasks


def _finish_tasks(request: GenerationRequest, *, on_gpu: bool) -> list[Task]:
    frame, output_frame = prod(request.clip_size), prod(request.output_size)
    num_frames, output_frames = request.num_frames + len(request.frames_played_back), request.output_frames
    inserted = output_frames - request.held_frames - num_frames if request.inserted_frames else 0
    rate = 1e-6 if request.interpolation is Interpolation.FLOW else (5e-5, 4e-7)[on_gpu]
    tasks = [
        Task(COLORS, Stage.DECODE, num_frames * frame * (request.color_match is not ColorMatch.OFF), 2.5e-7),
        Task(between_task(request.interpolation), Stage.DECODE, inserted * frame, rate),
    ]
    if request.upscale_by > 1:
        # A network always draws as many times as large; what it draws is then made smaller or larger.
        seen, rate = (output_frame, 1.5e-8) if request.upscaler == "lanczos" else (frame, (3e-4, 2e-6)[on_gpu])
        tasks.append(Task(enlarge_task(request.upscaler), Stage.DECODE, output_frames * seen, rate))
    pixels = output_frames * output_frame
    for kind in (kind for kind in request.formats if kind in _FORMATS):  # text costs nothing
        rate, start, size = _FORMATS[kind]
        # A size is searched for in up to six encodings that are slower than the first.
        encodings = 10 if 0 < request.max_file_mb * 1e6 < size * pixels else 1
        stage = Stage.DECODE if kind is OutputFormat.PNG else Stage.WRITE  # each picture is written as it comes
        tasks.append(Task(write_task(kind), stage, (start + pixels) * encodings, rate))
    return tasks


def rates_of(tasks: Iterable[Task], seconds: Mapping[str, float]) -> dict[str, float]:
    """Divide measured seconds by each task's work."""
    work: dict[str, float] = {}
    for task in tasks:
        work[task.name] = work.get(task.name, 0.0) + task.work
    return {name: seconds[name] / amount for name, amount in work.items() if seconds.get(name, 0.0) > 0}
