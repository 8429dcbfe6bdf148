"""The text that AUTOMATIC1111's web UI puts into its pictures, clips and TXT files, as fields of a request.

Prompt lines, `Negative prompt:` lines, then one line of settings, of which sd-webui-animatediff's are one.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from api.model_names import model_named
from api.modes import Mode
from api.seed_args import faults_of_seed, fields_of_seed
from api.seed_names import SAMPLERS
from pipelines import catalog
from pipelines.choices import HiresMethod
from pipelines.errors import UserError

MAX_CHARACTERS = 1 << 20
"""Longer texts are none."""

_NEGATIVE = "Negative prompt:"
_SETTING = re.compile(
    r"""\s*(?P<key>\w[\w /\-]{0,80}+):\s*  # a colon ends a name
    (?P<value>"(?:[^"\\]|\\.)*+"(?=\s*(?:,|$))|\{[^{}]*+\}(?=\s*(?:,|$))|[^,]*+)\s*(?:,|$)""",
    re.VERBOSE,
)
# Its own values are not quoted: one ends where the next key begins, whatever commas it has.
_NEXT_ARGUMENT = re.compile(r",\s*(?=[a-z]\w{0,40}:(?:\s|$))")
_REPR_ITEM = re.compile(r"""'(\w{1,60})':\s*('(?:[^'\\]|\\.)*+'|"(?:[^"\\]|\\.)*+"|\[[^\[\]]*+\]|[^,}]*+)""")
_MOST_TOLD = 12
_SHOWN = 60
_MERELY_TOLD = {"Model hash", "VAE hash", "Lora hashes", "Hashes", "Version", "Batch size", "Batch pos"}


@dataclass(frozen=True)
class Infotext:
    """An infotext's parts.

    Args:
        prompt, negative_prompt: Their lines.
        settings: The values of the last line by name, as text.
    """

    prompt: str
    negative_prompt: str
    settings: Mapping[str, str]


def parse_infotext(text: str) -> Infotext:
    r"""Take an infotext apart.

    Raises:
        UserError: It is none.

    Example:
        >>> parse_infotext("a cat\nNegative prompt: a dog\nSteps: 20, Sampler: DDIM, Model: \"a, b\"").settings
        {'Steps': '20', 'Sampler': 'DDIM', 'Model': 'a, b'}
    """
    if len(text) > MAX_CHARACTERS:
        raise UserError(
            f"infotext must have at most {MAX_CHARACTERS:,} characters, got {len(text):,}. Choose another file."
        )
    lines = text.replace("\r\n", "\n").strip().split("\n")
    last = next((index for index in range(len(lines) - 1, -1, -1) if re.match(r"\s*Steps:\s", lines[index])), None)
    if last is None:
        raise UserError(
            f"file must carry a recipe or an infotext with 'Steps: …', got {text[:_SHOWN]!r}. Choose another file."
        )
    first = next((index for index in range(last) if lines[index].strip().startswith(_NEGATIVE)), last)
    negative = "\n".join(lines[first:last]).strip().removeprefix(_NEGATIVE)
    return Infotext("\n".join(lines[:first]).strip(), negative.strip(), _settings(lines[last]))


def is_infotext(text: str) -> bool:
    """Whether a text is an infotext, as opposed to a recipe of ours."""
    try:
        parse_infotext(_unpacked(text))
    except UserError:
        return False
    return True


def fields_of_infotext(text: str) -> tuple[dict[str, Any], list[str], Mode]:
    """The fields of a request that an infotext means; what it does not say is not filled in.

    Whether the values fit our ranges is left to the request.

    Returns:
        The fields by name, in words what has no counterpart here, and what the clip was made from.

    Raises:
        UserError: It is no infotext.
    """
    info = parse_infotext(_unpacked(text))
    fields: dict[str, Any] = {"prompt": info.prompt, "negative_prompt": info.negative_prompt}
    notes: list[str] = []
    for key, (name, read) in _READERS.items():
        if key in info.settings:
            value = read(info.settings[key])
            if value is None:
                notes.append(f"{key}: '{info.settings[key][:_SHOWN]}' has no counterpart here. Choose one.")
            else:
                fields[name] = value
    more, told = _size_and_denoising(info.settings)
    fields |= more
    notes += told
    if "AnimateDiff" in info.settings:
        more, told = _animatediff(info.settings["AnimateDiff"])
        fields |= more
        notes += told
    if "base_model" not in fields and "motion_module" in fields:
        fields |= _base_model_for(fields["motion_module"])
    mode = Mode.IMG2VID if "strength" in fields else Mode.TXT2VID
    if mode is Mode.IMG2VID:
        notes.append("Choose again: First frame, since the infotext does not hold it.")
    return fields, notes + _left_out(info.settings), mode


def _clip_skip(text: str) -> int | None:
    """The host counts from 1."""
    return int(text) - 1 if re.fullmatch(r"[1-9]\d?", text) else None


def _vae(text: str) -> str | None:
    return "" if text in ("None", "Automatic") else model_named("vae", text)


_READERS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "Steps": ("num_inference_steps", str),
    "CFG scale": ("guidance_scale", str),
    "Seed": ("seed", str),
    "Sampler": ("scheduler", lambda text: SAMPLERS.get(text.lower())),
    "Clip skip": ("clip_skip", _clip_skip),
    "Model": ("base_model", lambda text: model_named("base_model", text)),
    "VAE": ("vae", _vae),
}
_ELSEWHERE = {"Size", "Denoising strength", "Hires upscale", "Hires upscaler", "AnimateDiff"}


