"""Translate infotexts of AUTOMATIC1111's web UI into request fields.

The text in pictures, clips and TXT files: prompt lines, `Negative prompt:` lines, then one line of settings, of which
sd-webui-animatediff's are one.
"""

import json
import re
from collections.abc import Callable, Mapping
from statistics import fmean

from api.recipes.infotext_parts import MAX_CHARACTERS, Infotext, arguments_of, parse_infotext, read_dict
from api.recipes.model_names import model_named
from api.recipes.sampler_names import sampler_named, schedule_named
from api.recipes.webui_args import faults_of_args, fields_of_args
from pipelines.plan import catalog
from pipelines.plan.choices import HiresMethod
from pipelines.plan.errors import UserError
from studio.fields import FieldValues
from studio.modes import Mode

_MOST_NOTES = 12
_SHOWN = 60
# What says how a file came about, and changes no frame here.
_INFORMATIONAL = re.compile(
    r"(?:Model|VAE|Lora|LoRA|TI|Refiner|Embedding|Init image|Hires checkpoint|Control\w*)? ?[Hh]ash(?:es)?"
    r"|Version|App|Backend|Pipeline|Parser|Operations?|Index|Batch|Batch (?:size|pos|count)|User|Comment|Created Date"
    r"|Civitai [\w ]+|Source Identifier|RNG|Diffusion in Low Bits|Distilled CFG Scale|Shift|Precision|Repository"
    r"|Sampler (?:alias|options?)|Seed Mode|Image CFG scale|Metadata|Template|Negative Template"
    r"|Hires prompt mode|Embeddings"
)
_NEUTRAL = {
    "Face restoration": ("None", "False"),
    "Tiling": ("False",),
    "Hires steps": ("0",),
    "Hires schedule type": ("Use same scheduler", "Automatic"),
    "Hires sampler": ("Use same sampler", "Default"),
    "Hires checkpoint": ("Use same checkpoint",),
    "Hires Module 1": ("Use same choices", "Use same"),
    "Variation seed strength": ("0", "0.0"),
    "Seed resize from": ("-1x-1", "0x0"),
    "First pass size": ("0x0",),
    "Refine": ("True", "False"),
    "Eta": ("0", "0.0"),
    "Style": ("", "[]"),
    "Styles": ("", "[]"),
}
"""Values that are as good as none."""

_HIRES = ("Hires upscale", "Hires resize", "Hires fixed", "Hires steps", "Hires upscaler", "First pass size")
_PYTHON = re.compile(r"\s*[\[{]\s*(?:\{\s*)?'[^\n]*\Z")  # a dict or list of Python's, in one line
_SIZE = re.compile(r"(\d{1,6})\s*[xX×*]\s*(\d{1,6})")


def is_infotext(text: str) -> bool:
    """Whether a text is an infotext rather than our own recipe."""
    try:
        parse_infotext(_unwrap(text))
    except UserError:
        return False
    return True


def fields_of_infotext(text: str) -> tuple[FieldValues, list[str], Mode]:
    """Translate an infotext into request fields.

    Only fields that it names are filled in. Whether the values fit our ranges is left to the request.

    Returns:
        The fields by name, in words what has no counterpart here, and what the clip was made from.

    Raises:
        UserError: It is no infotext.
    """
    return fields_of_parts(parse_infotext(_unwrap(text)))


def fields_of_parts(info: Infotext) -> tuple[FieldValues, list[str], Mode]:
    """Translate a parsed infotext; returns as `fields_of_infotext`."""
    settings = _split_schedule(info.settings)
    fields: FieldValues = {"prompt": info.prompt, "negative_prompt": info.negative_prompt}
    notes: list[str] = []
    for key, (name, read) in _READERS.items():
        if key in settings:
            value = read(settings[key])
            if value is None:
                notes.append(f"{key}: '{settings[key][:_SHOWN]}' has no counterpart here. Choose one.")
            else:
                fields[name] = value
    for read_several in (_size, _denoising):
        extra_fields, extra_notes = read_several(settings)
        fields |= extra_fields
        notes += extra_notes
    if "AnimateDiff" in settings:
        extra_fields, extra_notes = _animatediff(settings["AnimateDiff"])
        fields |= extra_fields
        notes += extra_notes
    if "base_model" not in fields and "motion_module" in fields:
        fields |= _base_model_for(str(fields["motion_module"]))
    mode = Mode.IMG2VID if "strength" in fields else Mode.TXT2VID
    if mode is Mode.IMG2VID:
        notes.append("Choose again: First frame, since the infotext does not hold it.")
    return fields, notes + _left_out(settings), mode


