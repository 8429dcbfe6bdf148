"""Units of sd-webui-controlnet as control units of ours."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Any

from api.recipes.model_names import model_named
from api.recipes.plain_args import is_nothing, is_off
from api.recipes.webui_names import CONTROL_FITS, CONTROL_MODULES, CONTROL_THRESHOLDS, LATENT_FIT
from api.sdapi.faults import NUMBERS_OF_UNIT, refuse
from api.sdapi.files import keep_picture
from api.sdapi.models import is_neutral
from controlnet.preprocessors import PREPROCESSORS
from pipelines.plan import catalog
from pipelines.plan.faults import Place

_ALIASES = {
    "input_image": "image",
    "mask_image": "mask",
    "lowvram": "low_vram",
    "guessmode": "guess_mode",
    "guidance": "guidance_end",
}
_KNOWN = {
    *("enabled", "image", "mask", "module", "model", "weight", "resize_mode", "processor_res", "pixel_perfect"),
    *("threshold_a", "threshold_b", "guidance_start", "guidance_end", "control_mode", "guess_mode"),
}
_WITHOUT_MEANING = {
    *("low_vram", "hr_option", "save_detected_map", "input_mode", "is_ui", "inpaint_crop_input_image", "output_dir"),
    *("loopback", "union_control_type", "pulid_mode", "use_preview_as_input", "generated_image", "animatediff_batch"),
    *("batch_image_dir", "batch_modifiers", "hr_mode"),
}
# Without a counterpart here, and so to be empty.
_EMPTY = {
    *("advanced_weighting", "batch_images", "effective_region_mask", "ipadapter_input", "batch_mask_dir"),
    *("batch_input_gallery", "batch_mask_gallery", "multi_inputs_gallery", "image_fg", "mask_image_fg"),
    *("batch_image_files", "batch_keyframe_idx", "invert_image", "rgbbgr_mode"),
}
_POSITIONS = (
    *("enabled", "module", "model", "weight", "image", "resize_mode", "low_vram", "processor_res"),
    *("threshold_a", "threshold_b", "guidance_start", "guidance_end", "pixel_perfect", "control_mode"),
)
_OLD_POSITIONS = (
    *("enabled", "module", "model", "weight", "image", "invert_image", "resize_mode", "rgbbgr_mode", "low_vram"),
    *("processor_res", "threshold_a", "threshold_b", "guidance_start", "guidance_end", "guess_mode"),
)
"""The order of a unit's arguments in its API, since and before version 1.1."""
_OF_THE_CALL = 2  # switches that older versions have before all units: whether it is img2img, and the page's
_TOLD = {"low_vram": (None, False, "false", 0, ""), "hr_option": (None, "Both", "HiResFixOption.BOTH", "")}
_BALANCED = {"0", "balanced", "controlmode.balanced"}
_CONTROL_FIRST = {"2", "controlnet is more important", "controlmode.control"}
_IP_ADAPTER = re.compile(r"ip.?adapter", re.IGNORECASE)


@dataclass(frozen=True)
class Units:
    """The units that are switched on.

    Args:
        place: Where all of them stand in the body.
        controls: As a request takes them, without a `clip` where none came with a picture.
        image_prompts: IP-Adapters, as a request takes them.
        numbers: The place of each among the arguments, by the field it belongs to.
    """

    place: Place
    controls: list[dict[str, Any]] = dataclass_field(default_factory=list)
    image_prompts: list[dict[str, Any]] = dataclass_field(default_factory=list)
    numbers: dict[str, list[int]] = dataclass_field(default_factory=lambda: {"controls": [], "image_prompts": []})

    def by_field(self) -> dict[str, list[dict[str, Any]]]:
        """The fields of a request."""
        return {"controls": self.controls, "image_prompts": self.image_prompts}

    def places_by_field(self) -> dict[str, list[Place]]:
        """Where the units of each field stand in the body."""
        return {field: [(*self.place, number) for number in numbers] for field, numbers in self.numbers.items()}

    def without_picture(self) -> list[dict[str, Any]]:
        """The control units that are to be given something to follow."""
        return [unit for unit in self.controls if "clip" not in unit]


def units_of(args: list[Any], place: Place, *, width: int | None, height: int | None) -> tuple[Units, list[str]]:
    """The units that are switched on, as a request takes them; others are not looked at.

    Args:
        args: As its API takes them, of any version.
        place: Where they stand.
        width, height: Of the clip; what `pixel_perfect` looks at.

    Returns:
        The units, and in words what has no meaning here.

    Raises:
        KeyFaultError: A key is unknown, or its value has no counterpart.
    """
    units = Units(place)
    notes: list[str] = []
    for number, given in enumerate(_named(args)):
        if given is None:
            continue
        own = (*place, number)
        if not isinstance(given, Mapping):
            raise refuse(own, "be a unit's keys and values", given, fix="Send an object.")
        told = {_ALIASES.get(str(key), str(key)): value for key, value in given.items()}
        if is_off(told.get("enabled", True)):
            continue
        told = {key: value for key, value in told.items() if not is_nothing(value)}
        for key in sorted(told.keys() - _KNOWN - _WITHOUT_MEANING - _EMPTY):
            raise refuse((*own, key), "be a key of a unit", "another", fix=f"Known: {', '.join(sorted(_KNOWN))}.")
        for key in sorted(_EMPTY & told.keys()):
            if not is_neutral(told[key]) and not (key == "advanced_weighting" and _is_even(told[key])):
                raise refuse((*own, key), "be empty, since it has no counterpart here", told[key], fix="Leave it out.")
        field = "image_prompts" if _is_ip_adapter(told) else "controls"
        if field == "controls":
            units.controls.append(_unit(told, own, min(width, height) if width and height else None))
        else:
            units.image_prompts.append(_image_prompt(told, own))
        units.numbers[field].append(number)
        notes += [f"ControlNet {key} has no meaning here." for key in _TOLD if told.get(key) not in _TOLD[key]]
        if str(told.get("resize_mode", "")).lower() in LATENT_FIT:
            notes.append("ControlNet resize_mode: pixels are stretched, not latents.")
    return units, notes


