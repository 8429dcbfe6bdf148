"""Live estimates for clips and grids, with a button to fit."""

from collections.abc import Mapping
from itertools import product
from math import prod

import gradio as gr
from gradio.components import Component

from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.planner.estimate import Budget, Estimate, advice, estimate, fit, this_budget
from pipelines.plan.planner.machine import this_machine
from pipelines.plan.request import GenerationRequest, fields_affecting
from pipelines.plan.settings import settings
from studio.batch import count_clips
from studio.grid import MAX_AXES, MAX_CELLS
from studio.modes import Mode
from studio.open_fields import is_open_length
from ui.inputs.control_units import UNITS, UnitValues, part, switched_on
from ui.inputs.image_prompts import ImagePromptValues
from ui.parts.events import QUIET
from ui.parts.page_values import PageValues
from ui.parts.progress import duration_text, message_html
from ui.parts.updates import Update
from ui.results.grid_form import filled_axes
from ui.results.results import Results
from ui.words.speech import say, say_note, visitor_language, word
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

_SOME_FILE = "0" * 64


def place_estimate(defaults: Mapping[str, object]) -> tuple[gr.HTML, gr.Button]:
    """Lay out the line and its button.

    Args:
        defaults: Of the request's fields, as the page shows them at first.
    """
    text, fits = estimate_html(PageValues(defaults))
    line = gr.HTML(text, elem_id="estimate", visible=bool(text), padding=False)
    return line, gr.Button(word("button.fit"), elem_id="fit", size="sm", visible=not fits)


def follow_estimate(
    controls: Mapping[str, Component],
    inputs: Mapping[str, Component],
    widgets: tuple[gr.HTML, gr.Button, gr.HTML],
    results: Results,
) -> None:
    """Redraw the lines when a value or the last clip changes.

    Args:
        controls: The controls of words alone by field.
        inputs: All others by `elem_id`.
        widgets: What `place_estimate` laid out, and the grid's line.
        results: Where a finished clip shows up.
    """
    names = (*FIELDS_OF_COST, *STEERING, *COUNTED, *AXES)
    sources = [controls[name] if name in controls else inputs[name] for name in names]
    plain = QUIET | {"preprocess": False}
    changes = [component.change for component in [*sources, results.recipe]]
    line, button, grid_line = widgets

    def draw(*values: object) -> list[Update]:
        page, language = PageValues.of(names, values), visitor_language()
        (text, fits), of_grid = estimate_html(page, language), grid_estimate_html(page, language)
        lines = [gr.update(value=text_line, visible=bool(text_line)) for text_line in (text, of_grid)]
        return [lines[0], gr.update(visible=not fits), lines[1]]

    gr.on(changes, draw, sources, [line, button, grid_line], queue=False, trigger_mode="always_last", **plain)
    button.click(
        lambda *values: fitting(PageValues.of(names, values)),
        sources,
        [controls[name] for name in FITTED],
        queue=False,
        **plain,
    )


def estimate_html(page: PageValues, language: str = ENGLISH) -> tuple[str, bool]:
    """Render the estimate, and tell whether it fits; empty if invalid."""
    try:
        request = _request(page)
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
        cost = estimate(*(_request(page.replaced(cell)) for cell in cells))
        return message_html(in_words(cost, language))
    except InvalidRequestError:
        return ""  # the button will say so


def fitting(page: PageValues) -> list[Update]:
    """Compute values of `FITTED` with which the clip fits."""
    try:
        changes = fit(_request(page), this_budget())
    except InvalidRequestError:
        changes = {}
    return [changes.get(name, gr.skip()) for name in FITTED]


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


def _request(page: PageValues) -> GenerationRequest:
    """Build the request as far as it decides the cost.

    Files are taken for granted.

    Raises:
        InvalidRequestError: A value breaks its field's rule.
    """
    fields = {name: value for name, value in page.fields(FIELDS_OF_COST).items() if value is not None}
    mode, image_prompt = page.mode, ImagePromptValues.of(page)
    if image_prompt.picture and image_prompt.model:
        fields["image_prompts"] = [{"model": image_prompt.model, "pictures": [(0, _SOME_FILE)]}]
    if is_open_length(fields.get("num_frames")) and mode != Mode.VID2VID:  # a source's length is not known here
        fields["num_frames"] = fields.get("context_length")
    if mode == Mode.IMG2VID:
        fields |= {name: _SOME_FILE for name in ("first_frame", "last_frame") if page.value(name)}
    if mode == Mode.VID2VID:
        fields["source_video"] = _SOME_FILE
        fields["mask"] = _SOME_FILE if page.value("mask") else ""
    if mode != Mode.TXT2VID:
        fields["controls"] = [_unit_fields(UnitValues.of(page, number)) for number in switched_on(page)]
        fields["strength"] = page.value("strength")
    return GenerationRequest.build(seed=0, **fields)


def _unit_fields(unit: UnitValues) -> dict[str, object]:
    preprocessor = unit.preprocessor or "none"
    return {"model": unit.model, "preprocessor": preprocessor, "start": unit.start, "end": unit.end}
