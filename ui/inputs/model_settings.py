"""Updates of the page when models are chosen."""

from collections.abc import Mapping
from types import MappingProxyType

import gradio as gr
from gradio.components import Component

from pipelines.plan import catalog
from pipelines.plan.catalog_entries import BaseModel
from pipelines.plan.motion_families import ADVISED_ON, FAMILIES, advise
from studio.faults import faults_in_words
from studio.fields import MODEL_FIELDS, plain_default
from ui.inputs.control_units import CHAIN, UNITS, fitting_control_models, part, units_for
from ui.inputs.image_prompts import adapters_for, fitting_adapters
from ui.inputs.loras import fitting_loras
from ui.parts.events import QUIET
from ui.parts.fields import model_choices, shown_value
from ui.parts.page_events import PageEvents
from ui.parts.page_values import PageValues
from ui.parts.progress import message_html
from ui.parts.updates import Update, UpdatesById
from ui.words.refusals import page_words
from ui.words.speech import say, say_note, say_or, visitor_language
from ui.words.tables import ENGLISH

MODEL_LINES = ("model_line", "motion_line")
"""What says what the chosen models are, by `elem_id`."""


def wire_models(controls: Mapping[str, Component], events: PageEvents) -> None:
    """Apply settings when a model is chosen."""
    units = [part(number, name) for number in range(1, UNITS + 1) for name in CHAIN]
    follow_base = (*MODEL_LINES, "vae", *MODEL_FIELDS, "lora_picker", *units, "image_prompt_model")
    events.on([controls["base_model"].input], _base_settings, follow_base)
    events.on([controls["motion_module"].input], _motion_settings, ("motion_line", *MODEL_FIELDS))


def model_lines(page: PageValues) -> UpdatesById:
    """Describe the models in the visitor's language."""
    model, language = catalog.find_base_model(page.text("base_model")), visitor_language()
    return {"model_line": model_line(model, language), "motion_line": motion_line(page.text("motion_module"), language)}


def _base_settings(page: PageValues) -> UpdatesById:
    """Build the updates for a newly chosen base model."""
    base_model = page.text("base_model")
    defaults = catalog.complete({"base_model": base_model})
    modules = gr.update(value=defaults["motion_module"], choices=model_choices("motion_module", base_model))
    return {
        **changed_settings(defaults, page),
        **{name: defaults[name] for name in ("width", "height")},
        **model_lines(page.updated({"motion_module": defaults["motion_module"]})),
        "motion_module": modules,
        "vae": gr.update(value="", choices=model_choices("vae", base_model)),
        "lora_picker": fitting_loras(base_model),
        "image_prompt_model": adapters_for(base_model),
        **units_for(base_model),
    }


def model_values(values: Mapping[str, object]) -> UpdatesById:
    """Build model lists and lines for a request, by `elem_id`.

    Args:
        values: Fields of the request, with models that are here.
    """
    base_model = str(values["base_model"])
    lists = {
        name: gr.update(choices=model_choices(name, base_model), value=values[name])
        for name in ("base_model", "motion_module", "vae")
    }
    return lists | model_lines(PageValues(values)) | {"lora_picker": fitting_loras(base_model)}


def wire_lists(
    refresh: gr.Button, controls: Mapping[str, Component], picker: Component, inputs: Mapping[str, Component]
) -> None:
    """Let a button look up the lists of models again."""
    units = [inputs[part(number, "model")] for number in range(1, UNITS + 1)]
    lists = [*(controls[name] for name in ("base_model", "motion_module", "vae", "upscaler")), picker]
    refresh.click(
        _lists,
        controls["base_model"],
        [*lists, *units, inputs["image_prompt_model"]],
        **QUIET,
        preprocess=False,
    )


def _lists(base_model: str) -> list[Update]:
    """Look up the lists of models again, keeping the choices."""
    with faults_in_words(page_words()):
        modules = model_choices("motion_module", base_model)
    return [
        gr.update(choices=model_choices("base_model")),
        gr.update(choices=modules),
        gr.update(choices=model_choices("vae", base_model)),
        gr.update(choices=model_choices("upscaler")),
        fitting_loras(base_model),
        *[fitting_control_models(base_model)] * UNITS,
        fitting_adapters(base_model),
    ]


def _motion_settings(page: PageValues) -> UpdatesById:
    """Build the updates for a newly chosen motion module."""
    motion_module = page.text("motion_module")
    defaults = catalog.complete({"base_model": page.text("base_model"), "motion_module": motion_module})
    family = catalog.find_motion_module(motion_module).known_family
    changed = changed_settings(defaults, page, decided=family.settings if family else {})
    return changed | {"motion_line": motion_line(motion_module, visitor_language())}


def changed_settings(
    defaults: Mapping[str, object], page: PageValues, decided: Mapping[str, object] = MappingProxyType({})
) -> UpdatesById:
    """Compute new values of the models' fields.

    What people may have set on purpose stays, unless the motion module decides it, or the one before did.

    Args:
        defaults: Settings of the models.
        page: Its values by now.
        decided: Settings that the motion module decides.
    """
    values: UpdatesById = {name: _setting(defaults, name) for name in MODEL_FIELDS}
    for names in (("width", "height"), ("motion_scale",)):
        advised = [[str(family.settings.get(name)) for name in names] for family in FAMILIES.values()]
        if not decided.keys() & set(names) and [str(page.value(name)) for name in names] not in advised:
            values |= dict.fromkeys(names, gr.skip())
    return values


def _setting(defaults: Mapping[str, object], name: str) -> Update:
    return shown_value(name, defaults.get(name, plain_default(name)))


def settings_advice(page: PageValues) -> Update:
    """Render advice about failing settings, hidden if there is none."""
    family = catalog.find_motion_module(page.text("motion_module")).known_family
    sentences = advise(family, {name: page.value(name) for name in ADVISED_ON}) if family else []
    return gr.update(value=message_html(" ".join(sentences), is_error=True), visible=bool(sentences))


def motion_line(motion_module: str, language: str = ENGLISH) -> str:
    """Describe a motion module."""
    entry = catalog.find_motion_module(motion_module)
    family = entry.known_family
    family_text = say(language, "told.motion.unknown")
    if family:
        family_text = say(language, "told.motion.known", name=family.name, what=say_note(language, family.in_words))
    return f"{say_or(language, f'told.motion_module.{entry.id}', entry.description)} {family_text}"


def model_line(model: BaseModel, language: str = ENGLISH) -> str:
    """Describe a base model."""
    return f"**{model.label}**: {say_or(language, f'told.base_model.{model.id}', model.description)}"
