"""Every option under its heading: request fields and the command line's own."""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, TypedDict, get_args, get_origin

from api.command_line.lists import LISTS
from pipelines.plan.presets import PRESETS
from pipelines.plan.request import GenerationRequest, field_bounds
from pipelines.plan.request_fields.units import ControlUnit, ImagePrompt
from studio.field_groups import GROUPS, IN_SIGHT, TAB_GROUPS
from studio.fields import json_default, json_type


class ArgparseSettings(TypedDict, total=False):
    """Further arguments of argparse's `add_argument`."""

    action: str
    choices: Sequence[str]
    const: bool
    dest: str
    metavar: str
    nargs: str
    type: Callable[[str], object]


class Option(NamedTuple):
    """A command-line option.

    Args:
        names: As they are typed.
        help: What it does; `%` as it is.
        settings: How argparse reads it.
    """

    names: tuple[str, ...]
    help: str
    settings: ArgparseSettings = ArgparseSettings()


_METAVARS = {
    **dict.fromkeys(("num_frames", "context_length", "context_overlap", "inner_length", "inner_overlap"), "FRAMES"),
    **dict.fromkeys(("source_start", "latent_scale", "latent_scale_last", "interpolation_frames"), "FRAMES"),
    **dict.fromkeys(("width", "height", "mask_feather"), "PIXELS"),
    **dict.fromkeys(("first_frame", "last_frame"), "FILE"),
    **dict.fromkeys(("source_video", "mask"), "FILE_OR_FOLDER"),
    "fps": "FRAMES_A_SECOND",
    "max_file_mb": "MB",
    "loop_count": "TIMES",
}
"""What stands for the value where it has a unit or is a file; else its type says it."""

_DEFAULTS = {"seed": "drawn", "base_model": "demo, or Stable Diffusion 1.5 with a GPU"}
_ALONE = {"draft": "Without a number: make a draft of the clip, small where the model can, and in few steps. "}
_YES: ArgparseSettings = {"nargs": "?", "const": True}  # the option alone
_UNITS = {
    "controls": Option(
        ("--control",),
        "A control unit, such as 'model=demo-canny preprocessor=canny weight=0.8 clip=hand.mp4'. Without a clip "
        f"it follows the source. Known: {', '.join(ControlUnit.model_fields)}, and options.NAME of the preprocessor. "
        "Repeat it for several.",
        {"action": "append", "metavar": "UNIT", "dest": "controls"},
    ),
    "image_prompts": Option(
        ("--image-prompt",),
        "An image prompt, such as 'model=h94/IP-Adapter/ip-adapter_sd15 weight=0.7 0=cat.png 15=dog.png': "
        f"pictures at frames. Known: {', '.join(name for name in ImagePrompt.model_fields if name != 'pictures')}. "
        "Repeat it for several.",
        {"action": "append", "metavar": "UNIT", "dest": "image_prompts"},
    ),
}
_FLAG: ArgparseSettings = {"action": "store_true"}

RESULTS = (
    Option(
        ("-o", "--output"),
        "Where to write the clip: .mp4, .gif, .webp, .webm, .png (APNG), .zip (PNG frames), .txt (the recipe), or a "
        "folder for PNG frames, such as frames/. Repeat it for several formats.",
        {"action": "append", "metavar": "FILE"},
    ),
    Option(("--json",), "Tell results as JSON, an object a line: output, seed, seconds.", _FLAG),
    Option(
        ("--checkpoints",),
        "Keep every finished step in this folder: the same command, killed and started again, goes on from there. "
        "Needs --seed or --recipe, since another seed is another clip.",
        {"metavar": "DIR"},
    ),
)
RECIPES = (
    Option(
        ("--preset",),
        "Set several fields at once, as far as no other option sets them: "
        f"{', '.join(preset.id for preset in PRESETS)}.",
        {"metavar": "NAME"},
    ),
    Option(
        ("--recipe",),
        "Make a recipe again: JSON, a file of it, or a clip that carries it; or the infotext of another program's "
        "picture, clip or text, as far as it can be had here. Other options change it.",
        {"metavar": "FILE_OR_JSON"},
    ),
    Option(
        ("--extend",),
        "Go on with a clip, given as for --recipe, whose frames stay as they are. Needs --frames.",
        {"metavar": "FILE_OR_JSON"},
    ),
    Option(("--frames",), "How many frames --extend adds.", {"type": int, "metavar": "FRAMES"}),
)
SEVERAL = (
    Option(("--count",), "Make several clips, 1 to 16, each with the next seed.", {"metavar": "N"}),
    Option(
        ("--seeds",),
        "Make a clip of each of these seeds, 7,42,1000. Several clips have their seed in their names: clip-7.mp4.",
        {"metavar": "LIST"},
    ),
    Option(
        ("--grid",),
        "Make a clip of every value and put them side by side: 'seed: 1-4', 'guidance_scale: 3, 7.5' or "
        "'prompt_sr: red | blue', which replaces words of the prompt. Up to 3 times: columns, rows, blocks of rows. "
        "Beside grid.mp4 come a picture, grid.png, and all clips, in grid-cells.",
        {"action": "append", "metavar": "AXIS"},
    ),
    Option(
        ("--batch",),
        "Make a clip of every line of a file, - for standard input. A line is a JSON object of fields by name, and "
        "of output, preset, recipe, extend and frames; where it says nothing, the other options count. -o is a "
        "folder for all clips, or a name with {line} and {seed} in it.",
        {"metavar": "FILE"},
    ),
    Option(
        ("--skip-done",),
        "Make only what is missing: a clip whose files are there, with the recipe it would get, is left as it is.",
        _FLAG,
    ),
)
INSTEAD = (
    Option(("--estimate",), "Tell what it would take, and whether it fits into memory. Exit status 1 if not.", _FLAG),
    Option(
        ("--preprocess",), "Write what the first --control would follow, as an MP4, in the place of the clip.", _FLAG
    ),
    Option(
        ("--list",),
        f"Tell the names that options know, one a line: {', '.join(LISTS)}.",
        {"choices": tuple(LISTS), "metavar": "KIND"},
    ),
    Option(
        ("--self-test",), "Make a small clip with the demo model, and tell what this studio runs on and with.", _FLAG
    ),
    Option(("--version",), "Tell the version.", _FLAG),
)
HELP = Option(("-h", "--help"), "Tell of the usual options; of all; of those of a topic; or of one, by its name.")


