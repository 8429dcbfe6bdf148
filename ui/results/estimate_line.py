"""Live estimates for clips and grids, with a button to fit."""

from itertools import product
from math import prod

import gradio as gr

from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.planner.estimate import Budget, Estimate, advice, estimate, fit, this_budget
from pipelines.plan.planner.machine import this_machine
from pipelines.plan.request import GenerationRequest, fields_affecting
from pipelines.plan.settings import settings
from studio.batch import count_clips
from studio.grid import MAX_AXES, MAX_CELLS
from studio.modes import Mode
from studio.open_fields import is_open_length
from ui.inputs.control_units import UNITS, part
from ui.inputs.modes import parse_page
from ui.parts.page_request import PageRequest
from ui.parts.page_values import PageValues
from ui.parts.progress import duration_text, message_html
from ui.parts.updates import UpdatesById
from ui.results.grid_form import filled_axes
from ui.words.speech import say, say_note, word
from ui.words.tables import ENGLISH

FIELDS_OF_COST = fields_affecting("cost")
"""The fields of words alone that decide what a clip takes."""

_OF_UNIT = ("enabled", "model", "preprocessor", "start", "end")

STEERING = (
    "mode",
    "first_frame",
    "last_frame",
    "mask",
    "strength",
    *(part(number, name) for number in range(1, UNITS + 1) for name in _OF_UNIT),
    "image_prompt_model",
    "image_prompt_picture",
)
"""What else decides, by `elem_id`."""

COUNTED = ("seed", "batch_count")
"""What says how many clips."""

AXES = tuple(f"grid_{number}_{name}" for number in range(1, MAX_AXES + 1) for name in ("field", "values"))
"""What says how many a grid has, and how they differ, by `elem_id`."""

FITTED = ("width", "height", "context_length", "hires_scale")
"""The fields that `fit` may change."""

QUOTAS = ((300, "free"), (120, "anonymous"))
"""What ZeroGPU lends a day, seconds, and to whom, the most first; those who pay have 40 min."""

_FREE = {*fields_affecting("windows"), *fields_affecting("falloff"), *fields_affecting("travel")} - {*FIELDS_OF_COST}


def place_estimate(page: PageValues) -> tuple[gr.HTML, gr.Button]:
    """Lay out the line and its button.

    Args:
        page: What it shows at first.
    """
    text, fits = estimate_html(page, parse_page(page))
    line = gr.HTML(text, elem_id="estimate", visible=bool(text), padding=False)
    return line, gr.Button(word("button.fit"), elem_id="fit", size="sm", visible=not fits)


def estimate_updates(page: PageValues, parsed: PageRequest, language: str) -> UpdatesById:
    """Draw the lines of clip and grid, and the button."""
    (text, fits), of_grid = estimate_html(page, parsed, language), grid_estimate_html(page, language)
    return {
        "estimate": gr.update(value=text, visible=bool(text)),
        "fit": gr.update(visible=not fits),
        "grid_estimate": gr.update(value=of_grid, visible=bool(of_grid)),
    }


def estimate_html(page: PageValues, parsed: PageRequest, language: str = ENGLISH) -> tuple[str, bool]:
    """Render the estimate, and tell whether it fits; empty if invalid."""
    request = _priced(page, parsed)
    if request is None:
        return "", True
    try:
        clips = count_clips(page.value("seed"), page.value("batch_count"), most=settings().max_clips)
        cost, budget = estimate(*[request] * clips), this_budget()
    except InvalidRequestError:
        return "", True  # another line says so, or Generate will
    if budget.holds(cost):
        return message_html(in_words(cost, language)), True
    return message_html(_refusal_in_words(cost, budget, advice(fit(request, budget)), language), is_error=True), False


def grid_estimate_html(page: PageValues, language: str = ENGLISH) -> str:
    """Render the estimate of the grid; empty without valid axes."""
    try:
        axes = filled_axes(page)[::-1]  # the last one changes slowest
        if not axes or prod(len(axis.values) for axis in axes) > MAX_CELLS:
            return ""
        names = [axis.field for axis in axes]
        cells = [dict(zip(names, cell, strict=True)) for cell in product(*(axis.values for axis in axes))]
        requests = [_priced(each, parse_page(each)) for each in map(page.updated, cells)]
        priced = [request for request in requests if request]
        return message_html(in_words(estimate(*priced), language)) if len(priced) == len(cells) else ""
    except InvalidRequestError:
        return ""  # the button will say so


def fitting(page: PageValues) -> UpdatesById:
    """Compute values of `FITTED` with which the clip fits."""
    request = _priced(page, parse_page(page))
    return {**fit(request, this_budget())} if request else {}


def in_words(cost: Estimate, language: str = ENGLISH) -> str:
    """Describe an estimate in a line.

    Example:
        >>> in_words(Estimate(36.3, 30, 1.1e9, 1.1e9, None, 3, True, {}, clips=3))
        '3 clips, about 36 s, 1.1 GB. Rough until a first clip is made.'
    """
    time = duration_text(cost.seconds, language)
    many = "_clips" if cost.clips > 1 else ""
    words = [say(language, f"told.estimate.about{many}", clips=cost.clips, time=time, gb=cost.peak_bytes_device / 1e9)]
    if cost.zero_gpu_seconds is not None:
        quota = duration_text(cost.zero_gpu_seconds, language)
        in_turns = "_in_turns" if cost.turns > cost.clips else ""
        words.append(say(language, f"told.estimate.quota{in_turns}", time=quota, turns=cost.turns))
        whose = next((whose for seconds, whose in QUOTAS if cost.zero_gpu_seconds > seconds), None)
        if whose:
            words.append(say(language, f"told.estimate.more_than_{whose}"))
    if cost.is_rough:
        words.append(say(language, "told.estimate.rough"))
    return " ".join(words)


def _refusal_in_words(cost: Estimate, budget: Budget, advised: str, language: str) -> str:
    of_device = budget.device is not None and not Budget(budget.device, None).holds(cost)
    needed, there = (cost.peak_bytes_device, budget.device) if of_device else (cost.peak_bytes_ram, budget.ram)
    where = say(language, f"told.estimate.{'gpu' if of_device and this_machine().kind != 'cpu' else 'memory'}")
    return say(
        language,
        "told.estimate.wont_fit",
        needed=needed / 1e9,
        where=where,
        there=(there or 0) / 1e9,
        advice=say_note(language, advised),
    )


def _priced(page: PageValues, parsed: PageRequest) -> GenerationRequest | None:
    """Return the request if all that decides its cost is valid.

    A field left empty has its default.
    """
    wrong = [name for name in parsed.faults if name not in _FREE]
    if any(name not in page.by_id or page.value(name) is not None for name in wrong):
        return None
    # A source's length is not known here.
    return None if is_open_length(page.value("num_frames")) and page.mode is Mode.VID2VID else parsed.request
