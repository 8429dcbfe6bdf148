"""Control units and image prompts, as parts of a request."""

from typing import Annotated, Self

from pydantic import ConfigDict, Field, model_validator

from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.faults import Fault
from pipelines.plan.image_fit import ImageFit
from pipelines.plan.request_fields.knobs import Fields, Sha256, knob
from pipelines.plan.schedules import Factor, parse_schedule

MAX_KEY_FRAMES = 64

_FROZEN = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
_Share = Annotated[float, Field(ge=0, le=1)]


class _Steered(Fields):
    """Common fields: a model, its weight, and its range of steps."""

    model_config = _FROZEN

    model: str = knob("", label="Model", help="The model that steers.", min_length=1, max_length=500)
    weight: Factor = knob(
        parse_schedule(1),
        label="Weight",
        help="How much it counts; 0 not at all. A number, or keys at frames: 0: 1, 15: 0.2.",
        fix="Use 0 to 2",
    )
    start: float = knob(0.0, label="From", help="The share of the steps it begins at.", ge=0, le=1, step=0.05)
    end: float = knob(1.0, label="To", help="The share of the steps it ends at.", ge=0, le=1, step=0.05)

    @model_validator(mode="after")
    def _check_part(self) -> Self:
        if self.start >= self.end:
            raise InvalidRequestError(
                Fault(
                    "unit.end_before_start",
                    "end",
                    "be above {start:name} ({limit:g})",
                    f"{self.end:g}",
                    "Raise {end:label}",
                    limit=self.start,
                )
            )
        return self


class ControlUnit(_Steered):
    """A ControlNet or SparseCtrl with the clip or picture it follows."""

    preprocessor: str = knob(
        "none", label="Preprocessor", help="What turns the clip into what the model follows.", max_length=64
    )
    options: dict[str, float] = knob({}, label="Options", help="Numbers of the preprocessor.", max_length=16)
    clip: Sha256 = knob("", label="Own clip", help="A clip or picture of its own; the source clip if there is none.")
    fit: ImageFit = knob(
        ImageFit.CROP, label="Fit", help="What is done with pictures of another shape: crop, pad or stretch."
    )
    key_frames: tuple[int, ...] = knob(
        (),
        label="Key frames",
        help="The only frames that it steers, such as 0, 8, 15; below 0 counted from the end. The clip's pictures "
        "belong to them in turn. None: all frames, or for a SparseCtrl the first.",
        max_length=MAX_KEY_FRAMES,
    )
    falloff: tuple[_Share, ...] = knob(
        (),
        label="Falloff",
        help="What a key frame counts for the frames beside it, such as 0.5, 0.25 for the first and the second.",
        max_length=16,
    )
    guess_mode: bool = knob(
        False,
        label="Guess mode",
        help="Let the picture count more than the prompt: it steers only what the prompt asks for, and details most.",
    )


class ImagePrompt(_Steered):
    """An IP-Adapter with a picture, or several travelling by key frames."""

    pictures: tuple[tuple[int, Sha256], ...] = knob(
        (),
        label="Pictures",
        help="Frames and the picture shown at each; between two keys one turns into the other.",
        min_length=1,
        max_length=MAX_KEY_FRAMES,
    )
