"""What is wrong with a body, by the key that the caller sent."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from api.seed_args import key_of_field
from pipelines.errors import InvalidRequestError, UserError

Place = tuple[str | int, ...]

ANIMATEDIFF: Place = ("alwayson_scripts", "AnimateDiff", "args", 0)
CONTROLNET: Place = ("alwayson_scripts", "ControlNet", "args")

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
}
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
    return KeyFaultError(place, f"{_name(place)} must {rule}, got {shown(got)}. {fix}")


def shown(value: object) -> str:
    """A value for a text; pictures are long, so most of it is left out."""
    text = str(value)
    return text if len(text) <= _VALUE_SHOWN else f"{text[:_VALUE_SHOWN]}…"


def detail_of(err: UserError) -> dict[str, Any]:
    """An error as FastAPI tells one: place, text, kind. The field a text begins with becomes the caller's key."""
    text = str(err)
    if isinstance(err, KeyFaultError):
        return _told(err.place, text)
    field, _, rest = text.partition(" ")
    if field == "controls":
        unit = re.match(r"(\d{1,3}) ", rest)
        return _told((*CONTROLNET, int(unit[1]) - 1) if unit else CONTROLNET, text)
    if field in _KEYS or field in _OWN:
        key = _KEYS.get(field, field)
        return _told((key,), f"{key} {rest}")
    theirs = key_of_field(field)
    return _told((*ANIMATEDIFF, theirs), f"{theirs} {rest}") if theirs else _told((), text)


def details_of_body(errors: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What FastAPI found, in the house's words and without the values, which may be large."""
    return [_of_body(error) for error in errors]


def _of_body(error: Mapping[str, Any]) -> dict[str, Any]:
    place = tuple(error["loc"][1:])
    if error["type"] == "extra_forbidden":
        return _told(place, f"{_name(place)} must be a key of this call, got another. Leave it out.")
    if error["type"] == "missing":
        return _told(place, f"{_name(place)} must be given, got nothing. Send it.")
    if error["type"] == "json_invalid":
        return _told((), "The body must be JSON, got something else.")
    rule = re.sub(r"^(Value error, must|\w+ should) ", "", error["msg"])
    return _told(place, f"{_name(place)} must {rule}, got {shown(error['input'])}. Correct it or leave it out.")


def _told(place: Place, text: str) -> dict[str, Any]:
    return {"loc": ["body", *place], "msg": text, "type": "value_error"}


def _name(place: Place) -> str:
    return shown(place[-1]) if place else "The body"
