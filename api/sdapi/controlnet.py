"""Translate units of sd-webui-controlnet into our control units."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field as dataclass_field

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
_NO_NOTE = {"low_vram": (None, False, "false", 0, ""), "hr_option": (None, "Both", "HiResFixOption.BOTH", "")}
_BALANCED = {"0", "balanced", "controlmode.balanced"}
_CONTROL_FIRST = {"2", "controlnet is more important", "controlmode.control"}
_IP_ADAPTER = re.compile(r"ip.?adapter", re.IGNORECASE)


@dataclass(frozen=True)
class Units:
    """The enabled units.

    Args:
        place: Where all of them stand in the body.
        controls: As a request takes them, without a `clip` where none came with a picture.
        image_prompts: IP-Adapters, as a request takes them.
        numbers: The place of each among the arguments, by the field it belongs to.
    """

    place: Place
    controls: list[dict[str, object]] = dataclass_field(default_factory=list)
    image_prompts: list[dict[str, object]] = dataclass_field(default_factory=list)
    numbers: dict[str, list[int]] = dataclass_field(default_factory=lambda: {"controls": [], "image_prompts": []})

    def by_field(self) -> dict[str, list[dict[str, object]]]:
        """The units as fields of a request."""
        return {"controls": self.controls, "image_prompts": self.image_prompts}

    def places_by_field(self) -> dict[str, list[Place]]:
        """Places of the units in the body, by field."""
        return {field: [(*self.place, number) for number in numbers] for field, numbers in self.numbers.items()}

    def without_picture(self) -> list[dict[str, object]]:
        """Control units that still need something to follow."""
        return [unit for unit in self.controls if "clip" not in unit]


def units_of(args: list[object], place: Place, *, width: int | None, height: int | None) -> tuple[Units, list[str]]:
    """Translate the enabled units; others are not looked at.

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
    for number, argument in enumerate(_split_units(args)):
        if argument is None:
            continue
        at = (*place, number)
        if not isinstance(argument, Mapping):
            raise refuse(at, "be a unit's keys and values", argument, fix="Send an object.")
        raw = {_ALIASES.get(str(key), str(key)): value for key, value in argument.items()}
        if is_off(raw.get("enabled", True)):
            continue
        raw = {key: value for key, value in raw.items() if not is_nothing(value)}
        for key in sorted(raw.keys() - _KNOWN - _WITHOUT_MEANING - _EMPTY):
            raise refuse((*at, key), "be a key of a unit", "another", fix=f"Known: {', '.join(sorted(_KNOWN))}.")
        for key in sorted(_EMPTY & raw.keys()):
            if not is_neutral(raw[key]) and not (key == "advanced_weighting" and _is_even(raw[key])):
                raise refuse((*at, key), "be empty, since it has no counterpart here", raw[key], fix="Leave it out.")
        field = "image_prompts" if _is_ip_adapter(raw) else "controls"
        if field == "controls":
            units.controls.append(_unit(raw, at, min(width, height) if width and height else None))
        else:
            units.image_prompts.append(_image_prompt(raw, at))
        units.numbers[field].append(number)
        notes += [f"ControlNet {key} has no meaning here." for key in _NO_NOTE if raw.get(key) not in _NO_NOTE[key]]
        if str(raw.get("resize_mode", "")).lower() in LATENT_FIT:
            notes.append("ControlNet resize_mode: pixels are stretched, not latents.")
    return units, notes


def _split_units(args: list[object]) -> list[object]:
    """Name the units' keys where they came by position."""
    if not args or not isinstance(args[0], bool):
        return args
    if len(args) > _OF_THE_CALL and all(isinstance(flag, bool) for flag in args[: _OF_THE_CALL + 1]):
        args = args[_OF_THE_CALL:]
    is_old = len(args) > 5 and isinstance(args[5], bool)
    order = _OLD_POSITIONS if is_old else _POSITIONS
    return [dict(zip(order, args[at : at + len(order)], strict=False)) for at in range(0, len(args), len(order))]


def _is_even(weights: object) -> bool:
    """Whether all layers of a network count in full."""
    return isinstance(weights, list) and all(weight == 1 for weight in weights)


def _is_ip_adapter(raw: Mapping[str, object]) -> bool:
    return any(_IP_ADAPTER.search(str(raw.get(key, ""))) for key in ("module", "model"))


