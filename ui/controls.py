"""Controls generated from the request's fields: label, help, bounds and step stand in `request.py`."""

import inspect
from collections.abc import Sequence
from enum import StrEnum
from fractions import Fraction
from typing import Any, get_args, get_origin

import gradio as gr
from pydantic import BaseModel

from api.fields import json_default
from api.limits import allowed_bounds
from pipelines import catalog
from pipelines.choices import (
    ClosedLoop,
    ColorMatch,
    ContextFuse,
    ContextSchedule,
    FreeInitFilter,
    GifOptimize,
    HiresMethod,
    Interpolation,
    MotionNorm,
    Mp4Preset,
    Mp4Tune,
    NoiseLayout,
    OutputFormat,
    PromptBlend,
    Reverse,
    Scheduler,
)
from pipelines.image_fit import ImageFit
from pipelines.request import GenerationRequest, field_label, field_step
from pipelines.schedules import Keys
from pipelines.settings import settings

_MOST_SLIDER_STOPS = 300  # beyond this a slider cannot be aimed; a number box can
_PROMPT_LINES = {"prompt": 3, "negative_prompt": 2}

_LABELS: tuple[tuple[StrEnum, str], ...] = (
    (Scheduler.DDIM, "DDIM"),
    (Scheduler.EULER, "Euler"),
    (Scheduler.EULER_A, "Euler ancestral"),
    (Scheduler.DPMPP_2M, "DPM++ 2M"),
    (Scheduler.LCM, "LCM"),
    (PromptBlend.LERP, "Straight (lerp)"),
    (PromptBlend.SLERP, "Along an arc (slerp)"),
    (ContextSchedule.UNIFORM, "Uniform"),
    (ContextSchedule.STATIC, "Static"),
    (ContextSchedule.LOOPED, "Looped"),
    (ContextSchedule.BATCHED, "Batched"),
    (ContextSchedule.SHUFFLE, "Shuffle"),
    (ContextSchedule.COMPOSITE, "Composite"),
    (ClosedLoop.OFF, "Off"),
    (ClosedLoop.WINDOWS, "Windows"),
    (ClosedLoop.PROMPTS, "Windows and prompts"),
    (ClosedLoop.FULL, "Full"),
    (Reverse.OFF, "Off"),
    (Reverse.APPEND, "Append"),
    (Reverse.DROP_HEAD, "Append, drop head"),
    (Reverse.DROP_TAIL, "Append, drop tail"),
    (Reverse.DROP_BOTH, "Append, drop both"),
    (ContextFuse.PYRAMID, "Pyramid"),
    (ContextFuse.FLAT, "Flat"),
    (ContextFuse.OVERLAP_LINEAR, "Overlap linear"),
    (ContextFuse.RELATIVE, "Relative"),
    (ContextFuse.LAST, "Last"),
    (NoiseLayout.ONE_DRAW, "One draw"),
    (NoiseLayout.FRAME_SEEDS, "Frame seeds"),
    (NoiseLayout.REPEAT, "Repeat"),
    (NoiseLayout.SHUFFLE, "Shuffle"),
    (NoiseLayout.CONSTANT, "Constant"),
    (FreeInitFilter.BUTTERWORTH, "Butterworth"),
    (FreeInitFilter.GAUSSIAN, "Gaussian"),
    (FreeInitFilter.IDEAL, "Ideal"),
    (FreeInitFilter.BOX, "Box"),
    (MotionNorm.ORIGINAL, "Original"),
    (MotionNorm.DIFFUSERS, "As diffusers"),
    (ImageFit.CROP, "Crop"),
    (ImageFit.PAD, "Pad"),
    (ImageFit.STRETCH, "Stretch"),
    (OutputFormat.MP4, "MP4 video"),
    (OutputFormat.GIF, "GIF"),
    (HiresMethod.LATENT, "Latent"),
    (HiresMethod.PIXEL, "Pixel"),
    (Interpolation.OFF, "Off"),
    (Interpolation.FLOW, "Flow"),
    (Interpolation.FILM, "FILM"),
    (ColorMatch.OFF, "Off"),
    (ColorMatch.FIRST, "First frame"),
    (ColorMatch.SOURCE, "Source clip"),
    (OutputFormat.WEBP, "WebP"),
    (OutputFormat.WEBM, "WebM video"),
    (OutputFormat.APNG, "APNG"),
    (OutputFormat.PNG, "PNG frames (zip)"),
    (OutputFormat.TXT, "Recipe (text)"),
    *((preset, preset.capitalize()) for preset in Mp4Preset),
    *((tune, tune.capitalize()) for tune in Mp4Tune),
    (GifOptimize.OFF, "Off"),
    (GifOptimize.LOSSLESS, "Without loss"),
    (GifOptimize.LOSSY, "With loss"),
)
_LABEL_OF = {(type(choice), choice.value): label for choice, label in _LABELS}  # kinds may share an id


