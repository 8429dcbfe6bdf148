"""Pictures, clips, control units and image prompts on the command line."""

import argparse
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from api.kept_inputs import keep_own, keep_source
from pipelines.control_units import ControlUnit, ImagePrompt
from pipelines.errors import InvalidRequestError, UserError
from pipelines.request import FILE_FIELDS, INPUT_FIELDS, GenerationRequest

UNIT_FIELDS = {"controls": "control", "image_prompts": "image_prompt"}
"""Fields that hold several units, and the option that adds one of them."""
_MOVING = ("source_video", "mask")
_LISTS = ("key_frames", "falloff")


def add_input_options(parser: argparse.ArgumentParser) -> None:
    """Add an option for every field about pictures and clips."""
    group = parser.add_argument_group("pictures and clips")
    for name in INPUT_FIELDS:
        text = str(GenerationRequest.model_fields[name].description).replace("%", "%%")
        if name in FILE_FIELDS:
            kind = "FILE_OR_FOLDER" if name in _MOVING else "FILE"
            group.add_argument(f"--{name.replace('_', '-')}", metavar=kind, help=text)
        elif name not in UNIT_FIELDS:
            group.add_argument(f"--{name.replace('_', '-')}", metavar="X", help=text)
    group.add_argument(
        "--control",
        action="append",
        metavar="UNIT",
        help="A control unit, such as 'model=demo-canny preprocessor=canny weight=0.8 clip=hand.mp4'. Without a clip "
        f"it follows the source. Known: {', '.join(ControlUnit.model_fields)}, and options.NAME of the preprocessor. "
        "Repeat it for several.",
    )
    group.add_argument(
        "--image-prompt",
        action="append",
        metavar="UNIT",
        help="An image prompt, such as 'model=h94/IP-Adapter/ip-adapter_sd15 weight=0.7 0=cat.png 15=dog.png': "
        f"pictures at frames. Known: {', '.join(name for name in ImagePrompt.model_fields if name != 'pictures')}. "
        "Repeat it for several.",
    )


def keep_inputs(options: dict[str, Any]) -> None:
    """Put hashes in the place of the files that options name, and units in the place of their texts.

    Raises:
        UserError: A file is not there or can't be used, or a unit is not written as it must be.
    """
    packed = Path(options.get("source_video") or "")
    if packed.is_file() and not options.get("mask"):  # a zip may bring its masks
        options["source_video"], options["mask"] = keep_source([packed])
    for name in FILE_FIELDS:
        if options.get(name) and not re.fullmatch("[0-9a-f]{64}", options[name]):
            options[name] = _kept(options[name], name)
    for field, option in UNIT_FIELDS.items():
        texts = options.pop(option, None)
        if texts is not None:
            read = _control if field == "controls" else _image_prompt
            options[field] = [read(text, f"{option} {number}") for number, text in enumerate(texts, start=1)]


def _kept(text: str, field: str) -> str:
    path = Path(text)
    if not path.exists():
        raise UserError(f"{field} must be a file or folder, got {text}. Check the path.")
    return keep_own(path, field=field)


def _control(text: str, field: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    options = {}
    for name, value in _pairs(text, field):
        if name.startswith("options."):
            options[name.removeprefix("options.")] = value
        elif name == "clip":
            values[name] = _kept(value, f"{field} clip")
        elif name in _LISTS:
            values[name] = [part.strip() for part in value.split(",") if part.strip()]
        else:
            values[name] = value
    return values | ({"options": options} if options else {})


def _image_prompt(text: str, field: str) -> dict[str, Any]:
    pairs = _pairs(text, field)
    pictures = [(name, _kept(value, f"{field} frame {name}")) for name, value in pairs if name.isdigit()]
    return {name: value for name, value in pairs if not name.isdigit()} | {"pictures": pictures}


def _pairs(text: str, field: str) -> Sequence[tuple[str, str]]:
    try:
        words = shlex.split(text)
    except ValueError as err:
        raise InvalidRequestError(f"{field} must close its quotes, got {text[:80]}. Add the missing one.") from err
    pairs = [tuple(word.split("=", 1)) for word in words]
    if not words or any(len(pair) != 2 for pair in pairs):
        raise InvalidRequestError(
            f"{field} must be name=value, name=value with spaces between, got {text[:80]}. Quote values with spaces."
        )
    return [(name, value) for name, value in pairs]