def _split_schedule(settings: Mapping[str, str]) -> dict[str, str]:
    """Split `DPM++ 2M Karras` into sampler and schedule; drop neutral schedules."""
    split = dict(settings)
    if "Sampler" in split:
        sampler, schedule = sampler_named(split["Sampler"])
        if schedule:
            split.setdefault("Schedule type", schedule)
        if sampler is None and schedule_named(split["Sampler"]) == "":
            del split["Sampler"]
    if "Schedule type" in split and schedule_named(split["Schedule type"]) == "":
        del split["Schedule type"]
    return split


def _clip_skip(text: str) -> int | None:
    """The host counts from 1."""
    return int(text) - 1 if re.fullmatch(r"[1-9]\d?", text) else None


def _vae(text: str) -> str | None:
    return "" if text.lower() in ("none", "automatic", "default", "default (model)") else model_named("vae", text)


_READERS: dict[str, tuple[str, Callable[[str], object]]] = {
    "Steps": ("num_inference_steps", str),
    "CFG scale": ("guidance_scale", str),
    "Seed": ("seed", str),
    "Sampler": ("scheduler", lambda text: sampler_named(text)[0]),
    "Clip skip": ("clip_skip", _clip_skip),
    "Model": ("base_model", lambda text: model_named("base_model", text)),
    "VAE": ("vae", _vae),
}
_ELSEWHERE = {"Size", "Denoising strength", "Hires strength", "AnimateDiff", *_HIRES} - {"Hires steps"}


def _size(settings: Mapping[str, str]) -> tuple[FieldValues, list[str]]:
    if "Size" not in settings:
        return {}, []
    size = _SIZE.fullmatch(settings["Size"])
    if not size:
        return {}, [f"Size: '{settings['Size'][:_SHOWN]}' must be like 512x512."]
    first = _SIZE.fullmatch(settings.get("First pass size", ""))
    if first and int(first[1]) and int(first[2]):  # of the web UI in 2022, whose size is that of the second pass
        size = first
    sides = int(size[1]), int(size[2])
    width, height = (length - length % 8 for length in sides)
    notes = [f"Size: {size[0]} is no multiple of 8; it becomes {width}x{height}."]
    return {"width": width, "height": height}, notes if (width, height) != sides else []


def _denoising(settings: Mapping[str, str]) -> tuple[FieldValues, list[str]]:
    """Read a denoising strength: second pass's if any, else the picture's."""
    strength = settings.get("Hires strength", settings.get("Denoising strength"))
    if not any(key in settings for key in _HIRES):
        return {} if strength is None else {"strength": strength}, []
    fields: FieldValues = {} if strength is None else {"hires_strength": strength}
    scale, notes = _hires_scale(settings)
    if scale is not None:
        fields["hires_scale"] = scale
    upscaler = settings.get("Hires upscaler", "Latent")
    fields["hires_method"] = HiresMethod.LATENT if upscaler.startswith("Latent") else HiresMethod.PIXEL
    if not upscaler.startswith(("Latent", "Lanczos")):
        notes.append(f"Hires upscaler: '{upscaler[:_SHOWN]}' has no counterpart here; pixels are enlarged.")
    return fields, notes


