"""The three ways to make a clip, as endpoints see them: which fields of the request each takes."""

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any

from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.faults import Fault
from pipelines.plan.request import FILE_FIELDS
from studio.fields import FIELDS
from studio.stored_inputs import keep, keep_source
from studio.uploads import uploaded_path, uploaded_paths

_STEERING = ("controls", "image_prompts")
_HOLD = ("latent_power", "latent_scale", "latent_power_last", "latent_scale_last", "noise_floor", "exact_ends")


class Mode(StrEnum):
    """What a clip is made from; the value is the endpoint's name."""

    TXT2VID = "txt2vid"
    IMG2VID = "img2vid"
    VID2VID = "vid2vid"

    @property
    def in_words(self) -> str:
        """What it does."""
        return {
            Mode.TXT2VID: "Make a clip from words.",
            Mode.IMG2VID: "Make a clip that begins, and may end, with a picture.",
            Mode.VID2VID: "Make a clip from another: made anew in part, inside a mask, or steered by control units.",
        }[self]

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields of the request it takes, in the order of its parameters."""
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


def keep_uploads(mode: Mode | None, values: Mapping[str, Any]) -> dict[str, Any]:
    """Keep what was uploaded, and put its hashes in its place; a text is taken for such a hash.

    Args:
        mode: What is to be made, which may need a picture or a clip; None where nothing is made.
        values: Fields of the request and `source_frames`, files as Gradio describes uploads.

    Raises:
        InvalidRequestError: A file was not uploaded here or can't be used, or there is none.
    """
    found = dict(values)
    frames = found.pop(SOURCE_FRAMES, None)
    packed = found.get("source_video")
    if isinstance(packed, Mapping):  # a zip may bring its masks; a mask of its own wins
        found["source_video"], masks = keep_source([uploaded_path(packed, "source_video")])
        found["mask"] = found.get("mask") or masks
    for name in FILE_FIELDS:
        if name in found:
            found[name] = _kept(found[name], name)
    if frames:
        if found.get("source_video"):
            rule = "come without a {source_video:name}"
            raise InvalidRequestError(Fault("inputs.frames_and_video", "source_frames", rule, "both", "Leave one out"))
        found["source_video"] = keep(uploaded_paths(frames, SOURCE_FRAMES), field=SOURCE_FRAMES)
    for name, needed in ((Mode.IMG2VID, "first_frame"), (Mode.VID2VID, "source_video")):
        others = ("last_frame", *_STEERING)
        if mode is name and not any(found.get(one) for one in (needed, *others)):
            fix = "Send one, or use /txt2vid"
            raise InvalidRequestError(Fault("inputs.missing", needed, "be a file", "none", fix))
    return found | keep_units(found, _kept)


def keep_units(values: Mapping[str, Any], kept: Callable[[Any, str], str]) -> dict[str, Any]:
    """The control units and image prompts of a call, with hashes in the place of their files.

    Args:
        values: Fields of the request; what is no unit is left to it.
        kept: Keeps a file, by what the caller sent and the field that errors name.
    """
    return {
        name: [_unit(one, name, kept) for one in values[name]]
        for name in _STEERING
        if isinstance(values.get(name), Sequence) and not isinstance(values[name], str) and values[name]
    }


def _kept(value: object, field: str) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return keep([uploaded_path(value, field)], field=field)


def _unit(value: object, field: str, kept: Callable[[Any, str], str]) -> object:
    """A unit with hashes in the place of its files; what is no unit is left to the request."""
    if not isinstance(value, Mapping):
        return value
    unit = dict(value)
    if "clip" in unit:
        unit["clip"] = kept(unit["clip"], f"{field} clip") if unit["clip"] else ""
    pictures = unit.get("pictures")
    if isinstance(pictures, list) and all(isinstance(one, list) and len(one) == 2 for one in pictures):
        unit["pictures"] = [(frame, kept(file, f"{field} pictures")) for frame, file in pictures]
    return unit
