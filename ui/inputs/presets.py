"""Preset buttons that set several controls and say which."""

from collections.abc import Mapping
from enum import StrEnum
from functools import partial
from typing import NamedTuple

import gradio as gr

from pipelines.plan import catalog
from pipelines.plan.presets import PRESETS, preset_values, presets_for, required_lora
from pipelines.plan.request import GenerationRequest
from ui.inputs.model_settings import motion_line
from ui.parts.fields import choice_label, shown_value
from ui.parts.page_events import PageEvents
from ui.parts.page_values import PageValues
from ui.parts.progress import message_html
from ui.parts.updates import UpdatesById
from ui.words.speech import say, visitor_language, word
from ui.words.tables import ENGLISH, written_number


class PresetPlace(NamedTuple):
    """Preset buttons by id, and the line about their changes."""

    buttons: dict[str, gr.Button]
    line: gr.HTML


def place_presets(base_model: str) -> PresetPlace:
    """Lay out a button per preset, hidden where it doesn't fit."""
    fitting = presets_for(base_model)
    with gr.Row(elem_id="presets"):
        buttons = {
            preset.id: gr.Button(
                word(f"preset.{preset.id}"),
                size="sm",
                min_width=64,
                elem_id=f"preset_{preset.id}",
                visible=preset in fitting,
            )
            for preset in PRESETS
        }
    return PresetPlace(buttons, gr.HTML(elem_id="preset_told", visible=False, padding=False))


def wire_presets(place: PresetPlace, events: PageEvents) -> None:
    """Connect the buttons with the controls they set."""
    for preset in PRESETS:
        changed = ("preset_told", "motion_line", *preset.sets)
        events.on([place.buttons[preset.id].click], partial(_apply_preset, preset.id), changed)


def preset_in_words(values: Mapping[str, object], defaults: Mapping[str, object], language: str = ENGLISH) -> str:
    """Describe the fields that a preset has set.

    Args:
        values: The fields it set.
        defaults: Values of the base model by itself.
        language: The visitor's.

    Example:
        >>> preset_in_words({"num_inference_steps": 8, "scheduler": "ddim"}, {"scheduler": "ddim"})
        'Sets Steps 8.'
        >>> preset_in_words({"num_inference_steps": 20}, {"num_inference_steps": 20})
        "Sets the model's own: Steps 20."
    """
    changes = {name: value for name, value in values.items() if value != _default_value(defaults, name)}
    items = (changes or values).items()
    facts = ", ".join(
        f"{say(language, f'field.{name}.label')} {_value_in_words(name, value, language)}" for name, value in items
    )
    return say(language, f"told.preset.{'sets' if changes else 'sets_own'}", facts=facts)


def _default_value(defaults: Mapping[str, object], name: str) -> object:
    return defaults.get(name, GenerationRequest.model_fields[name].default)


def _value_in_words(name: str, value: object, language: str) -> str:
    if name == "motion_module":
        return catalog.find_motion_module(str(value)).label
    kind = GenerationRequest.model_fields[name].annotation
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return choice_label(kind(str(value)), language)
    return written_number(language, f"{value:g}") if isinstance(value, float) else str(value)


def _apply_preset(preset_id: str, page: PageValues) -> UpdatesById:
    language, base_model = visitor_language(), page.text("base_model")
    values = preset_values(preset_id, base_model, page.text("motion_module"))
    defaults = catalog.complete({"base_model": base_model})
    tag = required_lora(str(values["motion_module"])) if "motion_module" in values else ""
    sentences = [
        preset_in_words(values, defaults, language),
        *([say(language, "told.preset.wants", tag=tag)] if tag else []),
    ]
    updates: UpdatesById = {name: shown_value(name, value) for name, value in values.items()}
    if "motion_module" in values:
        updates["motion_line"] = motion_line(str(values["motion_module"]), language)
    return updates | {"preset_told": gr.update(value=message_html(" ".join(sentences)), visible=True)}


def fitting_presets(base_model: str) -> UpdatesById:
    """Show only the buttons of the presets for a base model."""
    fitting = presets_for(base_model)
    return {f"preset_{preset.id}": gr.update(visible=preset in fitting) for preset in PRESETS}
