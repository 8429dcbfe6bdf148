"""What is wrong with a body, by the key that the caller sent."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Any

from api.seed_args import key_of_field
from pipelines.errors import InvalidRequestError, UserError
from pipelines.request import GenerationRequest, field_label

Place = tuple[str | int, ...]

ANIMATEDIFF: Place = ("alwayson_scripts", "AnimateDiff", "args", 0)
CONTROLNET: Place = ("alwayson_scripts", "ControlNet", "args")
NUMBERS_OF_UNIT = {"weight": "weight", "guidance_start": "start", "guidance_end": "end"}
"""A unit's keys that are fields of ours."""

_VALUE_SHOWN = 60
_KEYS = {
    "num_inference_steps": "steps",
    "guidance_scale": "cfg_scale",
    "scheduler": "sampler_name",
    "strength": "denoising_strength",
    "hires_strength": "denoising_strength",
    "hires_scale": "hr_scale",
    "first_frame": "init_images",
    "mask_feather": "mask_blur",
    "image_fit": "resize_mode",
    "batch_count": "n_iter",
    "base_model": "sd_model_checkpoint",
    "vae": "sd_vae",
    "clip_skip": "CLIP_stop_at_last_layers",
}
_SETTINGS = {"base_model", "vae", "clip_skip"}
_OWN = {"prompt", "negative_prompt", "seed", "width", "height", "mask"}


class KeyFaultError(InvalidRequestError):
    """A key's value can't be used.

    Args:
        place: Where the key stands in the body.
        text: The whole sentence, the key first.
    """

    def __init__(self, place: Place, text: str) -> None:
        super().__init__(text)
        self.place = place


def refuse(place: Place, rule: str, got: object, *, fix: str) -> KeyFaultError:
    """The error `<key> must <rule>, got <value>. <fix>`, the value shortened."""
    return KeyFaultError(place, f"{name_of(place)} must {rule}, got {shown(got)}. {fix}")


def name_of(place: Place) -> str:
    """What a text calls the value at a place: its key, or that of its list and its number there."""
    if len(place) > 1 and isinstance(place[-1], int):
        return f"{shown(place[-2])} {place[-1]}"
    return shown(place[-1]) if place else "The body"


def shown(value: object) -> str:
    """A value for a text, as JSON writes it; pictures are long, so most of it is left out."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _VALUE_SHOWN else f"{text[:_VALUE_SHOWN]}…"


def in_callers_words(
    err: InvalidRequestError,
    animatediff: Place = ANIMATEDIFF,
    units: Mapping[str, Sequence[Place]] = MappingProxyType({}),
) -> KeyFaultError:
    """The refusal of a request as one of the body it came of: its fields and controls by the caller's keys.

    Args:
        animatediff: Where AnimateDiff's arguments stand.
        units: Where the units stand that became those of a field.
    """
    if isinstance(err, KeyFaultError):
        return err
    text = str(err)
    field, _, rest = text.partition(" ")
    if field in ("controls", "image_prompts"):
        return _of_unit(text, field, rest, units.get(field, ()))
    if field in _KEYS or field in _OWN:
        key = _KEYS.get(field, field)
        place: Place = ("override_settings", key) if field in _SETTINGS else (key,)
    else:
        theirs = key_of_field(field)
        place = (*animatediff, theirs) if theirs else ()
    return KeyFaultError(place, _renamed(text, _field_keys()))


def detail_of(err: UserError) -> dict[str, Any]:
    """An error as FastAPI tells one: place, text, kind."""
    fault = in_callers_words(err) if isinstance(err, InvalidRequestError) else None
    return _told(fault.place, str(fault)) if fault else _told((), str(err))


def details_of_body(errors: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What FastAPI found, in the house's words and without the values, which may be large."""
    return [_of_body(error) for error in errors]


def _of_unit(text: str, field: str, rest: str, places: Sequence[Place]) -> KeyFaultError:
    unit = re.match(r"(\d{1,3}) (\w+)", rest)
    if unit is None:
        return KeyFaultError(CONTROLNET, _renamed(text.replace(field, "units", 1), _UNIT_KEYS))
    number = int(unit[1]) - 1
    place = places[number] if number < len(places) else (*CONTROLNET, number)
    key = _UNIT_KEYS.get(unit[2])
    return KeyFaultError((*place, key) if key else place, _renamed(rest[len(unit[1]) + 1 :], _UNIT_KEYS))


