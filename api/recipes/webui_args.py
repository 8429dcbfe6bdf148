"""Translate arguments of sd-webui-animatediff, any version, into request fields."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TypedDict, TypeGuard, cast

from api.recipes.model_names import model_named
from api.recipes.plain_args import plain_args
from api.recipes.webui_names import CLOSED_LOOPS, OLD_CLOSED_LOOPS, REVERSES
from pipelines.plan.choices import FreeInitFilter, Interpolation, OutputFormat, Reverse
from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.faults import ENGLISH, Fault
from studio.fields import FieldValues

DEFAULT_WINDOW = 16
"""Its `batch_size` where none is given."""

_SHOWN = 60
_FRAME = "Frame"  # a format of its API: the frames themselves

_Rule = tuple[Callable[[object], bool], str]


class WebuiArgs(TypedDict, total=False):
    """Checked arguments that are read by name."""

    model: str
    enable: bool
    video_length: int
    closed_loop: str | bool
    batch_size: int
    format: str | list[str]
    interp: str
    interp_x: float
    reverse: list[int]
    freeinit_enable: bool
    freeinit_iters: int
    video_source: object
    video_path: str
    mask_path: str
    last_frame: object


def _whole(low: int) -> _Rule:
    return lambda value: type(value) is int and value >= low, f"be a whole number of at least {low}"


def _number(low: float = -math.inf) -> _Rule:
    rule = "be a number" if low == -math.inf else f"be a number of at least {low:g}"
    return lambda value: _is_number(value) and value >= low, rule


def _one_of(*choices: str) -> _Rule:
    return lambda value: isinstance(value, str) and value in choices, f"be one of {', '.join(choices)}"


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_reverse(value: object) -> bool:
    return isinstance(value, (list, tuple)) and all(type(tick) is int and 0 <= tick <= 2 for tick in value)


def _is_format(value: object) -> bool:
    formats = [*OutputFormat, _FRAME]
    return bool(value) and isinstance(value, (str, list, tuple)) and all(name in formats for name in _listed(value))


_SWITCH = (lambda value: isinstance(value, bool), "be true or false")
_TEXT = (lambda value: value is None or isinstance(value, str), "be text")
_RULES: dict[str, _Rule] = {
    "model": (lambda value: isinstance(value, str), "be the name of a motion module"),
    "enable": _SWITCH,
    "video_length": _whole(0),
    "fps": (lambda value: _is_number(value) and value > 0, "be a number above 0"),
    "loop_number": _whole(0),
    "closed_loop": (
        lambda value: isinstance(value, bool) or (isinstance(value, str) and value in CLOSED_LOOPS),
        f"be one of {', '.join(CLOSED_LOOPS)}, true or false",
    ),
    "batch_size": _whole(1),
    "stride": _whole(1),
    "overlap": _whole(-1),
    "format": (_is_format, f"be one or several of {', '.join([*OutputFormat, _FRAME])}"),
    "interp": _one_of("Off", "FILM"),
    "interp_x": _number(1),
    "reverse": (_is_reverse, "be a list of 0, 1 and 2"),
    "freeinit_enable": _SWITCH,
    "freeinit_filter": _one_of(*FreeInitFilter),
    "freeinit_ds": _number(0),
    "freeinit_dt": _number(0),
    "freeinit_iters": _whole(0),
    "latent_power": _number(),
    "latent_scale": _number(),
    "latent_power_last": _number(),
    "latent_scale_last": _number(),
    "request_id": (lambda value: isinstance(value, (str, int)), "be text"),
    "mm_hash": (lambda value: isinstance(value, (str, int)), "be text"),
    "version": (lambda value: isinstance(value, (str, int, float)), "be text"),
    "video_source": (lambda _: True, ""),
    "video_path": _TEXT,
    "mask_path": _TEXT,
    "last_frame": (lambda _: True, ""),
    "is_i2i_batch": (lambda _: True, ""),
    "video_default": (lambda _: True, ""),
    "prompt_scheduler": (lambda _: True, ""),
}
_SAME = {
    "fps": "fps",
    "batch_size": "context_length",
    "stride": "context_stride",
    "overlap": "context_overlap",
    "loop_number": "loop_count",
    "latent_power": "latent_power",
    "latent_scale": "latent_scale",
    "latent_power_last": "latent_power_last",
    "latent_scale_last": "latent_scale_last",
}
_FREE_INIT = {
    "freeinit_filter": "free_init_filter",
    "freeinit_ds": "free_init_spatial_stop",
    "freeinit_dt": "free_init_temporal_stop",
}
ARGUMENT_FIELDS = (
    _SAME
    | _FREE_INIT
    | {
        "model": "motion_module",
        "video_length": "num_frames",
        "closed_loop": "closed_loop",
        "format": "formats",
        "interp_x": "interpolation_frames",
        "reverse": "reverse",
        "freeinit_iters": "free_init_iterations",
        "last_frame": "last_frame",
        "video_source": "source_video",
        "video_path": "source_video",
        "mask_path": "mask",
    }
)
_FILES = {
    "video_source": "Source clip",
    "video_path": "Source clip",
    "mask_path": "Mask",
    "last_frame": "Last frame",
}


def faults_of_args(args: Mapping[str, object]) -> dict[str, str]:
    """Describe invalid arguments by key; empty if all are valid.

    Example:
        >>> faults_of_args({"fps": 8, "stride": 0})
        {'stride': 'AnimateDiff stride must be a whole number of at least 1, got 0. Correct it or leave it out.'}
    """
    return {key: ENGLISH.sentence(fault.of("AnimateDiff")) for key, fault in check_args(args)[1].items()}


def check_args(args: Mapping[str, object]) -> tuple[WebuiArgs, dict[str, Fault]]:
    """Spell arguments plainly; returns the valid ones, and each other's fault."""
    plain = plain_args(args)
    faults = {str(key): fault for key, value in plain.items() if (fault := _fault(str(key), value, args[key]))}
    # `_RULES` has seen that each value is of its kind.
    return cast(WebuiArgs, {key: value for key, value in plain.items() if str(key) not in faults}), faults