def build_control(name: str, value: Any = None, *, base_model: str | None = None) -> gr.components.Component:
    """The control of one field, with the field's name as its `elem_id`.

    Args:
        name: A field of the request.
        value: What it shows at first; the field's default if not given.
        base_model: The lists of models hold only what may fit this one.
    """
    value = json_default(name) if value is None else value
    shared = {
        "label": field_label(name),
        "info": _info(name),
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


def _one_line(value: float | str | Sequence[int]) -> str:
    """A factor, a seed or lengths as people write them."""
    if isinstance(value, float):
        return f"{value:g}"
    return str(value) if isinstance(value, (int, str)) else ", ".join(map(str, value))


def shown_value(name: str, value: Any) -> Any:
    """What a field's control shows for a value as a recipe has it; the request reads it back as the same.

    Example:
        >>> shown_value("fps", "25/2"), shown_value("seed", 7), shown_value("extended_from", [16, 32])
        (12.5, '7', '16, 32')
    """
    annotation = GenerationRequest.model_fields[name].annotation
    if name == "seed" or annotation in (Keys, tuple[int, ...]):
        return _one_line(value)
    if annotation is Fraction:
        rate = Fraction(str(value))
        return int(rate) if rate.denominator == 1 else float(rate)
    return value


def _number(name: str, shared: dict[str, Any]) -> gr.components.Component:
    """A slider where it can be aimed, else a box. A box has no bounds: the request's own words are better."""
    low, high = allowed_bounds(name)
    step = field_step(name)
    if step and high is not None:
        low = step if low is None else low  # a bound given as 'above 0' starts at the first stop
        if (high - low) / step <= _MOST_SLIDER_STOPS:
            return gr.Slider(minimum=low, maximum=high, step=step, buttons=[], **shared)
    return gr.Number(**shared)


def _info(name: str) -> str:
    text = str(GenerationRequest.model_fields[name].description)
    low, high = allowed_bounds(name)
    if name == "seed":
        return f"{text} 7, 42, 1000 makes a clip of each."
    if name == "num_frames":
        return f"{text} {low:,} to {high:,}."
    return text


def _choices(kind: type[StrEnum]) -> Sequence[tuple[str, str]]:
    return [(choice_label(choice), choice.value) for choice in kind]


def model_choices(name: str, base_model: str | None = None) -> Sequence[tuple[str, str]]:
    """Label and id of the models to choose from; motion modules and VAEs only if they may fit a base model."""
    if name == "base_model":
        return [(entry.label, entry.id) for entry in catalog.base_models()]
    if name == "upscaler":
        return [("Lanczos", "lanczos"), *((entry.label, entry.id) for entry in catalog.upscalers())]
    family = catalog.find_base_model(base_model).family if base_model else None
    own = [("The base model's own", "")] if name == "vae" else []
    return own + [
        (entry.label, entry.id)
        for entry in (catalog.vaes() if name == "vae" else catalog.motion_modules())
        if None in (family, entry.family) or family == entry.family
    ]


def control_model_choices(name: str, base_model: str) -> Sequence[tuple[str, str]]:
    """Label and id of the control models ("controls") or IP-Adapters ("image_prompts") that may fit a base model."""
    family = catalog.find_base_model(base_model).family
    return [
        (entry.label, entry.id)
        for entry in (catalog.controlnets() if name == "controls" else catalog.ip_adapters())
        if None in (family, entry.family) or family == entry.family
    ]


def choice_label(choice: StrEnum) -> str:
    """What people read for a choice; ids stay in the values."""
    return _LABEL_OF[type(choice), choice.value]


def words_of(kind: type[BaseModel], name: str) -> dict[str, str]:
    """Label and help of a field of a request, or of a part of one, for its component."""
    field = kind.model_fields[name]
    assert isinstance(field.json_schema_extra, dict)
    return {"label": str(field.json_schema_extra["label"]), "info": str(field.description)}


def allows_any() -> bool:
    """Whether the operator lets people type the name of any repository."""
    return settings().any_model
