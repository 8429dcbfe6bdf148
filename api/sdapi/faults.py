"""Describe invalid bodies by the keys that the caller sent."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from types import MappingProxyType
from typing import NotRequired, TypedDict

from pydantic_core import ErrorDetails

from api.recipes.webui_args import key_of_field
from pipelines.plan.errors import InvalidRequestError, UserError
from pipelines.plan.faults import Fault, Place, Words
from pipelines.plan.request import GenerationRequest

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


class Detail(TypedDict):
    """One of the errors that FastAPI answers in `detail`."""

    loc: list[str | int]
    msg: str
    type: str
    ctx: NotRequired[dict[str, object]]


class KeyFaultError(InvalidRequestError):
    """A key's value can't be used.

    Args:
        place: Where the key stands in the body.
        fault: The broken rule, about the key.
        text: The sentence, where it is not the fault's own.
    """

    def __init__(self, place: Place, fault: Fault | str, text: str = "") -> None:
        super().__init__(text or fault)
        self.fault = fault if isinstance(fault, Fault) else None
        self.place = place


def refuse(place: Place, rule: str, got: object, *, fix: str) -> KeyFaultError:
    """Build the error `<key> must <rule>, got <value, shortened>. <fix>`."""
    words = {"rule": rule, "fix": fix}
    fault = Fault("sdapi.key", name_of(place), "{rule}", abbreviate(got), "{fix}", values=words, end="")
    return KeyFaultError(place, fault)


def name_of(place: Place) -> str:
    """Name a place in the body: its key, or list and index."""
    if len(place) > 1 and isinstance(place[-1], int):
        return f"{abbreviate(place[-2])} {place[-1]}"
    return abbreviate(place[-1]) if place else "The body"


def abbreviate(value: object) -> str:
    """Write a value as JSON does, shortened, as pictures are long."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _VALUE_SHOWN else f"{text[:_VALUE_SHOWN]}…"


def in_callers_words(
    err: InvalidRequestError,
    animatediff: Place = ANIMATEDIFF,
    units: Mapping[str, Sequence[Place]] = MappingProxyType({}),
) -> KeyFaultError:
    """Translate a request's refusal into the body's keys.

    Args:
        animatediff: Where AnimateDiff's arguments stand.
        units: Where the units stand that became those of a field.
    """
    if isinstance(err, KeyFaultError):
        return err
    fault = err.fault
    if fault is None:
        return KeyFaultError((), str(err))
    if fault.field in ("controls", "image_prompts"):
        place = _place_of_unit(fault, units.get(fault.field, ()))
        return KeyFaultError(place, fault, _UnitWords().sentence(fault))
    place = _place_of_field(fault.field, animatediff)
    return KeyFaultError(place, fault, CallersWords(_field_keys()).sentence(fault))


class CallersWords(Words):
    """Words for callers of the web UI's API.

    Advice about controls that it has no key for is left out.

    Args:
        keys: The caller's key by the field of a request.
    """

    def __init__(self, keys: Mapping[str, str]) -> None:
        self._keys = keys

    def sentence(self, fault: Fault) -> str:
        """The whole refusal."""
        rule = self.filled(replace(fault, fix="", note="", end="").template, fault).strip()
        advice = [self._advice(text, fault) for text in (f"{fault.fix}{fault.end}", fault.note)]
        return " ".join((rule, *filter(None, advice)))

    def name(self, field: str) -> str:
        """The caller's key."""
        return self._keys.get(field, field)

    def label(self, field: str) -> str:
        """The key, too.

        Raises:
            KeyError: There is none.
        """
        return self._keys[field]

    def _advice(self, template: str, fault: Fault) -> str:
        try:
            return self.filled(template, fault)
        except KeyError:
            return ""


class _UnitWords(CallersWords):
    """Words for a unit's parts, by the keys of ControlNet's units."""

    def __init__(self) -> None:
        super().__init__(_UNIT_KEYS)

    def subject(self, name: str, place: Place) -> str:  # noqa: ARG002 - every unit is one of ControlNet's
        """Return the part's key; the place already names the unit."""
        return " ".join(self.name(str(part)) for part in place[1:]) if place else "units"


def detail_of(err: UserError) -> Detail:
    """Build FastAPI's error object: place, text, kind."""
    fault = in_callers_words(err) if isinstance(err, InvalidRequestError) else None
    return _detail(fault.place, str(fault), fault.fault) if fault else _detail((), str(err), err.fault)


def details_of_body(errors: Sequence[ErrorDetails]) -> list[Detail]:
    """Describe FastAPI's validation errors without their values, which may be large."""
    return [_of_body(error) for error in errors]


def _place_of_field(field: str, animatediff: Place) -> Place:
    if field in _KEYS or field in _OWN:
        key = _KEYS.get(field, field)
        return ("override_settings", key) if field in _SETTINGS else (key,)
    theirs = key_of_field(field)
    return (*animatediff, theirs) if theirs else ()


def _place_of_unit(fault: Fault, places: Sequence[Place]) -> Place:
    if not fault.place:
        return CONTROLNET
    number, *parts = fault.place
    index = int(number) - 1
    place = places[index] if index < len(places) else (*CONTROLNET, index)
    key = _UNIT_KEYS.get(str(parts[0])) if parts else None
    return (*place, key) if key else place


@cache
def _field_keys() -> Mapping[str, str]:
    """Map the request's fields to the caller's keys."""
    keys = {name: _KEYS.get(name) or key_of_field(name) for name in GenerationRequest.model_fields}
    return {name: key for name, key in keys.items() if key} | _KEYS | {name: name for name in _OWN}


_UNIT_KEYS = {ours: theirs for theirs, ours in NUMBERS_OF_UNIT.items()} | {
    "fit": "resize_mode",
    "preprocessor": "module",
    "clip": "image",
    "pictures": "image",
    "model": "model",
}


def _of_body(error: ErrorDetails) -> Detail:
    place = tuple(error["loc"][1:])
    if error["type"] == "extra_forbidden" and place[:1] == ("alwayson_scripts",):
        return _detail(place, f"{name_of(place)} must stand in args, got it beside them. Send args with one object.")
    if error["type"] == "extra_forbidden":
        return _detail(place, f"{name_of(place)} must be a key of this call, got another. Leave it out.")
    if error["type"] == "missing":
        return _detail(place, f"{name_of(place)} must be given, got nothing. Send it.")
    if error["type"] == "json_invalid" or isinstance(error["input"], bytes):
        text = "The body must be JSON, sent as application/json in UTF-8, got something else. Correct it."
        return _detail((), text)
    rule = _RULES.get(error["type"], "").format(**error.get("ctx", {}))
    got = f"{len(error['input']):,}" if error["type"] == "too_long" else abbreviate(error["input"])
    rule = rule or re.sub(r"^(Value error, must|\w+ should) ", "", error["msg"])
    return _detail(place, f"{name_of(place)} must {rule}, got {got}. Correct it or leave it out.")


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


def _detail(place: Place, text: str, fault: Fault | None = None) -> Detail:
    detail: Detail = {"loc": ["body", *place], "msg": text, "type": "value_error"}
    if fault is None:
        return detail
    plain = fault.limit is None or isinstance(fault.limit, (int, str, list))
    limit = fault.limit if plain else abbreviate(fault.limit)
    return {**detail, "ctx": {"code": fault.code, "got": abbreviate(fault.got), "limit": limit}}
