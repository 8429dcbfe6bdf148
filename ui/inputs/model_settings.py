"""Updates of the page when models are chosen."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

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
from ui.parts.updates import Update, UpdatesById
from ui.words.refusals import page_words
from ui.words.speech import say, say_note, say_or, visitor_language
from ui.words.tables import ENGLISH

_ON_PURPOSE = ("width", "height", "motion_scale")


def wire_models(
    controls: dict[str, Component], model_line_box: gr.Markdown, motion_line_box: gr.Markdown, advice: gr.HTML
) -> None:
    """Apply settings when a model is chosen, with live advice."""
    # Without preprocessing: it would compare with the lists the page was built with, and they change.
    plain = QUIET | {"preprocess": False}
    settings = [controls[name] for name in MODEL_FIELDS]
    base, motion = controls["base_model"], controls["motion_module"]
    adjustable = [controls[name] for name in _ON_PURPOSE]
    base.input(
        _base_settings, [base, *adjustable], [model_line_box, motion_line_box, controls["vae"], *settings], **plain
    )
    motion.input(_motion_settings, [base, motion, *adjustable], [motion_line_box, *settings], **plain)
    judged = [controls[name] for name in ("motion_module", *ADVISED_ON)]
    for control in judged:
        control.change(_advice, judged, advice, **plain)


def _base_settings(base_model: str, *current: object) -> list[Update]:
    """Build the updates for a newly chosen base model."""
    with faults_in_words(page_words()):
        defaults = catalog.complete({"base_model": base_model})
        model = catalog.find_base_model(base_model)
    modules = gr.update(value=defaults["motion_module"], choices=model_choices("motion_module", base_model))
    changed = (
        changed_settings(defaults, current)
        | {name: defaults[name] for name in ("width", "height")}
        | {"motion_module": modules}
    )
    return [
        model_line(model, visitor_language()),
        motion_line(str(defaults["motion_module"]), visitor_language()),
        gr.update(value="", choices=model_choices("vae", base_model)),
        *(changed[name] for name in MODEL_FIELDS),
    ]


def model_values(values: Mapping[str, object]) -> UpdatesById:
    """Build model lists and lines for a request, by `elem_id`.

    Args:
        values: Fields of the request, with models that are here.
    """
    base_model, module = str(values["base_model"]), str(values["motion_module"])
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


def _motion_settings(base_model: str, motion_module: str, *current: object) -> list[Update]:
    """Build the updates for a newly chosen motion module."""
    with faults_in_words(page_words()):
        defaults = catalog.complete({"base_model": base_model, "motion_module": motion_module})
        family = catalog.find_motion_module(motion_module).known_family
    changed = changed_settings(defaults, current, decided=family.settings if family else {})
    return [motion_line(motion_module, visitor_language()), *(changed[name] for name in MODEL_FIELDS)]


def changed_settings(
    defaults: Mapping[str, object], current: Sequence[object], decided: Mapping[str, object] = MappingProxyType({})
) -> UpdatesById:
    """Compute new values of the models' fields.

    What people may have set on purpose stays, unless the motion module decides it, or the one before did.

    Args:
        defaults: Settings of the models.
        current: Values of the controls of `_ON_PURPOSE`.
        decided: Settings that the motion module decides.
    """
    values: UpdatesById = {name: _setting(defaults, name) for name in MODEL_FIELDS}
    now = dict(zip(_ON_PURPOSE, map(str, current), strict=True))
    for names in (("width", "height"), ("motion_scale",)):
        advised = [[str(family.settings.get(name)) for name in names] for family in FAMILIES.values()]
        if not decided.keys() & set(names) and [now[name] for name in names] not in advised:
            values |= dict.fromkeys(names, gr.skip())
    return values


def _setting(defaults: Mapping[str, object], name: str) -> Update:
    return shown_value(name, defaults.get(name, plain_default(name)))


def _advice(motion_module: str, *settings: object) -> Update:
    """Render advice about failing settings, hidden if there is none."""
    with faults_in_words(page_words()):
        family = catalog.find_motion_module(motion_module).known_family
    sentences = advise(family, dict(zip(ADVISED_ON, settings, strict=True))) if family else []
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
