"""Build controls from the request's fields and their metadata."""

import inspect
from enum import StrEnum
from fractions import Fraction
from typing import get_args, get_origin

import gradio as gr
from pydantic import BaseModel

from pipelines.plan import catalog
from pipelines.plan.rates import written_rate
from pipelines.plan.request import GenerationRequest, field_step
from pipelines.plan.schedules import Keys
from pipelines.plan.settings import settings
from studio.fields import json_default, plain_default
from studio.limits import allowed_bounds
from ui.parts.updates import Choices
from ui.words.speech import say, word
from ui.words.tables import ENGLISH, RECORDS

_MOST_SLIDER_STOPS = 300  # beyond this a slider cannot be aimed; a number box can
_PROMPT_LINES = {"prompt": 3, "negative_prompt": 2}


def build_control(name: str, value: object = None, *, base_model: str | None = None) -> gr.components.Component:
    """Build a field's control, with its name as `elem_id`.

    Args:
        name: A field of the request.
        value: What it shows at first; the field's default if not given.
        base_model: The lists of models hold only what may fit this one.
    """
    value = next(candidate for candidate in (value, json_default(name), plain_default(name)) if candidate is not None)
    shared: dict[str, object] = {
        **words_of(GenerationRequest, name),
        "value": value,
        "elem_id": name,
        "interactive": True,
    }
    annotation = GenerationRequest.model_fields[name].annotation
    if name in ("base_model", "motion_module", "vae", "upscaler"):
        free = {"filterable": allows_any(), "allow_custom_value": allows_any()}
        return gr.Dropdown(choices=model_choices(name, base_model), **free, **shared)
    if name == "seed" or annotation in (Keys, tuple[int, ...]):
        return gr.Textbox(max_lines=1, **shared | {"value": _one_line(value)})
    if get_origin(annotation) is tuple:
        return gr.CheckboxGroup(choices=_choices(get_args(annotation)[0]), **shared)
    if inspect.isclass(annotation) and issubclass(annotation, StrEnum):
        return gr.Dropdown(choices=_choices(annotation), filterable=False, **shared)
    if annotation is str:
        # The length is checked by the request, whose message says what to do; the box must not cut silently.
        return gr.Textbox(lines=_PROMPT_LINES.get(name, 1), max_lines=8, **shared)
    if annotation in (bool, int, float, Fraction):
        return gr.Checkbox(**shared) if annotation is bool else _number(name, shared)
    raise TypeError(f"No control is known for the field {name!r} of type {annotation!r}.")


def _one_line(value: object) -> str:
    """Format a factor, a seed or lengths as people write them."""
    if isinstance(value, float):
        return f"{value:g}"
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def shown_value(name: str, value: object) -> object:
    """Convert a recipe's value to what its control shows, losslessly.

    Example:
        >>> shown_value("fps", "25/2"), shown_value("seed", 7), shown_value("extended_from", [16, 32])
        (12.5, '7', '16, 32')
    """
    annotation = GenerationRequest.model_fields[name].annotation
    if name == "seed" or annotation in (Keys, tuple[int, ...]):
        return _one_line(value)
    if annotation is Fraction:
        return written_rate(Fraction(str(value)))
    return value


def _number(name: str, shared: dict[str, object]) -> gr.components.Component:
    """Build a slider where it can be aimed, else a box.

    A box has no bounds: the request's own words are better.
    """
    low, high = allowed_bounds(name)
    low = 0 if name == "num_frames" else low  # the source's length, or a window's
    step = field_step(name)
    if step and high is not None:
        low = step if low is None else low  # a bound given as 'above 0' starts at the first stop
        if (high - low) / step <= _MOST_SLIDER_STOPS:
            return gr.Slider(minimum=low, maximum=high, step=step, buttons=[], **shared)
    return gr.Number(**shared)


def _choices(kind: type[StrEnum]) -> Choices:
    return [(word(choice_key(choice)), choice.value) for choice in kind]


def model_choices(name: str, base_model: str | None = None) -> Choices:
    """List label and id of the models to choose from.

    Motion modules and VAEs only if they may fit a base model.
    """
    if name == "base_model":
        return [(entry.label, entry.id) for entry in catalog.base_models()]
    if name == "upscaler":
        return [("Lanczos", "lanczos"), *((entry.label, entry.id) for entry in catalog.upscalers())]
    family = catalog.find_base_model(base_model).family if base_model else None
    included = [(word("choice.own_vae"), "")] if name == "vae" else []
    return included + [
        (entry.label, entry.id)
        for entry in (catalog.vaes() if name == "vae" else catalog.motion_modules())
        if None in (family, entry.family) or family == entry.family
    ]


def control_model_choices(name: str, base_model: str) -> Choices:
    """List label and id of fitting ControlNets or IP-Adapters."""
    family = catalog.find_base_model(base_model).family
    return [
        (entry.label, entry.id)
        for entry in (catalog.controlnets() if name == "controls" else catalog.ip_adapters())
        if None in (family, entry.family) or family == entry.family
    ]


def choice_label(choice: StrEnum, language: str = ENGLISH) -> str:
    """Look up the label of a choice; ids stay in the values."""
    return say(language, choice_key(choice))


def choice_key(choice: StrEnum) -> str:
    """Build the key of a choice's label; kinds may share an id."""
    return f"choice.{type(choice).__name__}.{choice.value}"


def words_of(kind: type[BaseModel], name: str) -> dict[str, str]:
    """Look up label and help of a record's field."""
    key = f"{RECORDS[kind]}.{name}"
    return {"label": word(f"{key}.label"), "info": word(f"{key}.help")}


def allows_any() -> bool:
    """Tell whether the operator allows the name of any repository."""
    return settings().any_model
