"""The three ways to make a clip, as endpoints see them: which fields of the request each takes."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from api.fields import FIELDS
from api.kept_inputs import keep, keep_source
from api.uploads import uploaded_path, uploaded_paths
from pipelines.errors import InvalidRequestError
from pipelines.request import FILE_FIELDS

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
                Mode.TXT2VID: (),
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


def keep_uploads(mode: Mode, values: Mapping[str, Any]) -> dict[str, Any]:
    """Keep what was uploaded, and put its hashes in its place; a text is taken for such a hash.

    Args:
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
            raise InvalidRequestError("source_frames must come without a source_video, got both. Leave one out.")
        found["source_video"] = keep(uploaded_paths(frames, SOURCE_FRAMES), field=SOURCE_FRAMES)
    for name, needed in ((Mode.IMG2VID, "first_frame"), (Mode.VID2VID, "source_video")):
        if mode is name and not found.get(needed):
            raise InvalidRequestError(f"{needed} must be a file, got none. Send one, or use /txt2vid.")
    found |= {name: [_unit(one, name) for one in found[name]] for name in _STEERING if found.get(name)}
    return found


def _kept(value: object, field: str) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return keep([uploaded_path(value, field)], field=field)


def _unit(value: object, field: str) -> object:
    """A unit with hashes in the place of its files; what is no unit is left to the request."""
    if not isinstance(value, Mapping):
        return value
    unit = dict(value)
    if "clip" in unit:
        unit["clip"] = _kept(unit["clip"], f"{field} clip")
    pictures = unit.get("pictures")
    if isinstance(pictures, list) and all(isinstance(one, list) and len(one) == 2 for one in pictures):
        unit["pictures"] = [(frame, _kept(file, f"{field} pictures")) for frame, file in pictures]
    return unit
