"""Find samplers and schedules by the names of other programs."""

import re

from pipelines.plan.choices import Scheduler

SAMPLER_NAMES: dict[str, Scheduler] = {
    "Euler a": Scheduler.EULER_A,
    "Euler": Scheduler.EULER,
    "DPM++ 2M": Scheduler.DPMPP_2M,
    "DDIM": Scheduler.DDIM,
    "LCM": Scheduler.LCM,
}
"""AUTOMATIC1111's samplers that draw as ours do, as its web UI writes them."""

NEUTRAL_SCHEDULES = frozenset({"automatic", "uniform", "normal", "default", "native", "none", "usesamescheduler", ""})
"""Schedules that leave a sampler its own steps, spelt without capitals and signs."""

SCHEDULES: dict[str, str] = {
    "karras": "Karras",
    "exponential": "Exponential",
    "polyexponential": "Polyexponential",
    "sgmuniform": "SGM Uniform",
    "kloptimal": "KL Optimal",
    "alignyoursteps": "Align Your Steps",
    "ays": "Align Your Steps",
    "alignyourstepsgits": "Align Your Steps GITS",
    "alignyoursteps11": "Align Your Steps 11",
    "alignyoursteps32": "Align Your Steps 32",
    "simple": "Simple",
    "ddim": "DDIM",
    "ddimuniform": "DDIM",
    "beta": "Beta",
    "beta57": "Beta",
    "turbo": "Turbo",
    "karrasexponential": "Karras Exponential",
    "karrasdynamic": "Karras Dynamic",
    "linearquadratic": "Linear Quadratic",
    "cosine": "Cosine",
    "cosineexponentialblend": "Cosine-exponential Blend",
    "phi": "Phi",
    "laplace": "Laplace",
    "trailing": "Trailing",
    "flowmatch": "Flow Match",
}
"""Schedules that other programs have and this app has not, by their spelling without capitals and signs."""

_SPELT = {
    "eulera": Scheduler.EULER_A,
    "eulerancestral": Scheduler.EULER_A,
    "eulerancestraldiscrete": Scheduler.EULER_A,
    "euler": Scheduler.EULER,
    "eulerdiscrete": Scheduler.EULER,
    "dpmpp2m": Scheduler.DPMPP_2M,
    "dpmsolvermultistep": Scheduler.DPMPP_2M,
    "ddim": Scheduler.DDIM,
    "ddimv3": Scheduler.DDIM,
    "lcm": Scheduler.LCM,
}
_KARRAS = ("ka", "k")  # as the aliases of samplers end
_MOST_LETTERS = 80


def sampler_named(name: str) -> tuple[Scheduler | None, str]:
    """Find a sampler by name, and the schedule in that name.

    None if this app has no such sampler; the schedule is mostly empty.

    Example:
        >>> sampler_named("DPM++ 2M Karras"), sampler_named("k_euler_ancestral"), sampler_named("Euler a Automatic")
        ((<Scheduler.DPMPP_2M: 'dpmpp_2m'>, 'Karras'), (<Scheduler.EULER_A: 'euler_a'>, ''), \
(<Scheduler.EULER_A: 'euler_a'>, ''))
    """
    words = re.sub(r"(?:^k[_ ])|(?:scheduler$)|(?:_gpu$)", "", name.strip().lower()[:_MOST_LETTERS])
    spelt = _spelling(words)
    if spelt in _SPELT:
        return _SPELT[spelt], ""
    parts = [part for part in re.split(r"[\s_()\[\],:-]+", words) if _spelling(part)]
    if parts[-1:] and parts[-1] in _KARRAS:
        parts[-1] = "karras"
    for end in range(1, len(parts)):
        label = schedule_named("".join(parts[end:]))
        if label is not None:
            return _SPELT.get(_spelling("".join(parts[:end]))), label
    return None, ""


def schedule_named(name: str) -> str | None:
    """Find a schedule: empty for the sampler's own, None if unknown.

    Example:
        >>> schedule_named("Automatic"), schedule_named("sgm_uniform"), schedule_named("Karas")
        ('', 'SGM Uniform', None)
    """
    spelt = _spelling(name[:_MOST_LETTERS])
    return "" if spelt in NEUTRAL_SCHEDULES else SCHEDULES.get(spelt)


def _spelling(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower().replace("+", "p"))