def _hires_scale(settings: Mapping[str, str]) -> tuple[str | float | None, list[str]]:
    """Read the second pass's scale, or derive it from sizes."""
    if "Hires upscale" in settings:
        return settings["Hires upscale"], []
    size, key = _SIZE.fullmatch(settings.get("Size", "")), "Hires resize"
    first = _SIZE.fullmatch(settings.get("First pass size", ""))
    larger: re.Match[str] | None
    if first and size and int(first[1]) and int(first[2]):
        larger, size, key = size, first, "Size"
    else:
        key = next((name for name in ("Hires resize", "Hires fixed") if name in settings), "")
        larger = _SIZE.fullmatch(settings.get(key, ""))
    if not (larger and size):
        return None, ["The size of the second pass is not told. Choose 'Second pass'."]
    ratios = [int(larger[side]) / int(size[side]) for side in (1, 2) if int(larger[side]) and int(size[side])]
    if not ratios:
        return None, [f"{key}: '{settings[key][:_SHOWN]}' must be like 768x768."]
    scale = round(fmean(ratios), 4)
    if max(ratios) - min(ratios) > 0.02 * scale:
        return scale, [f"{key}: '{settings[key]}' has another shape than the clip; it is enlarged {scale:g} times."]
    return scale, []


def _animatediff(text: str) -> tuple[FieldValues, list[str]]:
    """Read AnimateDiff's settings; broken ones become notes."""
    args = arguments_of(text)
    faults = faults_of_args(args)
    fields, notes = fields_of_args({key: value for key, value in args.items() if key not in faults})
    fault_notes = list(faults.values())
    if len(fault_notes) > _MOST_NOTES:
        fault_notes[_MOST_NOTES:] = [f"{len(fault_notes) - _MOST_NOTES:,} more arguments of AnimateDiff can't be read."]
    return fields, fault_notes + notes


def _base_model_for(module: str) -> dict[str, str]:
    """Choose a base model that fits a motion module."""
    family = catalog.find_motion_module(module).family
    fitting = [model.id for model in catalog.base_models() if family and model.family == family]
    return {"base_model": fitting[0]} if fitting else {}


def _left_out(settings: Mapping[str, str]) -> list[str]:
    names = [
        name
        for name, value in settings.items()
        if name not in _READERS
        and name not in _ELSEWHERE
        and not _INFORMATIONAL.fullmatch(name)
        and value not in _NEUTRAL.get(name, ())
    ]
    if not names:
        return []
    remainder = f" and {len(names) - _MOST_NOTES:,} more" if len(names) > _MOST_NOTES else ""
    listing = ", ".join(f"{name} ({settings[name][:_SHOWN]})" for name in names[:_MOST_NOTES])
    return [f"Without a counterpart here: {listing}{remainder}."]


def _unwrap(text: str) -> str:
    """Extract the infotext from a Python dict or an API's answer.

    A TXT of sd-webui-animatediff 1 is such a dict; its settings become an `AnimateDiff` setting of the text, unless it
    has one. Of other JSON nothing is left: an infotext that a graph or an answer quotes somewhere is not all of it.
    """
    if text.lstrip()[:1] not in ("{", "[") or len(text) > MAX_CHARACTERS:
        return text
    is_json, document = _structure_of(text)
    parameters = _infotext_in(document)
    if parameters is None:
        return "" if is_json or _PYTHON.match(text) else text
    args = {"model" if key == "motion_module" else key: value for key, value in document.items() if key in _IN_TXT}
    if not args or "AnimateDiff:" in parameters:
        return parameters
    arguments = ", ".join(f"{key}: {value}" for key, value in args.items())
    return f"{parameters}, AnimateDiff: {json.dumps(arguments, ensure_ascii=False)}"


def _structure_of(text: str) -> tuple[bool, FieldValues]:
    """Parse JSON or a Python dict; returns whether it is JSON."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return False, read_dict(text)
    return True, document if isinstance(document, dict) else {}


def _infotext_in(document: Mapping[str, object]) -> str | None:
    """Find the infotext under the web UI's and its API's keys."""
    answer = document.get("info")
    if isinstance(answer, str) and answer.lstrip()[:1] == "{":
        return _infotext_in(_structure_of(answer)[1])
    texts = document.get("infotexts")
    first = texts[0] if isinstance(texts, list) and texts else None
    candidates = (document.get("parameters"), first, answer)
    return next((text for text in candidates if isinstance(text, str)), None)


_IN_TXT = ("motion_module", "video_length", "fps", "loop_number")
