"""Units of sd-webui-controlnet as control units of ours."""

from collections.abc import Mapping
from typing import Any

from api.model_names import model_named
from api.sdapi.faults import CONTROLNET, Place, refuse
from api.sdapi.files import keep_picture
from api.seed_names import CONTROL_FITS, CONTROL_MODULES, CONTROL_THRESHOLDS
from controlnet.preprocessors import PREPROCESSORS
from pipelines import catalog

_ALIASES = {"input_image": "image", "mask_image": "mask", "lowvram": "low_vram", "guessmode": "guess_mode"}
_KNOWN = {
    *("enabled", "image", "mask", "module", "model", "weight", "resize_mode", "processor_res", "pixel_perfect"),
    *("threshold_a", "threshold_b", "guidance_start", "guidance_end", "control_mode", "guess_mode"),
}
_WITHOUT_MEANING = {"low_vram", "hr_option", "save_detected_map", "input_mode", "is_ui", "inpaint_crop_input_image"}
_TOLD = {"low_vram": (None, False), "hr_option": (None, "Both")}
_BALANCED = {"0", "balanced", "controlmode.balanced"}
_CONTROL_FIRST = {"2", "controlnet is more important", "controlmode.control"}


def units_of(args: list[Any], *, width: int | None, height: int | None) -> tuple[list[dict[str, Any]], list[str]]:
    """The units that are switched on, as a request takes them.

    Args:
        args: As its API takes them, of any version.
        width, height: Of the clip; what `pixel_perfect` looks at.

    Returns:
        The units, `clip` empty where none came with a picture, and in words what has no meaning here.

    Raises:
        KeyFaultError: A key is unknown, or its value has no counterpart.
    """
    units: list[dict[str, Any]] = []
    notes: list[str] = []
    for number, given in enumerate(args):
        place = (*CONTROLNET, number)
        if not isinstance(given, Mapping):
            raise refuse(place, "be a unit's keys and values", given, fix="Send an object.")
        told = {_ALIASES.get(str(key), str(key)): value for key, value in given.items()}
        for key in told.keys() - _KNOWN - _WITHOUT_MEANING:
            raise refuse((*place, key), "be a key of a unit", "another", fix=f"Known: {', '.join(sorted(_KNOWN))}.")
        if told.get("enabled", True):
            units.append(_unit(told, place, min(width, height) if width and height else None))
            notes += [f"ControlNet {key} has no meaning here." for key in _TOLD if told.get(key) not in _TOLD[key]]
    return units, notes


def _unit(told: Mapping[str, Any], place: Place, shorter_side: int | None) -> dict[str, Any]:
    if told.get("mask"):
        raise refuse((*place, "mask"), "be empty", "a picture", fix="Use img2img with a mask.")
    unit: dict[str, Any] = {"model": _model(told, place), "guess_mode": _guess_mode(told, place)}
    unit["preprocessor"], unit["options"] = _preprocessor(told, place, shorter_side)
    fit = str(told.get("resize_mode", 1)).lower().removeprefix("resizemode.")
    if fit not in CONTROL_FITS:
        raise refuse((*place, "resize_mode"), f"be one of {', '.join(CONTROL_FITS)}", fit, fix="Choose one.")
    unit["fit"] = CONTROL_FITS[fit]
    for theirs, ours in (("weight", "weight"), ("guidance_start", "start"), ("guidance_end", "end")):
        if theirs in told:
            unit[ours] = _number(told[theirs], (*place, theirs))
    if picture := _picture(told, place):
        unit["clip"] = picture
    return unit


def _model(told: Mapping[str, Any], place: Place) -> str:
    name = told.get("model")
    found = model_named("controlnet", name) if isinstance(name, str) else None
    if not found:
        known = ", ".join(entry.id for entry in catalog.controlnets())
        raise refuse((*place, "model"), "be the name of a ControlNet", name, fix=f"Choose one of {known}.")
    return found


def _guess_mode(told: Mapping[str, Any], place: Place) -> bool:
    mode = str(told.get("control_mode", 2 if told.get("guess_mode") else 0)).lower()
    if mode not in _BALANCED | _CONTROL_FIRST:
        raise refuse(
            (*place, "control_mode"), "be Balanced or ControlNet is more important", mode, fix="Lower the weight."
        )
    return mode in _CONTROL_FIRST


def _preprocessor(told: Mapping[str, Any], place: Place, shorter_side: int | None) -> tuple[str, dict[str, float]]:
    """Numbers out of an option's range mean its default, as they do there."""
    name = str(told.get("module", "none")).lower().split(" (")[0].strip()
    if name not in CONTROL_MODULES:
        raise refuse((*place, "module"), "be a preprocessor", name, fix=f"Known: {', '.join(CONTROL_MODULES)}.")
    ours, own = CONTROL_MODULES[name]
    wanted = dict(zip(CONTROL_THRESHOLDS.get(ours, ()), ("threshold_a", "threshold_b"), strict=False))
    given = {option: _number(told[key], (*place, key)) for option, key in wanted.items() if key in told}
    if "processor_res" in told:
        given["resolution"] = _number(told["processor_res"], (*place, "processor_res"))
    if told.get("pixel_perfect") and shorter_side:
        given["resolution"] = shorter_side
    fitting = {
        option.name: given[option.name]
        for option in PREPROCESSORS[ours].options
        if option.name in given and option.low <= given[option.name] <= option.high
    }
    return ours, fitting | own


def _picture(told: Mapping[str, Any], place: Place) -> str:
    image = told.get("image")
    if isinstance(image, Mapping):  # of older versions, which sent a mask beside it
        image = image.get("image")
    return keep_picture(image, (*place, "image")) if image else ""


def _number(value: object, place: Place) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise refuse(place, "be a number", value, fix="Correct it or leave it out.")
    return value
