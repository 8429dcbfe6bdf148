"""The scripts of a body: AnimateDiff's and ControlNet's arguments, and which others are as good as off."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from api.recipes.plain_args import begins_with_model, is_off, named_args, plain_args
from api.recipes.webui_args import broken_args
from api.sdapi.faults import KeyFaultError, refuse
from api.sdapi.models import Generation
from pipelines.plan.faults import Place

_ANIMATEDIFF, _CONTROLNET = "animatediff", "controlnet"
_CALLED = {
    _ANIMATEDIFF: _ANIMATEDIFF,
    "animatediff for forge": _ANIMATEDIFF,
    _CONTROLNET: _CONTROLNET,
    "controlnet integrated": _CONTROLNET,
    "sd_forge_controlnet": _CONTROLNET,
}
# The web UI's own, whose arguments repeat what other keys say, or change no picture.
_WITHOUT_EFFECT = frozenset(
    {
        *("api payload", "comments", "extra options", "hypertile", "sampler", "prompt styles"),
        *("lora block weight", "agent scheduler"),  # the former reads what tags in the prompt say, which is told
    }
)
_SEED, _EXTRAS, _VARIATION = "seed", 1, 3
_SWITCHES = ("enabled", "enable", "is_enabled", "active", "ad_enable")
_DYNAMIC_PROMPTS = "dynamic prompts"
_BY_ITSELF = slice(1, 6)  # of its arguments: what makes other prompts of one without its syntax


class Scripts(NamedTuple):
    """What a body says of the scripts that are known.

    Args:
        animatediff: AnimateDiff's arguments by name; None if it is off.
        animatediff_place: Where they stand.
        units: ControlNet's, as they came.
        units_place: Where they stand.
    """

    animatediff: Mapping[str, Any] | None
    animatediff_place: Place
    units: list[Any]
    units_place: Place


def read_scripts(body: Generation) -> Scripts:
    """Read the scripts of a body; those that are switched off are not looked at.

    Raises:
        KeyFaultError: Another script is switched on, or arguments can't be read.
    """
    found: dict[str, tuple[list[Any], Place]] = {
        _ANIMATEDIFF: ([], ("alwayson_scripts", "AnimateDiff", "args")),
        _CONTROLNET: ([], ("alwayson_scripts", "ControlNet", "args")),
    }
    for name, script in (body.alwayson_scripts or {}).items():
        place: Place = ("alwayson_scripts", name)
        called = _CALLED.get(re.sub(r"\s*v?[\d.]+$", "", name.strip().lower()))
        if called:
            found[called] = (script.args, (*place, "args"))
        elif not _is_idle(name.strip().lower(), script.args):
            raise refuse(place, "be AnimateDiff or ControlNet, or switched off", "one that is on", fix="Leave it out.")
    (args, place), (units, units_place) = found[_ANIMATEDIFF], found[_CONTROLNET]
    return Scripts(_animatediff(args, (*place, 0)), (*place, 0), units, units_place)


def _is_idle(name: str, args: list[Any]) -> bool:
    if not args or name in _WITHOUT_EFFECT:
        return True
    if name == _SEED:
        return len(args) <= _VARIATION or is_off(args[_EXTRAS]) or is_off(args[_VARIATION])
    if name.startswith(_DYNAMIC_PROMPTS):
        return is_off(args[0]) or not any(one is True for one in args[_BY_ITSELF])
    return all(is_off(one) for one in _switches(name, args))


def _switches(name: str, args: list[Any]) -> list[Any]:
    """What must be off for a script to be: its switch, or the models of its units."""
    models = [one["ad_model"] for one in args if isinstance(one, Mapping) and "ad_model" in one]
    first = args[0]
    if isinstance(first, Mapping) and first:
        return [value for key, value in first.items() if key.lower() in (*_SWITCHES, name)] or models or [True]
    if models and not is_off(first):
        return models
    # A picture that was not given may stand before the switch.
    return [one is True for one in args[1:3]] if first is None else [first]


def _animatediff(args: list[Any], place: Place) -> Mapping[str, Any] | None:
    if not args or (is_off(args[0]) and not begins_with_model(args)):
        return None
    named = args[0] if isinstance(args[0], Mapping) else None
    if named is None and (args[0] is None or args[0] == 1 or isinstance(args[0], str)):
        named = named_args(args)
    if named is None:
        raise refuse(
            place,
            "be AnimateDiff's arguments by name, or in the order of one of its versions",
            args[0],
            fix="Send {…}.",
        )
    plain = plain_args(named)
    enable = plain.get("enable", False)
    if isinstance(enable, bool) and not enable:
        return None
    for key, fault in broken_args(named).items():
        raise KeyFaultError((*place, key), fault)
    return plain