def field_option(name: str) -> Option:
    """Build the option of a request field.

    Values stay text: the request checks them, in its own words.

    Args:
        name: Of any field of the request but the formats, which the names of the outputs say.
    """
    if name == "prompt":
        return Option(("prompt",), field_help(name), {"nargs": "?", "metavar": "PROMPT"})
    if name in _UNITS:
        return _UNITS[name]
    kind, help_text = json_type(name), field_help(name)
    settings: ArgparseSettings = {"metavar": _METAVARS.get(name) or _metavar(kind)}
    if kind is bool:
        settings |= _YES
    if kind is int:
        settings["type"] = _whole_or_text
    if name == "draft":
        settings |= _YES
    return Option((f"--{name.replace('_', '-')}",), help_text, settings)


def field_help(name: str) -> str:
    """Describe a field, with range or choices and default in brackets.

    Example:
        >>> field_help("clip_skip")[-20:]
        '[0 to 11; default 0]'
    """
    facts = "; ".join(filter(None, (_range(name), _default(name))))
    return f"{GenerationRequest.model_fields[name].description} {_ALONE.get(name, '')}[{facts}]"


def option_groups() -> dict[str, Sequence[Option]]:
    """Group all options but `--help` by heading, the page's fields first."""
    fields = {"Clip": IN_SIGHT} | TAB_GROUPS | GROUPS
    of_fields = {
        heading: tuple(field_option(name) for name in names if name != "formats") for heading, names in fields.items()
    }
    return of_fields | OWN_GROUPS


OWN_GROUPS: dict[str, Sequence[Option]] = {
    "Results": RESULTS,
    "Recipes": RECIPES,
    "Several clips": SEVERAL,
    "Instead of a clip": INSTEAD,
}
"""The command line's own options."""


def _whole_or_text(text: str) -> int | str:
    try:
        return int(text)
    except ValueError:
        return text


def _metavar(kind: object) -> str:
    if get_origin(kind) is Literal:
        return "CHOICE"
    names: dict[object, str] = {bool: "yes|no", int: "N", float: "X", str: "TEXT"}
    return names.get(kind, "LIST" if get_origin(kind) is list else "X")


def _range(name: str) -> str:
    kind = json_type(name)
    if get_origin(kind) is Literal:
        return ", ".join(get_args(kind))
    if kind is bool:
        return "yes or no"
    low, high = field_bounds(name)
    above = next((rule.gt for rule in GenerationRequest.model_fields[name].metadata if hasattr(rule, "gt")), None)
    if high is None:
        return ""
    return f"{low:,} to {high:,}" if low is not None else f"above {above:,} to {high:,}"


def _default(name: str) -> str:
    default = json_default(name)
    if name in _DEFAULTS:
        return f"default {_DEFAULTS[name]}"
    if default is None:
        return "default the model's own"
    if default in ("", []):
        return "default none"
    if isinstance(default, bool):
        return f"default {'yes' if default else 'no'}"
    return f"default {default:g}" if isinstance(default, float) else f"default {default}"