def _named(args: list[Any]) -> list[Any]:
    """The units by name, where they came by position, one behind the other."""
    if not args or not isinstance(args[0], bool):
        return args
    if len(args) > _OF_THE_CALL and all(isinstance(one, bool) for one in args[: _OF_THE_CALL + 1]):
        args = args[_OF_THE_CALL:]
    is_old = len(args) > 5 and isinstance(args[5], bool)
    order = _OLD_POSITIONS if is_old else _POSITIONS
    return [dict(zip(order, args[at : at + len(order)], strict=False)) for at in range(0, len(args), len(order))]


def _is_even(weights: object) -> bool:
    """Whether all layers of a network count in full."""
    return isinstance(weights, list) and all(one == 1 for one in weights)


def _is_ip_adapter(told: Mapping[str, Any]) -> bool:
    return any(_IP_ADAPTER.search(str(told.get(key, ""))) for key in ("module", "model"))


def _image_prompt(told: Mapping[str, Any], place: Place) -> dict[str, Any]:
    """A unit with an IP-Adapter; its preprocessor follows from the model."""
    model = model_named("ip_adapter", str(told.get("model", "")))
    if not model:
        known = ", ".join(entry.id for entry in catalog.ip_adapters())
        fix = f"Choose one of {known}."
        raise refuse((*place, "model"), "be the name of an IP-Adapter", told.get("model"), fix=fix)
    picture = _picture(told, place)
    if not picture:
        raise refuse((*place, "image"), "be a picture", "none", fix="Send one in base64.")
    return {"model": model, "pictures": [(0, picture)], **_weights(told, place)}


def _unit(told: Mapping[str, Any], place: Place, shorter_side: int | None) -> dict[str, Any]:
    if told.get("mask"):
        raise refuse((*place, "mask"), "be empty", "a picture", fix="Use img2img with a mask.")
    unit: dict[str, Any] = {"model": _model(told, place), "guess_mode": _guess_mode(told, place)}
    unit["preprocessor"], unit["options"] = _preprocessor(told, place, shorter_side)
    fit = str(told.get("resize_mode", 1)).strip().lower().removeprefix("resizemode.").removesuffix(".0")
    if fit not in CONTROL_FITS:
        raise refuse((*place, "resize_mode"), f"be one of {', '.join(CONTROL_FITS)}", fit, fix="Choose one.")
    unit["fit"] = CONTROL_FITS[fit]
    unit |= _weights(told, place)
    if picture := _picture(told, place):
        unit["clip"] = picture
    return unit


def _weights(told: Mapping[str, Any], place: Place) -> dict[str, float]:
    return {ours: _number(told[theirs], (*place, theirs)) for theirs, ours in NUMBERS_OF_UNIT.items() if theirs in told}


def _model(told: Mapping[str, Any], place: Place) -> str:
    name = told.get("model")
    found = model_named("controlnet", name) if isinstance(name, str) else None
    if not found:
        known = ", ".join(entry.id for entry in catalog.controlnets())
        raise refuse((*place, "model"), "be the name of a ControlNet", name or "none", fix=f"Choose one of {known}.")
    return found


def _guess_mode(told: Mapping[str, Any], place: Place) -> bool:
    guesses = not is_off(told.get("guess_mode"))
    mode = str(told.get("control_mode", 2 if guesses else 0)).strip().lower().removesuffix(".0")
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
    if not is_off(told.get("pixel_perfect")) and shorter_side:
        given["resolution"] = shorter_side
    fitting = {
        option.name: given[option.name]
        for option in PREPROCESSORS[ours].options
        if option.name in given and option.low <= given[option.name] <= option.high
    }
    return ours, fitting | own


def _picture(told: Mapping[str, Any], place: Place) -> str:
    """Of older versions, which sent a mask beside it, the first of a pair or a list."""
    image = told.get("image")
    while isinstance(image, list) and image:
        image = image[0]
    if isinstance(image, Mapping):
        image = image.get("image", image.get("background"))
    return "" if is_nothing(image) or not image else keep_picture(image, (*place, "image"))


def _number(value: object, place: Place) -> float:
    try:
        if isinstance(value, (int, float, str)) and not isinstance(value, bool) and math.isfinite(float(value)):
            return float(value) if isinstance(value, str) else value
    except ValueError:
        pass
    raise refuse(place, "be a number", value, fix="Correct it or leave it out.")