def _renamed(text: str, keys: Mapping[str, str]) -> str:
    """The text with every field and label as the caller knows it; advice about what the caller has not is left out."""
    first, _, rest = text.partition(" ")
    every = sorted(map(re.escape, keys), key=len, reverse=True)
    long = [name for name in every if "_" in name] or ["(?!)"]
    rest = re.sub(rf"'({'|'.join(every)})'|\b({'|'.join(long)})\b|\b({'|'.join(every)})\b(?= \()", _keyed(keys), rest)
    sentences = [one for one in re.split(r"(?<=\.) (?=[A-Z])", rest) if not _is_of_the_page(one)]
    return f"{keys.get(first, first)} {' '.join(sentences)}"


def _keyed(keys: Mapping[str, str]) -> Callable[[re.Match[str]], str]:
    return lambda match: keys[match[1] or match[2] or match[3]]


def _is_of_the_page(sentence: str) -> bool:
    return any(f"'{label}'" in sentence for label in _labels())


@cache
def _labels() -> frozenset[str]:
    return frozenset(field_label(name) for name in GenerationRequest.model_fields)


@cache
def _field_keys() -> Mapping[str, str]:
    """The caller's key by the field of a request and by its label."""
    keys = {name: _KEYS.get(name) or key_of_field(name) for name in GenerationRequest.model_fields}
    found = {name: key for name, key in keys.items() if key} | _KEYS
    labels = {field_label(name): key for name, key in found.items() if name in GenerationRequest.model_fields}
    own = {field_label(name): name for name in _OWN}
    return found | labels | own


_UNIT_KEYS = {ours: theirs for theirs, ours in NUMBERS_OF_UNIT.items()} | {
    "fit": "resize_mode",
    "preprocessor": "module",
    "clip": "image",
    "pictures": "image",
    "model": "model",
    "From": "guidance_start",
    "To": "guidance_end",
    "Weight": "weight",
}


def _of_body(error: Mapping[str, Any]) -> dict[str, Any]:
    place = tuple(error["loc"][1:])
    if error["type"] == "extra_forbidden" and place[:1] == ("alwayson_scripts",):
        return _told(place, f"{name_of(place)} must stand in args, got it beside them. Send args with one object.")
    if error["type"] == "extra_forbidden":
        return _told(place, f"{name_of(place)} must be a key of this call, got another. Leave it out.")
    if error["type"] == "missing":
        return _told(place, f"{name_of(place)} must be given, got nothing. Send it.")
    if error["type"] == "json_invalid" or isinstance(error["input"], bytes):
        text = "The body must be JSON, sent as application/json in UTF-8, got something else. Correct it."
        return _told((), text)
    rule = _RULES.get(error["type"], "").format(**error.get("ctx", {}))
    got = f"{len(error['input']):,}" if error["type"] == "too_long" else shown(error["input"])
    rule = rule or re.sub(r"^(Value error, must|\w+ should) ", "", error["msg"])
    return _told(place, f"{name_of(place)} must {rule}, got {got}. Correct it or leave it out.")


_RULES = {
    "too_long": "have at most {max_length}",
    "greater_than_equal": "be at least {ge:g}",
    "less_than_equal": "be at most {le:g}",
    "int_type": "be a whole number",
    "int_parsing": "be a whole number",
    "int_parsing_size": "be a whole number of fewer digits",
    "int_from_float": "be a whole number",
    "float_type": "be a number",
    "float_parsing": "be a number",
    "finite_number": "be finite",
    "bool_type": "be true or false",
    "bool_parsing": "be true or false",
    "string_type": "be text",
    "list_type": "be a list",
    "dict_type": "be an object",
    "model_type": "be an object with args",
    "model_attributes_type": "be an object",
}
"""What the checks of a body ask for, by pydantic's names of them."""


def _told(place: Place, text: str) -> dict[str, Any]:
    return {"loc": ["body", *place], "msg": text, "type": "value_error"}
