"""What choosing models changes on the page: their lines, the settings they bring, the lists of what fits them."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import gradio as gr
from gradio.components import Component

from pipelines.plan import catalog
from pipelines.plan.catalog_entries import BaseModel
from pipelines.plan.motion_families import ADVISED_ON, FAMILIES, advise
from studio.faults import faults_in_words
from studio.fields import MODEL_FIELDS, plain_default
from ui.inputs.control_units import UNITS, fitting_control_models, part
from ui.inputs.image_prompts import fitting_adapters
from ui.inputs.loras import fitting_loras
from ui.parts.events import QUIET
from ui.parts.fields import model_choices, shown_value
from ui.parts.progress import message_html
from ui.words.refusals import page_words
from ui.words.speech import say, say_note, say_or, visitor_language
from ui.words.tables import ENGLISH

_ON_PURPOSE = ("width", "height", "motion_scale")


def wire_models(
    controls: dict[str, Component], model_told: gr.Markdown, motion_told: gr.Markdown, advice: gr.HTML
) -> None:
    """Choosing a model brings its own settings; a setting that is known to fail with it is told at once."""
    # Without preprocessing: it would compare with the lists the page was built with, and they change.
    plain = QUIET | {"preprocess": False}
    settings = [controls[name] for name in MODEL_FIELDS]
    base, motion = controls["base_model"], controls["motion_module"]
    own = [controls[name] for name in _ON_PURPOSE]
    base.input(_base_settings, [base, *own], [model_told, motion_told, controls["vae"], *settings], **plain)
    motion.input(_motion_settings, [base, motion, *own], [motion_told, *settings], **plain)
    judged = [controls[name] for name in ("motion_module", *ADVISED_ON)]
    for control in judged:
        control.change(_advice, judged, advice, **plain)


def _base_settings(base_model: str, *shown: Any) -> list[Any]:
    """What changes when another base model is chosen: the lines about the models, and all they decide."""
    with faults_in_words(page_words()):
        own = catalog.complete({"base_model": base_model})
        model = catalog.find_base_model(base_model)
    modules = gr.update(value=own["motion_module"], choices=model_choices("motion_module", base_model))
    changed = (
        changed_settings(own, shown) | {name: own[name] for name in ("width", "height")} | {"motion_module": modules}
    )
    return [
        model_line(model, visitor_language()),
        motion_line(own["motion_module"], visitor_language()),
        gr.update(value="", choices=model_choices("vae", base_model)),
        *(changed[name] for name in MODEL_FIELDS),
    ]


def model_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """What the lists of models and the lines about them show for a request, by their `elem_id`.

    Args:
        values: Fields of the request, with models that are here.
    """
    base_model, module = values["base_model"], values["motion_module"]
    lists = {
        name: gr.update(choices=model_choices(name, base_model), value=values[name])
        for name in ("base_model", "motion_module", "vae")
    }
    model, language = catalog.find_base_model(base_model), visitor_language()
    lines = {"model_line": model_line(model, language), "motion_line": motion_line(module, language)}
    return lists | lines | {"lora_picker": fitting_loras(base_model)}


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


def _lists(base_model: str) -> list[Any]:
    """The lists of models and LoRAs, looked up again; what is chosen stays."""
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


def _motion_settings(base_model: str, motion_module: str, *shown: Any) -> list[Any]:
    """What changes when another motion module is chosen: its line, and what it or the base model decides."""
    with faults_in_words(page_words()):
        own = catalog.complete({"base_model": base_model, "motion_module": motion_module})
        family = catalog.find_motion_module(motion_module).known_family
    changed = changed_settings(own, shown, decided=family.settings if family else {})
    return [motion_line(motion_module, visitor_language()), *(changed[name] for name in MODEL_FIELDS)]


def changed_settings(
    own: Mapping[str, Any], shown: Sequence[Any], decided: Mapping[str, Any] = MappingProxyType({})
) -> dict[str, Any]:
    """New values of the models' fields.

    What people may have set on purpose stays, unless the motion module decides it, or the one before did.

    Args:
        own: What the models set.
        shown: What the controls of `_ON_PURPOSE` show.
        decided: What the motion module decides.
    """
    values: dict[str, Any] = {name: _setting(own, name) for name in MODEL_FIELDS}
    now = dict(zip(_ON_PURPOSE, map(str, shown), strict=True))
    for names in (("width", "height"), ("motion_scale",)):
        advised = [[str(family.settings.get(name)) for name in names] for family in FAMILIES.values()]
        if not decided.keys() & set(names) and [now[name] for name in names] not in advised:
            values |= dict.fromkeys(names, gr.skip())
    return values


def _setting(own: Mapping[str, Any], name: str) -> Any:
    return shown_value(name, own.get(name, plain_default(name)))


def _advice(motion_module: str, *settings: Any) -> Any:
    """What is known to fail with these settings, or nothing."""
    with faults_in_words(page_words()):
        family = catalog.find_motion_module(motion_module).known_family
    told = advise(family, dict(zip(ADVISED_ON, settings, strict=True))) if family else []
    return gr.update(value=message_html(" ".join(told), is_error=True), visible=bool(told))


def motion_line(motion_module: str, language: str = ENGLISH) -> str:
    """What a motion module is, in words."""
    entry = catalog.find_motion_module(motion_module)
    family = entry.known_family
    known = say(language, "told.motion.unknown")
    if family:
        known = say(language, "told.motion.known", name=family.name, what=say_note(language, family.in_words))
    return f"{say_or(language, f'told.motion_module.{entry.id}', entry.description)} {known}"


def model_line(model: BaseModel, language: str = ENGLISH) -> str:
    """What a base model is, in words."""
    return f"**{model.label}**: {say_or(language, f'told.base_model.{model.id}', model.description)}"