def fields_of_args(args: Mapping[str, object]) -> tuple[FieldValues, list[str]]:
    """Translate arguments into request fields.

    Only those that are given are filled in. Whether the values fit our own ranges is left to the request.

    Args:
        args: As its API takes them, of any version, numbers also as text.

    Returns:
        The fields by name, and in words what has no counterpart.

    Raises:
        InvalidRequestError: A key is unknown, or its value of another kind; the text names the key.

    Example:
        >>> fields, _ = fields_of_args({"video_length": 16, "batch_size": 8, "interp": "FILM", "interp_x": 10})
        >>> fields["num_frames"], fields["context_length"], fields["interpolation_frames"], fields["keep_duration"]
        (16, 8, 10, False)
    """
    checked, faults = check_args(args)
    for fault in faults.values():
        raise InvalidRequestError(fault.of("AnimateDiff"))
    fields: FieldValues = {_SAME[key]: value for key, value in checked.items() if key in _SAME}
    notes: list[str] = []
    length = _num_frames(checked)
    if length:
        fields["num_frames"] = length
    if "closed_loop" in checked:
        value = checked["closed_loop"]
        fields["closed_loop"] = OLD_CLOSED_LOOPS[value] if isinstance(value, bool) else CLOSED_LOOPS[value]
    reverse = REVERSES.get(frozenset(checked.get("reverse", ())), Reverse.OFF)
    if "reverse" in checked:
        fields["reverse"] = reverse
    if "freeinit_enable" in checked:
        fields |= _free_init(checked)
    if "interp" in checked:
        fields |= _interpolation(checked, reverse, length or DEFAULT_WINDOW)
    for read in (_formats, _motion_module):
        extra_fields, extra_notes = read(checked)
        fields |= extra_fields
        notes += extra_notes
    return fields, notes + _without_counterpart(checked)


def key_of_field(field: str) -> str | None:
    """Find the argument of a request field; None if there is none.

    Example:
        >>> key_of_field("context_length")
        'batch_size'
    """
    return next((theirs for theirs, ours in ARGUMENT_FIELDS.items() if ours == field), None)


def _fault(key: str, value: object, original: object) -> Fault | None:
    if key not in _RULES:
        values = {"known": ", ".join(list(_RULES)[:8])}
        rule, fix = "be one of its arguments", "Known: {known}, …"
        return Fault("webui.unknown_argument", key[:_SHOWN], rule, "another", fix, values=values, end="")
    holds, rule = _RULES[key]
    if holds(value):
        return None
    return Fault("webui.argument", key, rule, original, "Correct it or leave it out")


def _num_frames(args: WebuiArgs) -> int:
    """Read the clip's length; 0 if open or the source clip's."""
    if "video_length" not in args or args["video_length"]:
        return args.get("video_length", 0)
    return 0 if args.get("video_source") or args.get("video_path") else args.get("batch_size", DEFAULT_WINDOW)


def _free_init(args: WebuiArgs) -> FieldValues:
    if not args["freeinit_enable"]:
        return {"free_init_iterations": 0}
    fields: FieldValues = {_FREE_INIT[key]: value for key, value in args.items() if key in _FREE_INIT}
    return fields | {"free_init_iterations": args.get("freeinit_iters", 3)}


def _interpolation(args: WebuiArgs, reverse: Reverse, length: int) -> FieldValues:
    """Read frames in between from the frame multiple; the clip slows down."""
    if args["interp"] == "Off":
        return {"interpolation": Interpolation.OFF}
    dropped = {Reverse.APPEND: 0, Reverse.DROP_HEAD: 1, Reverse.DROP_TAIL: 1, Reverse.DROP_BOTH: 2}
    frames = length if reverse is Reverse.OFF else 2 * length - dropped[reverse]
    times = args.get("interp_x", 10)
    between = round((frames * times - frames) / (frames - 1)) if frames > 1 else 0
    if between < 1:
        return {"interpolation": Interpolation.OFF}
    return {"interpolation": Interpolation.FILM, "keep_duration": False, "interpolation_frames": between}


def _formats(args: WebuiArgs) -> tuple[FieldValues, list[str]]:
    if "format" not in args:
        return {}, []
    names = _listed(args["format"])
    formats = [name for name in dict.fromkeys(names) if name != _FRAME]
    notes = ["The format Frame has no counterpart."] if _FRAME in names else []
    return ({"formats": formats} if formats else {}), notes


def _motion_module(args: WebuiArgs) -> tuple[FieldValues, list[str]]:
    if "model" not in args:
        return {}, []
    module = model_named("motion_module", args["model"])
    if module:
        return {"motion_module": module}, []
    return {}, [f"Motion module: '{args['model'][:_SHOWN]}' is not in the list. Choose one."]


def _without_counterpart(args: WebuiArgs) -> list[str]:
    notes = []
    files = dict.fromkeys(_FILES[key] for key in _FILES if args.get(key))
    if files:
        notes.append(f"Choose again, since the files are not named by content: {', '.join(files)}.")
    if args.get("request_id"):
        notes.append("request_id has no counterpart.")
    return notes


def _listed(value: str | Sequence[str]) -> list[str]:
    return [value] if isinstance(value, str) else list(value)
