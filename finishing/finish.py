"""Entry point of finishing: the stages that a request asks for."""

import os
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial

from finishing.colors import ColorStage
from finishing.film import Film, load_film
from finishing.flow import draw_between
from finishing.interpolate import BetweenStage, Draw
from finishing.stages import StagedSink, StageOfTask, staged
from finishing.upscale import LANCZOS, SuperResolution, UpscaleStage, load_upscaler
from pipelines.engine.generate import OpenWriter, default_store
from pipelines.engine.models import ModelStore
from pipelines.engine.weights.downloads import track_downloads
from pipelines.plan import catalog
from pipelines.plan.choices import ColorMatch, Interpolation
from pipelines.plan.clip_inputs import ClipInputs
from pipelines.plan.events import Progress
from pipelines.plan.events import Stage as At
from pipelines.plan.planner.tasks import COLORS, Measure, between_task, enlarge_task, unmeasured
from pipelines.plan.request import GenerationRequest

OpenFinished = Callable[[GenerationRequest, str], AbstractContextManager[StagedSink]]


@dataclass(frozen=True, slots=True)
class Finishers:
    """Loaded networks for one request; None for those it does not need."""

    film: Film | None = None
    upscaler: SuperResolution | None = None


def load_finishers(request: GenerationRequest, store: ModelStore | None = None) -> Generator[Progress, None, Finishers]:
    """Download and load the networks that finishing needs.

    It yields the progress of downloads, and runs before the clip is paid for.

    Args:
        store: Whose device they compute on; this process's own by default.

    Raises:
        InvalidRequestError: `upscaler` is not one of the list.
        WeightsError: A network can't be had, is damaged, unsafe or none.
    """
    enlarger = None
    if request.upscaler != LANCZOS:  # looked up even where nothing is enlarged: a name that is wrong is said
        enlarger = catalog.find_upscaler(request.upscaler)
    film, upscaler = None, None
    if request.interpolation is Interpolation.FILM:
        entry = catalog.film()
        yield Progress(At.LOAD, 0, 1, note=entry.label)
        film = yield from track_downloads(partial(load_film, entry, _device(store)))
    if enlarger and request.upscale_by > 1:
        yield Progress(At.LOAD, 0, 1, note=enlarger.label)
        upscaler = yield from track_downloads(partial(load_upscaler, enlarger, _device(store)))
    return Finishers(film, upscaler)


def _device(store: ModelStore | None) -> str:
    # Frames are finished by the process that writes them, and on ZeroGPU only the engine's turns have the device.
    return "cpu" if os.environ.get("SPACES_ZERO_GPU") else (store or default_store()).device


def finished(
    request: GenerationRequest,
    inputs: ClipInputs,
    open_writer: OpenWriter,
    finishers: Finishers,
    measure: Measure = unmeasured,
) -> OpenFinished:
    """Build a function that opens the writer behind the request's stages.

    Their order is colours, frames in between, size.

    The way back (`reverse`) is the engine's: its frames pass here like others.

    Args:
        inputs: What the request names, opened.
        open_writer: Opens the sink of the frames as they shall be in the files: `request.output_frames` of
            `request.output_size`.
        finishers: What `load_finishers` gave for the request.
        measure: Counts the time of each stage.
    """

    def open_finished(written_request: GenerationRequest, recipe: str) -> AbstractContextManager[StagedSink]:
        stages = _stages(request, inputs, finishers)
        return staged(open_writer(written_request, recipe), stages, total=request.output_frames, measure=measure)

    return open_finished


def _stages(request: GenerationRequest, inputs: ClipInputs, finishers: Finishers) -> list[StageOfTask]:
    """New stages: they hold frames, so every clip has its own."""
    stages: list[StageOfTask] = []
    if request.color_match is not ColorMatch.OFF:
        stages.append(StageOfTask(COLORS, ColorStage(request, inputs)))
    if request.inserted_frames:
        draw: Draw = finishers.film.draw_between if finishers.film else draw_between
        between = BetweenStage(draw, request.inserted_frames, loops=request.loops, held=request.held_frames)
        stages.append(StageOfTask(between_task(request.interpolation), between))
    if request.upscale_by > 1:
        stages.append(
            StageOfTask(enlarge_task(request.upscaler), UpscaleStage(request.output_size, finishers.upscaler))
        )
    return stages