def _image_prompt(raw: Mapping[str, object], place: Place) -> dict[str, object]:
    """Translate an IP-Adapter unit; the model implies its preprocessor."""
    model = model_named("ip_adapter", str(raw.get("model", "")))
    if not model:
        choices = ", ".join(entry.id for entry in catalog.ip_adapters())
        fix = f"Choose one of {choices}."
        raise refuse((*place, "model"), "be the name of an IP-Adapter", raw.get("model"), fix=fix)
    picture = _picture(raw, place)
    if not picture:
        raise refuse((*place, "image"), "be a picture", "none", fix="Send one in base64.")
    return {"model": model, "pictures": [(0, picture)], **_weights(raw, place)}


def _unit(raw: Mapping[str, object], place: Place, shorter_side: int | None) -> dict[str, object]:
    if raw.get("mask"):
        raise refuse((*place, "mask"), "be empty", "a picture", fix="Use img2img with a mask.")
    unit: dict[str, object] = {"model": _model(raw, place), "guess_mode": _guess_mode(raw, place)}
    unit["preprocessor"], unit["options"] = _preprocessor(raw, place, shorter_side)
    fit = str(raw.get("resize_mode", 1)).strip().lower().removeprefix("resizemode.").removesuffix(".0")
    if fit not in CONTROL_FITS:
        raise refuse((*place, "resize_mode"), f"be one of {', '.join(CONTROL_FITS)}", fit, fix="Choose one.")
    unit["fit"] = CONTROL_FITS[fit]
    unit |= _weights(raw, place)
    if picture := _picture(raw, place):
        unit["clip"] = picture
    return unit


def _weights(raw: Mapping[str, object], place: Place) -> dict[str, float]:
    return {ours: _number(raw[theirs], (*place, theirs)) for theirs, ours in NUMBERS_OF_UNIT.items() if theirs in raw}


def _model(raw: Mapping[str, object], place: Place) -> str:
    name = raw.get("model")
    model_id = model_named("controlnet", name) if isinstance(name, str) else None
    if not model_id:
        choices = ", ".join(entry.id for entry in catalog.controlnets())
        raise refuse((*place, "model"), "be the name of a ControlNet", name or "none", fix=f"Choose one of {choices}.")
    return model_id


def _guess_mode(raw: Mapping[str, object], place: Place) -> bool:
    guesses = not is_off(raw.get("guess_mode"))
    mode = str(raw.get("control_mode", 2 if guesses else 0)).strip().lower().removesuffix(".0")
    if mode not in _BALANCED | _CONTROL_FIRST:
        raise refuse(
            (*place, "control_mode"), "be Balanced or ControlNet is more important", mode, fix="Lower the weight."
        )
    return mode in _CONTROL_FIRST


def _preprocessor(raw: Mapping[str, object], place: Place, shorter_side: int | None) -> tuple[str, dict[str, float]]:
    """Translate a preprocessor; options out of range mean its defaults."""
    name = str(raw.get("module", "none")).lower().split(" (")[0].strip()
    if name not in CONTROL_MODULES:
        raise refuse((*place, "module"), "be a preprocessor", name, fix=f"Known: {', '.join(CONTROL_MODULES)}.")
    ours, fixed_options = CONTROL_MODULES[name]
    key_of_option = dict(zip(CONTROL_THRESHOLDS.get(ours, ()), ("threshold_a", "threshold_b"), strict=False))
    options = {option: _number(raw[key], (*place, key)) for option, key in key_of_option.items() if key in raw}
    if "processor_res" in raw:
        options["resolution"] = _number(raw["processor_res"], (*place, "processor_res"))
    if not is_off(raw.get("pixel_perfect")) and shorter_side:
        options["resolution"] = shorter_side
    fitting = {
        option.name: options[option.name]
        for option in PREPROCESSORS[ours].options
        if option.name in options and option.low <= options[option.name] <= option.high
    }
    return ours, fitting | fixed_options


def _picture(raw: Mapping[str, object], place: Place) -> str:
    """Store a unit's picture; returns its hash or an empty text.

    Older versions sent a mask beside it: the first of a pair or a list counts.
    """
    image = raw.get("image")
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
