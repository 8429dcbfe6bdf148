"""Accordion for grids: axes that vary, and their button."""

from collections.abc import Sequence
from dataclasses import dataclass

import gradio as gr
from gradio.components import Component

from studio.grid import AXIS_FIELDS, MAX_AXES, SEARCH_REPLACE, Axis, GridPlan, plan_grid, read_axis
from studio.job_runs import grid_run
from studio.studio import Studio
from ui.inputs.modes import request_fields
from ui.parts.page_values import PageValues
from ui.results.gallery_view import keeper
from ui.results.job_events import Start, start_job
from ui.words.speech import word

_AXES = ("columns", "rows", "blocks")


@dataclass(frozen=True)
class GridPlace:
    """Widgets of the accordion.

    Args:
        inputs: A field and its values for each axis, by their `elem_id`.
        make: The button.
        estimate: The line that says what the grid will take.
    """

    inputs: dict[str, Component]
    make: gr.Button
    estimate: gr.HTML


def place_grid() -> GridPlace:
    """Lay out the accordion."""
    with gr.Accordion(word("section.grid"), open=False):
        gr.Markdown(word("note.grid"), elem_classes="note")
        choices = [(word("choice.none"), ""), *((_axis_word(name), name) for name in AXIS_FIELDS)]
        first = ("seed", "guidance_scale", "")
        inputs: dict[str, Component] = {}
        for number in range(1, MAX_AXES + 1):
            with gr.Row():
                field, values = f"grid_{number}_field", f"grid_{number}_values"
                inputs[field] = gr.Dropdown(
                    choices,
                    value=first[number - 1],
                    label=word(f"label.{_AXES[number - 1]}"),
                    elem_id=field,
                    interactive=True,
                    min_width=120,
                )
                inputs[values] = gr.Textbox(
                    label=word("label.values"), elem_id=values, interactive=True, max_lines=2, min_width=120
                )
        make = gr.Button(word("button.make_grid"), elem_id="make_grid")
        return GridPlace(inputs, make, gr.HTML(elem_id="grid_estimate", visible=False, padding=False))


def grid_handler(studio: Studio, names: Sequence[str]) -> Start:
    """Build the handler of "Make grid".

    Args:
        studio: Where the job is started.
        names: The `elem_id`s of its inputs: those of Generate, those of the axes, and `visitor`.
    """

    def make_grid(*values: object) -> str:
        page = PageValues.of(names, values)

        def plan() -> GridPlan:
            return plan_grid(request_fields(page), filled_axes(page))

        keep = keeper(studio.gallery, page.value("visitor"))
        return start_job(studio.jobs, grid_run(studio.make_clip, plan, keep))

    return make_grid


def _axis_word(field: str) -> str:
    return word("choice.search_replace" if field == SEARCH_REPLACE else f"field.{field}.label")


def filled_axes(page: PageValues) -> list[Axis]:
    """List the axes that are filled in.

    Raises:
        InvalidRequestError: As `read_axis`.
    """
    axes = []
    for number in range(1, MAX_AXES + 1):
        field, text = (page.text(f"grid_{number}_{part}") for part in ("field", "values"))
        if field and text.strip():
            axes.append(read_axis(field, text))
    return axes
