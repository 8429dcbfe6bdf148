"""The tabs: what a clip is made from. Only what the open one shows counts; the others keep their values unused."""

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
    """The fields of a request from all values of the page.

    Args:
        values: The values of the components by their `elem_id`, the open tab as `mode` among them.

    Raises:
        InvalidRequestError: A file is none that can be read, or the tab has nothing to start from.
    """
    mode = _read_mode(values["mode"])
    given = {name: values[name] for name in FIELDS}
    if mode is not Mode.TXT2VID:
        given |= _inputs(mode, values) | {"controls": control_fields(values)}
    if is_open_length(given["num_frames"]):  # the place of the last picture is counted in it
        given["num_frames"] = fill_open_fields(given)["num_frames"]
    given["image_prompts"] = image_prompt_fields({**values, "num_frames": given["num_frames"]})
    if mode is not Mode.TXT2VID:
        _check_start(mode, given)
    return given


def preview_fields(values: Mapping[str, Any], number: int) -> dict[str, Any]:
    """The fields that decide what one control unit follows, switched on or not; it becomes the request's only one.

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
    own = img2vid_fields(values) if mode is Mode.IMG2VID else vid2vid_fields(values)
    return own | {name: values[name] for name in SHARED}


def _check_start(mode: Mode, given: Mapping[str, Any]) -> None:
    """Refuse a tab without its picture or clip, unless something else on it steers the clip."""
    name = "first_frame" if mode is Mode.IMG2VID else "source_video"
    if given.get(name) or given.get("last_frame") or given["controls"] or given["image_prompts"]:
        return
    here, without = (say(ENGLISH, f"mode.{one}") for one in (mode, Mode.TXT2VID))
    raise InvalidRequestError(
        Fault(
            "inputs.not_given_on_tab",
            name,
            "be given in '{here}'",
            "none",
            "Choose a {field:label}, or go to '{without}'",
            values={"here": here, "without": without},
        )
    )


def _read_mode(value: object) -> Mode:
    if value in list(Mode):
        return Mode(str(value))
    rule, known = "be one of {limit}", ", ".join(Mode)
    raise InvalidRequestError(Fault("page.mode", "mode", rule, value, "Choose a tab", limit=known))