def _size_and_denoising(settings: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """A denoising strength belongs to the second pass if there is one, else to the picture it began with."""
    fields: dict[str, Any] = {}
    notes = []
    if "Size" in settings:
        size = re.fullmatch(r"(\d{1,6})\s*[x×]\s*(\d{1,6})", settings["Size"])
        if size:
            fields |= {"width": int(size[1]), "height": int(size[2])}
        else:
            notes.append(f"Size: '{settings['Size'][:_SHOWN]}' must be like 512x512.")
    strength = settings.get("Denoising strength")
    if "Hires upscale" not in settings:
        return fields | ({} if strength is None else {"strength": strength}), notes
    fields["hires_scale"] = settings["Hires upscale"]
    if strength is not None:
        fields["hires_strength"] = strength
    upscaler = settings.get("Hires upscaler", "Latent")
    fields["hires_method"] = HiresMethod.LATENT if upscaler.startswith("Latent") else HiresMethod.PIXEL
    if not upscaler.startswith(("Latent", "Lanczos")):
        notes.append(f"Hires upscaler: '{upscaler[:_SHOWN]}' has no counterpart here; pixels are enlarged.")
    return fields, notes


def _animatediff(text: str) -> tuple[dict[str, Any], list[str]]:
    """Its settings; those that are broken are told, and the others count all the same."""
    args = _arguments(text)
    faults = faults_of_seed(args)
    fields, notes = fields_of_seed({key: value for key, value in args.items() if key not in faults})
    told = list(faults.values())
    if len(told) > _MOST_TOLD:
        told[_MOST_TOLD:] = [f"{len(told) - _MOST_TOLD:,} more arguments of AnimateDiff can't be read."]
    return fields, told + notes


def _base_model_for(module: str) -> dict[str, str]:
    """A base model that fits, in the place of one that is not here."""
    family = catalog.find_motion_module(module).family
    fitting = [model.id for model in catalog.base_models() if family and model.family == family]
    return {"base_model": fitting[0]} if fitting else {}


def _left_out(settings: Mapping[str, str]) -> list[str]:
    names = [name for name in settings if name not in _READERS and name not in _ELSEWHERE | _MERELY_TOLD]
    if not names:
        return []
    more = f" and {len(names) - _MOST_TOLD:,} more" if len(names) > _MOST_TOLD else ""
    shown = ", ".join(f"{name} ({settings[name][:_SHOWN]})" for name in names[:_MOST_TOLD])
    return [f"Without a counterpart here: {shown}{more}."]


def _settings(line: str) -> dict[str, str]:
    found: dict[str, str] = {}
    at = 0
    while at < len(line):
        match = _SETTING.match(line, at)
        if match is None or match.end() == at:
            at = line.find(",", at) + 1 or len(line)  # what is no setting is passed over, to the next comma
            continue
        found.setdefault(match["key"].strip(), _unquoted(match["value"].strip()))
        at = match.end()
    return found


def _unquoted(text: str) -> str:
    """A value as it was before the host quoted it, as JSON does."""
    if text[:1] != '"' or text[-1:] != '"' or text == '"':
        return text
    try:
        return str(json.loads(text, strict=False))
    except ValueError:
        return text[1:-1]


def _arguments(text: str) -> dict[str, Any]:
    """The settings of sd-webui-animatediff: `key: value` with commas between, or a whole dict, as JSON or Python."""
    if text.startswith("{"):
        return _read_dict(text)
    pairs = (part.partition(":") for part in _NEXT_ARGUMENT.split(text))
    return {key.strip(): _read_value(value.strip()) for key, colon, value in pairs if colon}


def _read_dict(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {key: _read_value(value.strip()) for key, value in _REPR_ITEM.findall(text)}
    return found if isinstance(found, dict) else {}


def _read_value(text: str) -> Any:
    """A value as Python or JSON writes it; what is neither stays text."""
    constants = {"true": True, "false": False, "none": None, "null": None}
    if text.lower() in constants:
        return constants[text.lower()]
    if re.fullmatch(r"[+-]?\d{1,18}", text):
        return int(text)
    if re.fullmatch(r"[+-]?\d{0,18}\.\d{1,18}", text):
        return float(text)
    if text[:1] == "[" and text[-1:] == "]":
        return [_read_value(one.strip()) for one in text[1:-1].split(",") if one.strip()]
    if text[:1] in ("'", '"') and text[-1:] == text[:1] and len(text) > 1:
        return re.sub(r"\\(.)", lambda sign: {"n": "\n", "t": "\t"}.get(sign[1], sign[1]), text[1:-1])
    return text


def _unpacked(text: str) -> str:
    """The infotext of a TXT of sd-webui-animatediff 1: a Python dict with it and some settings.

    They become an `AnimateDiff` setting of the text, unless it has one.
    """
    if not text.lstrip().startswith("{") or len(text) > MAX_CHARACTERS:
        return text
    found = _read_dict(text)
    parameters = found.get("parameters")
    if not isinstance(parameters, str):
        return text
    args = {"model" if key == "motion_module" else key: value for key, value in found.items() if key in _IN_TXT}
    if not args or "AnimateDiff:" in parameters:
        return parameters
    told = ", ".join(f"{key}: {value}" for key, value in args.items())
    return f"{parameters}, AnimateDiff: {json.dumps(told, ensure_ascii=False)}"


_IN_TXT = ("motion_module", "video_length", "fps", "loop_number")
