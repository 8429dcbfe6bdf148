"""Run the engine on ZeroGPU, which lends a device for seconds.

Each turn runs in a process of its own. Elsewhere `spaces.GPU` hands a function back as it is, and the engine takes one
turn that is as long as it needs.
"""

import logging
import os
from collections.abc import Callable, Generator
from functools import partial
from math import ceil
from pathlib import Path
from typing import ParamSpec, TypeVar

import spaces

from controlnet.preprocessors import get_preprocessor
from pipelines.plan.errors import UserError
from pipelines.plan.events import Progress
from pipelines.plan.planner.estimate import estimate
from pipelines.plan.planner.machine import TURN_MARGIN_S, read_rates, this_machine
from pipelines.plan.planner.tasks import input_tasks
from pipelines.plan.request import GenerationRequest
from pipelines.plan.settings import Settings, use_settings
from studio.control_preview import MakePreview, preview_clip
from studio.device_leases import LEAST_S, Turn, TurnEvent, take_turn
from studio.engine import MakeClip, make_clip
from studio.engine_start import STATE
from studio.faults import faults_in_words, to_user_error
from studio.zero_gpu_errors import lending_in_words

SIZE = "large"
"""The requested card: without a request, a Space of many weights gets the larger one, at twice the quota."""

ROOM = 1.5
"""Turns ask for so many times what is expected of their clip."""

PREVIEW_START_S = 10
"""What a preview takes before its first frame: a process, its network, its clip."""

_log = logging.getLogger(__name__)

_Params = ParamSpec("_Params")
_Event = TypeVar("_Event")


def on_zero_gpu() -> bool:
    """Whether this Space runs on ZeroGPU."""
    return bool(os.environ.get("SPACES_ZERO_GPU"))


def lend(
    engine: Callable[_Params, Generator[_Event, None, None]], config: Settings, *, duration: int | Callable[..., int]
) -> Callable[_Params, Generator[_Event, None, None]]:
    """Wrap a generator function to run where the device is.

    Args:
        engine: The function.
        config: The page's settings, which hold in the worker, too.
        duration: For how many seconds at most; or a function that tells from what the engine is given.

    Returns:
        The function; what it raises where the device is lent, `lending_in_words` says.
    """
    if not on_zero_gpu():
        return engine

    def in_worker(*args: _Params.args, **kwargs: _Params.kwargs) -> Generator[_Event, None, None]:
        # What a worker raises arrives as the name of its class, but for errors of Gradio's.
        with faults_in_words(), use_settings(config):
            yield from engine(*args, **kwargs)

    lent = spaces.GPU(duration=duration, size=SIZE)(in_worker)

    def borrowing(*args: _Params.args, **kwargs: _Params.kwargs) -> Generator[_Event, None, None]:
        with lending_in_words(duration(*args, **kwargs) if callable(duration) else duration):
            yield from lent(*args, **kwargs)

    return borrowing


def lent_engine(config: Settings) -> MakeClip:
    """Build the engine for the page and endpoints of this Space.

    A clip that takes longer than `max_gpu_seconds` takes several turns.

    Args:
        config: Of the page; the workers have them too, and on ZeroGPU they name a folder for runs.
    """
    if not on_zero_gpu():
        return make_clip
    limit_s = config.max_gpu_seconds

    def duration(turn: Turn, *_: object, **__: object) -> int:
        return limit_s if turn.seconds is None else min(limit_s, ceil(turn.seconds) + TURN_MARGIN_S)

    def seconds(request: GenerationRequest) -> float:
        return turn_seconds(request, limit_s=limit_s)

    lent = lend(take_turn, config, duration=duration)

    def take(turn: Turn) -> Generator[TurnEvent, None, None]:
        if turn.frames_done is None:
            yield from _following(lambda: _fetch(turn.request))
        yield from lent(turn)

    return partial(make_clip, take=take, seconds=seconds)


def lent_preview(config: Settings) -> MakePreview:
    """Build the preview function for control units.

    It borrows the device only where a network computes.

    Args:
        config: As for `lent_engine`.
    """
    if not on_zero_gpu():
        return preview_clip
    duration = partial(preview_seconds, limit_s=config.max_gpu_seconds)
    lent = lend(preview_clip, config, duration=duration)

    def preview(request: GenerationRequest, folder: Path) -> Generator[Progress | Path, None, None]:
        from controlnet.fetching import fetch_weights

        unit = request.controls[0]
        if not get_preprocessor(unit.preprocessor).weights:
            yield from preview_clip(request, folder)
            return
        yield from _following(lambda: fetch_weights([unit]))
        yield from lent(request, folder)

    return preview


def preview_seconds(request: GenerationRequest, *_: object, limit_s: int) -> int:
    """Estimate the lease of a preview: loading the network and preprocessing, seconds."""
    rates = read_rates(this_machine())
    tasks = input_tasks(request.model_copy(update={"controls": request.controls[:1]}), on_gpu=True)
    work = sum(task.seconds(rates) for task in tasks)
    return min(limit_s, ceil(max(LEAST_S, PREVIEW_START_S + ROOM * work)))


def turn_seconds(request: GenerationRequest, *, limit_s: int) -> float:
    """Estimate the length of a request's turn, in seconds.

    That is its clip's expected time with room to spare, if allowed. A call that asks for less comes earlier in the
    platform's line, and is refused later by a visitor's quota.
    """
    most = max(1, limit_s - TURN_MARGIN_S)
    try:
        return min(most, max(LEAST_S, ROOM * estimate(request).device_seconds))
    except UserError:  # what is wrong with it is said where it is made
        return most


def _following(work: Callable[[], None]) -> Generator[Progress, None, None]:
    from pipelines.engine.weights.downloads import track_downloads

    yield from track_downloads(work)


def _fetch(request: GenerationRequest) -> None:
    """Download a request's models before the device is leased."""
    from controlnet.fetching import fetch_weights
    from pipelines.engine.fetching import fetch_models
    from pipelines.engine.generate import default_store

    fetch_models(request, default_store())
    fetch_weights(request.controls)


def preload(base_model: str) -> None:
    """Load a base model and its motion module before `launch`.

    Workers inherit them; without, every call would read them again. What goes wrong is logged and kept in `STATE`, and
    the page comes up: whoever requests the model gets the same error, and others can be chosen.
    """
    from pipelines.engine.generate import default_store
    from pipelines.plan.catalog import complete

    try:
        fields = complete({"base_model": base_model})
        default_store().load(str(fields["base_model"]), str(fields["motion_module"]))
    except Exception as err:  # whatever it is, a page with other models is more than none
        STATE.trouble = str(to_user_error(err))
        _log.exception("The base model could not be loaded ahead.")
