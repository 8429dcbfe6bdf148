"""Modes of the endpoints: which request fields each one takes."""

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum

from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.faults import Fault
from pipelines.plan.request import FILE_FIELDS
from studio.fields import FIELDS, FieldValues
from studio.stored_inputs import keep, keep_source
from studio.uploads import uploaded_path, uploaded_paths

_STEERING = ("controls", "image_prompts")
_HOLD = ("latent_power", "latent_scale", "latent_power_last", "latent_scale_last", "noise_floor", "exact_ends")


class Mode(StrEnum):
    """An input mode; the value is the endpoint's name."""

    TXT2VID = "txt2vid"
    IMG2VID = "img2vid"
    VID2VID = "vid2vid"

    @property
    def in_words(self) -> str:
        """One-sentence description, as endpoints publish it."""
        return {
            Mode.TXT2VID: "Make a clip from words.",
            Mode.IMG2VID: "Make a clip that begins, and may end, with a picture.",
            Mode.VID2VID: "Make a clip from another: made anew in part, inside a mask, or steered by control units.",
        }[self]

    @property
    def fields(self) -> tuple[str, ...]:
        """Request fields it takes, in the order of its parameters."""
        return (
            FIELDS
            + {
                Mode.TXT2VID: _STEERING,
                Mode.IMG2VID: ("first_frame", "last_frame", *_HOLD, "strength", "image_fit", *_STEERING),
                Mode.VID2VID: (
                    *("source_video", "source_start", "source_every", "keep_audio", "strength", "image_fit"),
                    *("mask", "mask_feather"),
                    *_STEERING,
                ),
            }[self]
        )


SOURCE_FRAMES = "source_frames"
"""A parameter beside the fields: single pictures in the place of a source clip."""


def keep_uploads(mode: Mode | None, values: Mapping[str, object]) -> FieldValues:
    """Store uploaded files and replace them by hashes; texts stay.

    Args:
        mode: What is to be made, which may need a picture or a clip; None where nothing is made.
        values: Fields of the request and `source_frames`, files as Gradio describes uploads.

    Raises:
        InvalidRequestError: A file was not uploaded here or can't be used, or there is none.
    """
    fields = dict(values)
    frames = fields.pop(SOURCE_FRAMES, None)
    packed = fields.get("source_video")
    if isinstance(packed, Mapping):  # a zip may bring its masks; a mask of its own wins
        fields["source_video"], masks = keep_source([uploaded_path(packed, "source_video")])
        fields["mask"] = fields.get("mask") or masks
    for name in FILE_FIELDS:
        if name in fields:
            fields[name] = _keep_value(fields[name], name)
    if frames:
        if fields.get("source_video"):
            rule = "come without a {source_video:name}"
            raise InvalidRequestError(Fault("inputs.frames_and_video", "source_frames", rule, "both", "Leave one out"))
        fields["source_video"] = keep(uploaded_paths(frames, SOURCE_FRAMES), field=SOURCE_FRAMES)
    for name, needed in ((Mode.IMG2VID, "first_frame"), (Mode.VID2VID, "source_video")):
        alternatives = ("last_frame", *_STEERING)
        if mode is name and not any(fields.get(field) for field in (needed, *alternatives)):
            fix = "Send one, or use /txt2vid"
            raise InvalidRequestError(Fault("inputs.missing", needed, "be a file", "none", fix))
    return fields | keep_units(fields, _keep_value)


def keep_units(values: Mapping[str, object], keep_file: Callable[[object, str], str]) -> FieldValues:
    """Replace the files of control units and image prompts by hashes.

    Args:
        values: Fields of the request; what is no unit is left to it.
        keep_file: Keeps a file, by what the caller sent and the field that errors name.
    """
    return {
        name: [_unit(unit, name, keep_file) for unit in units]
        for name in _STEERING
        if isinstance(units := values.get(name), Sequence) and not isinstance(units, str) and units
    }


def _keep_value(value: object, field: str) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return keep([uploaded_path(value, field)], field=field)


def _unit(value: object, field: str, keep_file: Callable[[object, str], str]) -> object:
    """Replace a unit's files by hashes; other values pass unchanged."""
    if not isinstance(value, Mapping):
        return value
    unit = dict(value)
    if "clip" in unit:
        unit["clip"] = keep_file(unit["clip"], f"{field} clip") if unit["clip"] else ""
    pictures = unit.get("pictures")
    if isinstance(pictures, list) and all(isinstance(pair, list) and len(pair) == 2 for pair in pictures):
        unit["pictures"] = [(frame, keep_file(file, f"{field} pictures")) for frame, file in pictures]
    return unit
