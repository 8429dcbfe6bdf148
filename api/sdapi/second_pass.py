"""The web UI's hires fix as a second pass."""

from statistics import fmean

from api.recipes.model_names import model_named
from api.recipes.sampler_names import sampler_named
from api.sdapi.faults import refuse
from api.sdapi.models import Txt2Img, is_neutral
from pipelines.plan.choices import HiresMethod
from pipelines.plan.request import field_bounds
from studio.fields import FieldValues

_STRENGTH = 0.7  # the host's own, where none is given
_SIZE = 512  # of a side that is not sent, there
_NEUTRAL = ("firstphase_width", "firstphase_height")
_SAME = {
    "hr_sampler_name": "sampler_name",
    "hr_scheduler": "scheduler",
    "hr_prompt": "prompt",
    "hr_negative_prompt": "negative_prompt",
    "hr_second_pass_steps": "steps",
}
_UPSCALERS = {"latent": HiresMethod.LATENT, "lanczos": HiresMethod.PIXEL, "none": HiresMethod.PIXEL}
"""By their first word. The host enlarges by Lanczos where it has none."""


def second_pass(body: Txt2Img) -> FieldValues:
    """Read the fields of a second pass.

    Raises:
        KeyFaultError: A key has no counterpart, or its value can't be used.
    """
    for key in _NEUTRAL:
        if not is_neutral(getattr(body, key)):
            fix = "Correct it or leave it out."
            raise refuse((key,), "be left out or empty, since it has no counterpart here", getattr(body, key), fix=fix)
    for key, other in _SAME.items():
        value = getattr(body, key)
        if not is_neutral(value) and not _is_same(value, getattr(body, other)):
            raise refuse((key,), f"be that of {other}, or left out", value, fix="Leave it out.")
    if not is_neutral(body.hr_checkpoint_name) and not _is_same_model(body):
        fix = "Leave it out."
        raise refuse(("hr_checkpoint_name",), "be the model of the call, or left out", body.hr_checkpoint_name, fix=fix)
    upscaler = str(body.hr_upscaler or "Latent")
    method = _UPSCALERS.get(next(iter(upscaler.lower().split()), ""))
    if method is None:
        raise refuse(("hr_upscaler",), "be Latent or Lanczos", upscaler, fix="Choose one of them.")
    return {
        "hires_scale": _scale(body),
        "hires_strength": _STRENGTH if body.denoising_strength is None else body.denoising_strength,
        "hires_method": method,
    }


def _is_same(value: object, other: object) -> bool:
    value, other = str(value).strip().removesuffix(".0"), str(other or "").strip()
    first, second = sampler_named(value), sampler_named(other)
    return value.lower() == other.lower() or (first[0] is not None and first == second)


def _is_same_model(body: Txt2Img) -> bool:
    model_id = model_named("base_model", str(body.hr_checkpoint_name))
    of_call = (body.override_settings or {}).get("sd_model_checkpoint")
    return model_id is not None and model_id == model_named("base_model", str(of_call or ""))


def _scale(body: Txt2Img) -> float:
    """Read the scale from the size if named, else the factor."""
    sides = {"hr_resize_x": body.width or _SIZE, "hr_resize_y": body.height or _SIZE}
    lengths = {key: _number(key, value) for key in sides if not is_neutral(value := getattr(body, key))}
    low, high = field_bounds("hires_scale")
    for key, length in lengths.items():
        least, most = round((low or 1) * sides[key]), round((high or 1) * sides[key])
        if not least <= length <= most:
            raise refuse((key,), f"be from {least} to {most}", getattr(body, key), fix="Correct it or leave it out.")
    ratios = [length / sides[key] for key, length in lengths.items()]
    return round(fmean(ratios), 4) if ratios else _number("hr_scale", body.hr_scale)


def _number(key: str, value: object) -> float:
    try:
        if not isinstance(value, bool):
            return float(str(value))
    except ValueError:
        pass
    raise refuse((key,), "be a number", value, fix="Correct it or leave it out.")
