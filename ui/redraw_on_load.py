"""What the page shows from the start, drawn again when it is loaded: for its visitor, and as things are by now."""

from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr
from gradio.blocks import Block
from gradio.components import Component

from pipelines.plan import catalog
from ui.charts.falloff_chart import HOLD_FIELDS, hold_html
from ui.charts.window_chart import WINDOW_FIELDS, windows_html
from ui.inputs.model_settings import model_line, motion_line
from ui.parts.events import QUIET
from ui.results.estimate_line import FIELDS_OF_COST, STEERING, told
from ui.words.speech import visitor_language


def redraw_on_load(page: gr.Blocks, controls: Mapping[str, Component], shown: Sequence[Block]) -> None:
    """Draw again what was drawn for everybody when the page was built.

    Args:
        page: The Blocks.
        controls: All that decides, by `elem_id`.
        shown: The lines about the base model and the motion module, the windows, the hold of the pictures, the estimate
            and its button.
    """
    names = list(dict.fromkeys([*WINDOW_FIELDS, *HOLD_FIELDS, *FIELDS_OF_COST, *STEERING]))

    def drawn(*values: Any) -> list[Any]:
        given, language = dict(zip(names, values, strict=True)), visitor_language()
        hold = {name: given[name] for name in HOLD_FIELDS}
        estimated, fits = told(given, language)
        return [
            model_line(catalog.find_base_model(given["base_model"]), language),
            motion_line(given["motion_module"], language),
            windows_html(given, language),
            hold_html(hold, has_last=bool(given["last_frame"]), language=language),
            gr.update(value=estimated, visible=bool(estimated)),
            gr.update(visible=not fits),
        ]

    page.load(drawn, [controls[name] for name in names], list(shown), queue=False, preprocess=False, **QUIET)
