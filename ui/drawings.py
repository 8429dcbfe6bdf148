"""Drawings of the page's values, and the events that redraw them."""

from collections.abc import Mapping
from typing import Any

import gradio as gr

from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.motion_families import ADVISED_ON
from pipelines.plan.presets import PRESETS
from ui.charts.falloff_chart import hold_html
from ui.charts.prompt_timeline import prompts_html
from ui.charts.window_chart import windows_html
from ui.inputs.model_settings import settings_advice
from ui.inputs.modes import EFFECTIVE_FIELDS, UPLOADS, parse_page, upload_storing
from ui.inputs.presets import fitting_presets
from ui.inputs.vid2vid import SOURCE
from ui.parts.page_events import PageEvents
from ui.parts.page_values import PageValues
from ui.parts.restored_inputs import RESTORED_HASHES, UPLOADED_HASHES
from ui.parts.updates import UpdatesById
from ui.results.estimate_line import AXES, COUNTED, FITTED, STEERING, estimate_updates, fitting
from ui.words.speech import visitor_language

_FOLLOWED = dict.fromkeys(("prompt", "negative_prompt", *EFFECTIVE_FIELDS, *ADVISED_ON, *STEERING, *COUNTED, *AXES))
_VALUES = tuple(dict.fromkeys((*_FOLLOWED, *SOURCE, *UPLOADS, "motion_scale", RESTORED_HASHES, UPLOADED_HASHES)))
_DRAWN = (
    *("estimate", "fit", "grid_estimate", "windows", "timeline", "hold", "advice"),
    *(f"preset_{preset.id}" for preset in PRESETS),
)
_ANSWERED_APART = ("mode", "base_model", "motion_module", *SOURCE, *UPLOADS)


def page_events(page: gr.Blocks) -> PageEvents:
    """Compose the events of all that is laid out."""
    components = {str(block.elem_id): block for block in page.blocks.values() if getattr(block, "elem_id", None)}
    return PageEvents(components, _VALUES, _DRAWN, _draw)


def wire_drawings(events: PageEvents) -> None:
    """Redraw after changes without other consequences, and store uploads."""
    controls: Mapping[str, Any] = events.components
    units = {name for name in _FOLLOWED if name.startswith("control_") and name.endswith(("_model", "_preprocessor"))}
    plain = [controls[name] for name in _FOLLOWED if name not in (*_ANSWERED_APART, *units)]
    # Of text boxes `input` tells only of keys: not of what is pasted or deleted.
    typed = [control.change if isinstance(control, gr.Textbox) else control.input for control in plain]
    events.on([*typed, controls["mode"].change], queue=False)
    events.on([controls["recipe"].change], queue=False)  # the estimate learns of every finished clip
    for name, field in UPLOADS.items():
        upload = controls[name]
        listeners = [upload.upload, upload.clear, upload.delete] if isinstance(upload, gr.File) else [upload.input]
        events.on(listeners, upload_storing(name, field), [UPLOADED_HASHES])
    events.on([controls["fit"].click], fitting, FITTED, queue=False)
    events.redraw_overtaken()


def _draw(page: PageValues) -> UpdatesById:
    language, parsed = visitor_language(), parse_page(page)
    timeline = prompts_html(page, parsed, language)
    has_last = bool(page.value("last_frame") or page.restored_hash("last_frame"))
    return {
        **estimate_updates(page, parsed, language),
        "windows": windows_html(parsed, language),
        "timeline": gr.update(value=timeline, visible=bool(timeline)),
        "hold": hold_html(parsed, has_last=has_last, language=language),
        **_of_models(page),
    }


def _of_models(page: PageValues) -> UpdatesById:
    """Draw what models decide; of unknown ones only the choice is refused."""
    try:
        return {"advice": settings_advice(page), **fitting_presets(page.text("base_model"))}
    except InvalidRequestError:
        return {"advice": gr.update(visible=False)}
