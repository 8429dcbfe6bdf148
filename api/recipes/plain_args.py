"""Normalise arguments of sd-webui-animatediff as programs send them.

They come by position, with numbers as text, in all spellings. Source: `AnimateDiffProcess.__init__` and
`before_process` of versions 1.0 to 2.0.1.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest

from pipelines.plan.prompt.letters import plain_digits
from pipelines.plan.rates import read_rate, written_rate

_WHOLE = ("video_length", "loop_number", "batch_size", "stride", "overlap", "freeinit_iters")
_NUMBERS = (
    *("interp_x", "freeinit_ds", "freeinit_dt"),
    *("latent_power", "latent_scale", "latent_power_last", "latent_scale_last"),
)
_SWITCHES = ("enable", "freeinit_enable")
_YES, _NO = frozenset({"true", "yes", "on", "1"}), frozenset({"false", "no", "off", "0", "none"})
_NOTHING = frozenset({"", "none", "null", "undefined"})
_REVERSE_LABELS = {"add reverse frame": 0, "remove head": 1, "remove tail": 2}
_FREE_INIT = ("freeinit_filter", "freeinit_ds", "freeinit_dt", "freeinit_iters")
_MODEL_FIRST = (
    *("model", "enable", "video_length", "fps", "loop_number", "closed_loop", "batch_size", "stride", "overlap"),
    *("format", "interp", "interp_x"),
)
_ENDS = ("latent_power", "latent_scale", "last_frame", "latent_power_last", "latent_scale_last")
_FREE_INIT_2 = ("mask_path", "freeinit_enable", *_FREE_INIT)


def plain_args(args: Mapping[str, object]) -> dict[str, object]:
    """Spell arguments as their own program does.

    Others are left as they are, for their rule to refuse. None, also as a word, and an empty text mean that nothing was
    given; numbers of what is switched off are left out.

    Example:
        >>> plain_args({"enable": "true", "video_length": "8", "fps": 8.0, "interp": "NO", "interp_x": "x"})
        {'enable': True, 'video_length': 8, 'fps': 8, 'interp': 'Off'}
    """
    plain = {key: _READERS.get(key, _same)(value) for key, value in args.items() if not is_nothing(value)}
    if str(plain.get("model", "")).lower() == "automatic":
        del plain["model"]
    if plain.get("interp") == "Off":
        plain.pop("interp_x", None)
    if not plain.get("freeinit_enable", True):
        for key in _FREE_INIT:
            plain.pop(key, None)
    return plain


def is_nothing(value: object) -> bool:
    """Whether a value means none: null, empty, or such a word.

    Example:
        >>> is_nothing(None), is_nothing("null"), is_nothing(0)
        (True, True, False)
    """
    return value is None or (isinstance(value, str) and value.strip().lower() in _NOTHING)


def is_off(value: object) -> bool:
    """Whether a switch's value, or a script's first argument, says no."""
    return not value or (isinstance(value, str) and value.strip().lower() in _NO)


def name_args(args: Sequence[object]) -> Mapping[str, object] | None:
    """Name positional arguments, by the order of their version.

    Returns:
        None where no version has such.

    Example:
        >>> name_args([True, 0, 8, 6, "mm_sd_v15.ckpt"])["video_length"]
        8
        >>> name_args(["mm_sd_v15_v2.ckpt", True, 16, 8])["fps"]
        8
    """
    order = _order_of(args)
    if order is None or len(args) > len(order):
        return None
    return {name: value for name, value in zip_longest(order, args) if name and value is not None}


def begins_with_model(args: Sequence[object]) -> bool:
    """Whether positional arguments begin with the motion module, even if None."""
    first = args[0]
    if isinstance(first, str) and first.strip().lower() not in _YES | _NO - _NOTHING:
        return not is_nothing(first) or len(args) > 1
    return first is None and len(args) > 1


def _order_of(args: Sequence[object]) -> tuple[str, ...] | None:
    if begins_with_model(args):
        return _order_from_model(args)
    if len(args) > 1 and isinstance(args[1], bool):
        return None
    if len(args) <= 3 or (len(args) == 4 and isinstance(args[3], str) and not _is_number(args[3])):
        return "enable", "video_length", "fps", "model"  # 1.0
    return "enable", "loop_number", "video_length", "fps", "model", "format", "reverse", *_ENDS  # 1.1 to 1.6


def _order_from_model(args: Sequence[object]) -> tuple[str, ...]:
    """List the argument order of version 1.7 and later.

    `reverse` was there until 1.9.4; FreeInit and masks came with 2.0.
    """
    order = list(_MODEL_FIRST)
    if len(args) > 12 and isinstance(args[12], list):
        order.append("reverse")
    order += ["video_source", "video_path"]
    place = len(order)
    is_older = len(args) > place and _is_number(args[place])
    return (*order, *(() if is_older else _FREE_INIT_2), *_ENDS, "request_id")


def _is_number(value: object) -> bool:
    return isinstance(_number(value), (int, float)) and not isinstance(value, bool)


def _same(value: object) -> object:
    return value


def _number(value: object) -> object:
    """Parse a number, and make whole numbers int."""
    if isinstance(value, str) and re.fullmatch(
        r"[+-]?(?:\d{1,18}\.?\d{0,18}|\.\d{1,18})", text := plain_digits(value).strip()
    ):
        value = float(text) if "." in text else int(text)
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        return int(value)
    return value


def _rate(value: object) -> object:
    """Parse a frame rate: number, ratio such as 24000/1001, or decimal comma."""
    plain = _number(value)
    try:
        return written_rate(read_rate(plain_digits(plain))) if isinstance(plain, str) else plain
    except ValueError:
        return value


def _switch(value: object) -> object:
    value = _number(value)
    if type(value) is int and value in (0, 1):
        return bool(value)
    word = value.strip().lower() if isinstance(value, str) else ""
    return True if word in _YES else False if word in _NO else value


def _closed_loop(value: object) -> object:
    if isinstance(value, str) and value.strip().upper() in ("N", "R-P", "R+P", "A"):
        return value.strip().upper()
    return _switch(value)


def _interp(value: object) -> object:
    if isinstance(value, str) and value.strip().upper() == "FILM":
        return "FILM"
    return "Off" if value in (False, 0) or (isinstance(value, str) and value.strip().lower() in _NO) else value


def _formats(value: object) -> object:
    names = re.split(r"[,\s\[\]'\"]+", value) if isinstance(value, str) else value
    if not isinstance(names, (list, tuple)) or not all(name is None or isinstance(name, str) for name in names):
        return value
    plain = ["Frame" if name.strip().lower() in ("frame", "frames") else name.strip().upper() for name in names if name]
    return plain[0] if isinstance(value, str) and len(plain) == 1 else plain


def _reverse(value: object) -> object:
    ticks = re.findall(r"[^,\[\]\s][^,\[\]]*", value) if isinstance(value, str) else [] if value is False else value
    if not isinstance(ticks, (list, tuple)):
        return value
    return [
        _REVERSE_LABELS.get(tick.strip().lower(), _number(tick)) if isinstance(tick, str) else _number(tick)
        for tick in ticks
    ]


def _filter(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


_READERS: dict[str, Callable[[object], object]] = {
    **dict.fromkeys((*_WHOLE, *_NUMBERS), _number),
    **dict.fromkeys(_SWITCHES, _switch),
    "fps": _rate,
    "closed_loop": _closed_loop,
    "interp": _interp,
    "format": _formats,
    "reverse": _reverse,
    "freeinit_filter": _filter,
}
