"""Request fields of the tabs; only the open one counts."""

from collections.abc import Mapping
from typing import Any

from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.faults import Fault
from studio.fields import FIELDS
from studio.modes import Mode
from studio.open_fields import fill_open_fields, is_open_length
from ui.inputs.control_units import control_fields
from ui.inputs.image_prompts import image_prompt_fields
from ui.inputs.img2vid import img2vid_fields
from ui.inputs.vid2vid import vid2vid_fields
from ui.words.speech import say
from ui.words.tables import ENGLISH

SHARED = ("strength", "image_fit")
"""Fields of both tabs with pictures or clips."""

PREVIEWED = ("width", "height", "num_frames", "fps", "seed")
"""The fields of every tab that decide what a control unit follows."""


def request_fields(values: Mapping[str, Any]) -> dict[str, Any]:
    """Collect a request's fields from all values of the page.

    Args:
        values: The values of the components by their `elem_id`, the open tab as `mode` among them.

    Raises:
        InvalidRequestError: A file is none that can be read, or the tab has nothing to start from.
    """
    mode = _read_mode(values["mode"])
    field_values = {name: values[name] for name in FIELDS}
    if mode is not Mode.TXT2VID:
        field_values |= _inputs(mode, values) | {"controls": control_fields(values)}
    if is_open_length(field_values["num_frames"]):  # the place of the last picture is counted in it
        field_values["num_frames"] = fill_open_fields(field_values)["num_frames"]
    field_values["image_prompts"] = image_prompt_fields({**values, "num_frames": field_values["num_frames"]})
    if mode is not Mode.TXT2VID:
        _check_start(mode, field_values)
    return field_values


def preview_fields(values: Mapping[str, Any], number: int) -> dict[str, Any]:
    """Collect the fields that one control unit's preview needs.

    It is the request's only unit, switched on or not.

    Raises:
        InvalidRequestError: A file is none that can be read.
    """
    mode = _read_mode(values["mode"])
    names = ("source_video", "source_start", "source_every", "image_fit")
    inputs = _inputs(mode, values) if mode is Mode.VID2VID else {}
    return (
        {name: values[name] for name in PREVIEWED}
        | {name: inputs[name] for name in names if name in inputs}
        | {"controls": control_fields(values, [number])}
    )


def _inputs(mode: Mode, values: Mapping[str, Any]) -> dict[str, Any]:
    tab_fields = img2vid_fields(values) if mode is Mode.IMG2VID else vid2vid_fields(values)
    return tab_fields | {name: values[name] for name in SHARED}


def _check_start(mode: Mode, fields: Mapping[str, Any]) -> None:
    """Refuse a tab without any picture, clip or other guidance."""
    name = "first_frame" if mode is Mode.IMG2VID else "source_video"
    if fields.get(name) or fields.get("last_frame") or fields["controls"] or fields["image_prompts"]:
        return
    tab, without = (say(ENGLISH, f"mode.{tab_mode}") for tab_mode in (mode, Mode.TXT2VID))
    raise InvalidRequestError(
        Fault(
            "inputs.not_given_on_tab",
            name,
            "be given in '{here}'",
            "none",
            "Choose a {field:label}, or go to '{without}'",
            values={"here": tab, "without": without},
        )
    )


def _read_mode(value: object) -> Mode:
    if value in list(Mode):
        return Mode(str(value))
    rule, known_modes = "be one of {limit}", ", ".join(Mode)
    raise InvalidRequestError(Fault("page.mode", "mode", rule, value, "Choose a tab", limit=known_modes))
