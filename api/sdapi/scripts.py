"""Read the scripts of a body: AnimateDiff, ControlNet, and idle others."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from api.recipes.plain_args import begins_with_model, is_off, name_args
from api.recipes.webui_args import WebuiArgs, check_args
from api.sdapi.faults import KeyFaultError, refuse
from api.sdapi.models import Generation
from pipelines.plan.faults import Place

_ANIMATEDIFF, _CONTROLNET = "animatediff", "controlnet"
_SCRIPT_NAMES = {
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
    """The known scripts of a body.

    Args:
        animatediff: AnimateDiff's arguments by name; None if it is off.
        animatediff_place: Where they stand.
        units: ControlNet's, as they came.
        units_place: Where they stand.
    """

    animatediff: WebuiArgs | None
    animatediff_place: Place
    units: list[object]
    units_place: Place


def read_scripts(body: Generation) -> Scripts:
    """Read a body's scripts; disabled ones are not looked at.

    Raises:
        KeyFaultError: Another script is switched on, or arguments can't be read.
    """
    known_scripts: dict[str, tuple[list[object], Place]] = {
        _ANIMATEDIFF: ([], ("alwayson_scripts", "AnimateDiff", "args")),
        _CONTROLNET: ([], ("alwayson_scripts", "ControlNet", "args")),
    }
    for name, script in (body.alwayson_scripts or {}).items():
        place: Place = ("alwayson_scripts", name)
        script_name = _SCRIPT_NAMES.get(re.sub(r"\s*v?[\d.]+$", "", name.strip().lower()))
        if script_name:
            known_scripts[script_name] = (script.args, (*place, "args"))
        elif not _is_idle(name.strip().lower(), script.args):
            raise refuse(place, "be AnimateDiff or ControlNet, or switched off", "one that is on", fix="Leave it out.")
    (args, place), (units, units_place) = known_scripts[_ANIMATEDIFF], known_scripts[_CONTROLNET]
    return Scripts(_animatediff(args, (*place, 0)), (*place, 0), units, units_place)


def _is_idle(name: str, args: list[object]) -> bool:
    if not args or name in _WITHOUT_EFFECT:
        return True
    if name == _SEED:
        return len(args) <= _VARIATION or is_off(args[_EXTRAS]) or is_off(args[_VARIATION])
    if name.startswith(_DYNAMIC_PROMPTS):
        return is_off(args[0]) or not any(arg is True for arg in args[_BY_ITSELF])
    return all(is_off(arg) for arg in _switches(name, args))


def _switches(name: str, args: list[object]) -> list[object]:
    """List what disables a script: its switch, or its units' models."""
    models = [arg["ad_model"] for arg in args if isinstance(arg, Mapping) and "ad_model" in arg]
    first = args[0]
    if isinstance(first, Mapping) and first:
        return [value for key, value in first.items() if key.lower() in (*_SWITCHES, name)] or models or [True]
    if models and not is_off(first):
        return models
    # A picture that was not given may stand before the switch.
    return [arg is True for arg in args[1:3]] if first is None else [first]


def _animatediff(args: list[object], place: Place) -> WebuiArgs | None:
    if not args or (is_off(args[0]) and not begins_with_model(args)):
        return None
    args_by_name: Mapping[str, object] | None = args[0] if isinstance(args[0], Mapping) else None
    if args_by_name is None and (args[0] is None or args[0] == 1 or isinstance(args[0], str)):
        args_by_name = name_args(args)
    if args_by_name is None:
        raise refuse(
            place,
            "be AnimateDiff's arguments by name, or in the order of one of its versions",
            args[0],
            fix="Send {…}.",
        )
    checked, faults = check_args(args_by_name)
    if "enable" not in faults and not checked.get("enable", False):
        return None
    for key, fault in faults.items():
        raise KeyFaultError((*place, key), fault)
    return checked
