"""Tasks beside the engine's networks, each with its work in pixels.

One list for the estimate, the time left, and what is learned: whoever does a task measures it under its name.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

from pipelines.plan.choices import ColorMatch, Interpolation, OutputFormat
from pipelines.plan.events import Stage
from pipelines.plan.request import GenerationRequest
from pipelines.plan.request_fields.units import ControlUnit

Measure = Callable[[str], AbstractContextManager[None]]
"""Counts the time inside the context for the task of this name."""

WITHOUT_NETWORKS = frozenset(
    {"none", "invert", "canny", "scribble_xdog", "lineart_standard", "shuffle", "tile", "blur"}
)
"""The preprocessors that look at every pixel; the others look at a picture of their own size."""

_LOOKS_AT = 512  # the shorter side of that picture where nothing else is said, pixels

_BYTES_A_PIXEL = {OutputFormat.MP4: 0.04, OutputFormat.WEBM: 0.005, OutputFormat.WEBP: 0.015, OutputFormat.GIF: 0.25}
"""Of files at the usual quality, roughly: how likely it is that a size is searched for."""

START = 2_000_000
"""To start and end ffmpeg takes as long as so many pixels, roughly: small clips must not make large ones look slow."""

READ = "read"
COLORS = "match colours"


class Task(NamedTuple):
    """Something that takes time with every pixel.

    Args:
        name: What its speed is kept under.
        stage: When it is done: `PREPROCESS`, `DECODE` frame by frame, or `WRITE` behind the last frame.
        pixels: Of all frames that it looks at or makes, and `START` where a program does.
    """

    name: str
    stage: Stage
    pixels: float


def unmeasured(name: str) -> AbstractContextManager[None]:
    """Count nothing."""
    del name
    return nullcontext()


def preprocess_task(preprocessor: str) -> str:
    """Name the task that makes a control clip."""
    return f"preprocess {preprocessor}"


def between_task(request: GenerationRequest) -> str:
    """Name the task that draws frames in between."""
    return f"between {request.interpolation}"


def enlarge_task(request: GenerationRequest) -> str:
    """Name the task that enlarges finished frames."""
    return f"enlarge {request.upscaler}"


def write_task(kind: str) -> str:
    """Name a format's task for every frame."""
    return f"write {kind}"


def finish_task(kind: str) -> str:
    """Name a format's task behind the last frame."""
    return f"finish {kind}"


def fit_task(kind: str) -> str:
    """Name the search for a small enough file's quality."""
    return f"fit {kind}"


def tasks_of(request: GenerationRequest) -> tuple[Task, ...]:
    """List a clip's tasks beside the engine's networks, in order.

    Example:
        >>> [task.name for task in tasks_of(GenerationRequest.build(seed=0, interpolation="flow", upscale_by=2))]
        ['between flow', 'enlarge lanczos', 'write MP4', 'finish MP4']
    """
    return (*_input_tasks(request), *_finish_tasks(request), *_write_tasks(request))


def _input_tasks(request: GenerationRequest) -> list[Task]:
    """List tasks that decode clips and make control clips."""
    frame = request.clip_size[0] * request.clip_size[1]
    clips = [
        *filter(None, (request.source_video, request.mask)),
        *(unit.clip for unit in request.controls if unit.clip),
    ]
    read = [Task(READ, Stage.PREPROCESS, float(len(clips) * (START + request.num_frames * frame)))] if clips else []
    pixels: dict[str, float] = {}
    for unit in request.controls:
        name = preprocess_task(unit.preprocessor)
        pixels[name] = pixels.get(name, 0.0) + request.num_frames * _seen_pixels(unit, *request.clip_size)
    return [*read, *(Task(name, Stage.PREPROCESS, seen) for name, seen in pixels.items())]


def _seen_pixels(unit: ControlUnit, width: int, height: int) -> float:
    if unit.preprocessor in WITHOUT_NETWORKS:
        return float(width * height)
    side = unit.options.get("resolution", _LOOKS_AT)
    return side * side * max(width, height) / min(width, height)


def _finish_tasks(request: GenerationRequest) -> list[Task]:
    num_frames = request.num_frames + len(request.frames_played_back)
    frame, large = (width * height for width, height in (request.clip_size, request.output_size))
    tasks = []
    if request.color_match is not ColorMatch.OFF:
        tasks.append(Task(COLORS, Stage.DECODE, float(num_frames * frame)))
    if request.interpolation is not Interpolation.OFF:
        inserted = request.output_frames - request.held_frames - num_frames
        tasks.append(Task(between_task(request), Stage.DECODE, float(inserted * frame)))
    if request.upscale_by > 1:
        # A network always draws as many times as large; what it draws is then made smaller or larger.
        seen = large if request.upscaler == "lanczos" else frame
        tasks.append(Task(enlarge_task(request), Stage.DECODE, float(request.output_frames * seen)))
    return tasks


def _write_tasks(request: GenerationRequest) -> list[Task]:
    width, height = request.output_size
    pixels = float(request.output_frames * width * height)
    written = [kind for kind in request.formats if kind is not OutputFormat.TXT]
    limit = request.max_file_mb * 1e6
    large = [kind for kind in written if 0 < limit < _BYTES_A_PIXEL.get(kind, 0.0) * pixels]
    return [
        *(Task(write_task(kind), Stage.DECODE, pixels) for kind in written),
        *(Task(finish_task(kind), Stage.WRITE, START + pixels) for kind in written),
        *(Task(fit_task(kind), Stage.WRITE, START + pixels) for kind in large),
    ]
