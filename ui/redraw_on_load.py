"""Redraw on load what was drawn when the page was built."""

from collections.abc import Mapping, Sequence

import gradio as gr
from gradio.blocks import Block
from gradio.components import Component

from pipelines.plan import catalog
from ui.charts.falloff_chart import HOLD_FIELDS, hold_html
from ui.charts.window_chart import WINDOW_FIELDS, windows_html
from ui.inputs.model_settings import model_line, motion_line
from ui.parts.events import QUIET
from ui.parts.page_values import PageValues
from ui.parts.updates import Update
from ui.results.estimate_line import FIELDS_OF_COST, STEERING, estimate_html
from ui.words.speech import visitor_language


def redraw_on_load(page: gr.Blocks, controls: Mapping[str, Component], outputs: Sequence[Block]) -> None:
    """Redraw the lines and charts for each visitor.

    Args:
        page: The Blocks.
        controls: All that decides, by `elem_id`.
        outputs: The lines about the base model and the motion module, the windows, the hold of the pictures, the
            estimate and its button.
    """
    names = list(dict.fromkeys([*WINDOW_FIELDS, *HOLD_FIELDS, *FIELDS_OF_COST, *STEERING]))

    def redraw(*values: object) -> list[Update]:
        sent, language = PageValues.of(names, values), visitor_language()
        estimated, fits = estimate_html(sent, language)
        return [
            model_line(catalog.find_base_model(sent.text("base_model")), language),
            motion_line(sent.text("motion_module"), language),
            windows_html(sent.fields(WINDOW_FIELDS), language),
            hold_html(sent.fields(HOLD_FIELDS), has_last=bool(sent.value("last_frame")), language=language),
            gr.update(value=estimated, visible=bool(estimated)),
            gr.update(visible=not fits),
        ]

    page.load(redraw, [controls[name] for name in names], list(outputs), queue=False, preprocess=False, **QUIET)
