"""Note keys that change a picture in AUTOMATIC1111 but not here."""

import math

from api.sdapi.models import Img2Img, Txt2Img, is_neutral

# What is done instead.
_OWN_VALUES = {
    "eta": "the sampler's own share of noise is used",
    **dict.fromkeys(("s_churn", "s_tmax", "s_tmin", "s_noise"), "the sampler adds noise as by default"),
    "s_min_uncond": "every step is guided",
    **dict.fromkeys(("seed_resize_from_h", "seed_resize_from_w"), "noise is drawn for the size of the call"),
    "initial_noise_multiplier": "noise is added as it is",
}
_OF_SECOND_PASS = {
    "hr_cfg": "the second pass has the cfg_scale of the call",
    "hr_additional_modules": "the second pass has the VAE of the call",
}
# Values besides the neutral ones that change no picture there either.
_CHANGE_NOTHING = {
    **dict.fromkeys(("eta", "s_noise", "initial_noise_multiplier", "hr_cfg"), 1.0),
    **dict.fromkeys(("seed_resize_from_h", "seed_resize_from_w"), -1.0),
    "s_tmax": math.inf,
}


def unused_notes(body: Txt2Img | Img2Img) -> list[str]:
    """Note keys whose values have no effect, and what happens instead.

    Example:
        >>> unused_notes(Txt2Img(s_churn=0.5, eta=1))
        ['s_churn: the sampler adds noise as by default.']
    """
    words = _OWN_VALUES | (_OF_SECOND_PASS if body.enable_hr else {})
    values = {key: getattr(body, key, None) for key in words}
    same = {"hr_cfg": body.cfg_scale}
    return [
        f"{key}: {words[key]}."
        for key, value in values.items()
        if not is_neutral(value) and _number(value) not in (_CHANGE_NOTHING.get(key), same.get(key))
    ]


def _number(value: object) -> float:
    try:
        return float(str(value))
    except ValueError:
        return math.nan
