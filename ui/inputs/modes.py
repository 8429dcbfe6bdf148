"""Request fields of the tabs; only the open one counts."""

from collections.abc import Mapping
from typing import get_args

from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.faults import Fault
from pipelines.plan.request import RANDOM_SEED, fields_affecting
from pipelines.plan.request_fields.knobs import Effect
from studio.batch import count_clips
from studio.fields import FIELDS
from studio.modes import Mode
from studio.open_fields import fill_open_fields, is_open_length
from ui.inputs.control_units import UNITS, UnitValues, control_fields, part, switched_on, unit_field
from ui.inputs.image_prompts import FIELD as IMAGE_PROMPTS
from ui.inputs.image_prompts import ImagePromptValues, image_prompt_fields
from ui.inputs.img2vid import img2vid_fields
from ui.inputs.vid2vid import vid2vid_fields
from ui.parts.page_events import Handler
from ui.parts.page_request import PageRequest
from ui.parts.page_values import PageValues
from ui.parts.restored_inputs import UPLOADED_HASHES
from ui.parts.updates import UpdatesById
from ui.words.speech import say
from ui.words.tables import ENGLISH

SHARED = ("strength", "image_fit")
"""Fields of both tabs with pictures or clips."""

EFFECTIVE_FIELDS = tuple(dict.fromkeys(name for effect in get_args(Effect) for name in fields_affecting(effect)))
"""Fields that decide what is estimated or drawn."""

_SOME_FILE = "0" * 64

UPLOADS: dict[str, str] = {
    **{name: name for name in ("first_frame", "last_frame", "mask")},
    **{f"image_prompt_{name}": IMAGE_PROMPTS for name in ("picture", "last_picture")},
    **{part(number, "clip"): unit_field(number) for number in range(1, UNITS + 1)},
}
"""The components beside the source that files are chosen in, with what refusals call them."""

PREVIEWED = ("width", "height", "num_frames", "fps", "seed")
"""The fields of every tab that decide what a control unit follows."""


def request_fields(page: PageValues) -> dict[str, object]:
    """Collect a request's fields from all values of the page.

    Raises:
        InvalidRequestError: A file is none that can be read, or the tab has nothing to start from.
    """
    mode, field_values = page.mode, page.fields(FIELDS)
    if mode is not Mode.TXT2VID:
        field_values |= _inputs(mode, page) | {"controls": control_fields(page)}
    if is_open_length(field_values["num_frames"]):  # the place of the last picture is counted in it
        field_values["num_frames"] = fill_open_fields(field_values)["num_frames"]
    field_values["image_prompts"] = image_prompt_fields(page, num_frames=field_values["num_frames"])
    if mode is not Mode.TXT2VID:
        _check_start(mode, field_values)
    return field_values


def parse_page(page: PageValues) -> PageRequest:
    """Parse all that decides estimate and charts; files are taken for granted."""
    image_prompt = ImagePromptValues.of(page)
    fields = page.fields(EFFECTIVE_FIELDS) | {"seed": _first_seed(page.value("seed"))}
    if image_prompt.picture and image_prompt.model:
        fields["image_prompts"] = [{"model": image_prompt.model, "pictures": [(0, _SOME_FILE)]}]
    try:
        mode = page.mode
    except InvalidRequestError as err:
        return PageRequest(PageRequest.of(fields).request, {"mode": err})
    if mode is Mode.IMG2VID:
        fields |= {name: _SOME_FILE for name in ("first_frame", "last_frame") if page.value(name)}
    if mode is Mode.VID2VID:
        fields |= {"source_video": _SOME_FILE, "mask": _SOME_FILE if page.value("mask") else ""}
    if mode is not Mode.TXT2VID:
        fields["controls"] = [_unit_outline(UnitValues.of(page, number)) for number in switched_on(page)]
        fields["strength"] = page.value("strength")
    return PageRequest.of(fields)


def _first_seed(seed: object) -> object:
    """Return the first of a list, 0 for a random one."""
    try:
        count_clips(seed, None)
    except InvalidRequestError:
        return seed  # the request refuses it
    first = str("" if seed is None else seed).partition(",")[0].strip()
    return 0 if first in ("", str(RANDOM_SEED)) else first


def upload_storing(name: str, field: str) -> Handler:
    """Build the handler that stores a component's upload, or refuses it.

    Args:
        name: The component.
        field: What a refusal calls it.
    """

    def store_upload(page: PageValues) -> UpdatesById:
        return {UPLOADED_HASHES: page.with_stored(page.value(name), page.upload_hash(name, field=field))}

    return store_upload


def _unit_outline(unit: UnitValues) -> dict[str, object]:
    preprocessor = unit.preprocessor or "none"
    return {"model": unit.model, "preprocessor": preprocessor, "start": unit.start, "end": unit.end}


def preview_fields(page: PageValues, number: int) -> dict[str, object]:
    """Collect the fields that one control unit's preview needs.

    It is the request's only unit, switched on or not.

    Raises:
        InvalidRequestError: A file is none that can be read.
    """
    names = ("source_video", "source_start", "source_every", "image_fit")
    inputs = _inputs(page.mode, page) if page.mode is Mode.VID2VID else {}
    return (
        page.fields(PREVIEWED)
        | {name: inputs[name] for name in names if name in inputs}
        | {"controls": control_fields(page, [number])}
    )


def _inputs(mode: Mode, page: PageValues) -> dict[str, object]:
    tab_fields = img2vid_fields(page) if mode is Mode.IMG2VID else vid2vid_fields(page)
    return tab_fields | page.fields(SHARED)


def _check_start(mode: Mode, fields: Mapping[str, object]) -> None:
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
