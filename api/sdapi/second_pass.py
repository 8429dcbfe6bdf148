"""The web UI's hires fix as a second pass."""

from statistics import fmean
from typing import Any

from api.sampler_names import sampler_named
from api.sdapi.faults import refuse
from api.sdapi.models import Txt2Img, is_neutral
from pipelines.choices import HiresMethod

_STRENGTH = 0.7  # the host's own, where none is given
_SIZE = 512  # of a side that is not sent, there
_NEUTRAL = ("hr_second_pass_steps", "hr_checkpoint_name", "hr_prompt", "hr_negative_prompt", "firstphase_width")
_SAME = {"hr_sampler_name": "sampler_name", "hr_scheduler": "scheduler"}


def second_pass(body: Txt2Img) -> dict[str, Any]:
    """The fields of a second pass.

    Raises:
        KeyFaultError: A key has no counterpart, or its value can't be used.
    """
    for key in (*_NEUTRAL, "firstphase_height"):
        if not is_neutral(getattr(body, key)):
            fix = "Correct it or leave it out."
            raise refuse((key,), "be left out or empty, since it has no counterpart here", getattr(body, key), fix=fix)
    for key, other in _SAME.items():
        asked = getattr(body, key)
        if not is_neutral(asked) and not _is_same(asked, getattr(body, other)):
            raise refuse((key,), f"be that of {other}, or left out", asked, fix="Leave it out.")
    upscaler = str(body.hr_upscaler or "Latent")
    if not upscaler.startswith(("Latent", "Lanczos")):
        raise refuse(("hr_upscaler",), "be Latent or Lanczos", upscaler, fix="Choose one of them.")
    return {
        "hires_scale": _scale(body),
        "hires_strength": _STRENGTH if body.denoising_strength is None else body.denoising_strength,
        "hires_method": HiresMethod.LATENT if upscaler.startswith("Latent") else HiresMethod.PIXEL,
    }


def _is_same(asked: object, other: object) -> bool:
    first, second = sampler_named(str(asked)), sampler_named(str(other or ""))
    return str(asked).lower() == str(other or "").lower() or (first[0] is not None and first == second)


def _scale(body: Txt2Img) -> float:
    """From the size if one is asked for, else the factor."""
    sides = {"hr_resize_x": body.width or _SIZE, "hr_resize_y": body.height or _SIZE}
    ratios = [
        _number(key, getattr(body, key)) / side for key, side in sides.items() if not is_neutral(getattr(body, key))
    ]
    return round(fmean(ratios), 4) if ratios else _number("hr_scale", body.hr_scale)


def _number(key: str, value: object) -> float:
    try:
        if not isinstance(value, bool):
            return float(str(value))
    except ValueError:
        pass
    raise refuse((key,), "be a number", value, fix="Correct it or leave it out.")
