"""The generation request: every setting of a clip as one frozen value.

A `GenerationRequest` is fully concrete (the seed is drawn, the model's own defaults are filled in), so it *is* the
recipe that output files carry: the same request on the same device gives the same frames. Page, API and command line
take labels, ranges and help from its fields.
"""

import json
import secrets
from collections.abc import Mapping
from fractions import Fraction
from functools import cached_property, partial
from typing import Self

from pydantic import ConfigDict, ValidationError, model_validator
from pydantic.config import JsonDict
from pydantic.fields import FieldInfo

from pipelines.plan.choices import ClosedLoop, Interpolation, Reverse
from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.prompt.parsed import ParsedPrompt, parse_prompt
from pipelines.plan.request_faults import fault_of
from pipelines.plan.request_fields.clip import MAX_SEED, ClipFields
from pipelines.plan.request_fields.hires import HiresFields
from pipelines.plan.request_fields.inputs import InputFields
from pipelines.plan.request_fields.knobs import Effect
from pipelines.plan.request_fields.motion import MotionFields
from pipelines.plan.request_fields.noise import NoiseFields
from pipelines.plan.request_fields.output import OutputFields
from pipelines.plan.request_fields.units import ControlUnit, ImagePrompt
from pipelines.plan.request_fields.windows import WindowFields
from pipelines.plan.request_rules import broken, check_extension, check_output, check_pictures, check_windows

RANDOM_SEED = -1
MADE_WITH = "made_with"
"""The key of a recipe under which the app and the weights are told; it is no field."""
INPUT_FIELDS = tuple(InputFields.model_fields)
"""The fields about pictures and clips that a clip is made from or steered by."""
FILE_FIELDS = ("first_frame", "last_frame", "source_video", "mask")
"""Those that name a file."""


# Python reads bases from the right, and so do the fields: the recipe begins with the words.
class GenerationRequest(OutputFields, HiresFields, InputFields, MotionFields, NoiseFields, WindowFields, ClipFields):
    """One clip to make; build it with `GenerationRequest.build`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="after")
    def _check_rules(self) -> Self:
        check_extension(self)
        self.parsed_prompts  # noqa: B018 - they are kept; a fault in a line refuses the request
        check_pictures(self)
        check_windows(self)
        check_output(self)
        return self

    @classmethod
    def build(cls, **values: object) -> Self:
        """Validate outside values into a request; draws the seed for -1.

        Raises:
            InvalidRequestError: A field is unknown or breaks its rule; the text names field, rule, value and remedy.

        Example:
            >>> GenerationRequest.build(prompt="a red circle", seed=1, num_frames=0)  # doctest: +ELLIPSIS
            Traceback (most recent call last):
            ...
            pipelines.plan.errors.InvalidRequestError: num_frames must be greater than or equal to 1, got 0...
        """
        # As text, too: a page's box for one seed or several sends text.
        if values.get("seed", RANDOM_SEED) == RANDOM_SEED or str(values["seed"]).strip() == str(RANDOM_SEED):
            values["seed"] = secrets.randbelow(MAX_SEED + 1)
        try:
            return cls.model_validate(values)
        except ValidationError as err:
            raise InvalidRequestError(fault_of(err, cls)) from err

    def to_json(self, *, made_with: Mapping[str, object] | None = None) -> str:
        """Serialise the recipe to one JSON line; inputs only if any.

        Args:
            made_with: What else is told of how the clip was made, under the key `made_with`: it is no part of the
                request, and `from_json` passes over it.
        """
        text = self.model_dump_json(exclude=None if self.has_inputs else set(INPUT_FIELDS))
        return text if made_with is None else f'{text[:-1]},"{MADE_WITH}":{json.dumps(made_with, ensure_ascii=False)}}}'

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read a recipe back; `from_json(request.to_json()) == request`.

        Raises:
            InvalidRequestError: It is not a JSON object, or a field breaks its rule.
        """
        try:
            values = json.loads(text)
        except ValueError as err:
            raise broken("recipe.no_json", "recipe", "be JSON", text, "Paste a whole recipe") from err
        if not isinstance(values, dict):
            raise broken("recipe.no_object", "recipe", "be a JSON object", text, "Paste a whole recipe")
        values.pop(MADE_WITH, None)
        return cls.build(**values)

    def extended_by(self, frames: int) -> Self:
        """Build the request that continues this clip by more frames.

        Args:
            frames: How many more, >= 1.

        Raises:
            InvalidRequestError: There are no more frames, too many, or this clip can't be extended.

        Example:
            >>> longer = GenerationRequest.build(seed=1).extended_by(8)
            >>> longer.num_frames, longer.extended_from
            (24, (16,))
        """
        if frames < 1:
            raise broken(
                "extension.no_frames", "frames", "be at least {limit}", frames, "Say how many frames to add", limit=1
            )
        longer = {"num_frames": self.num_frames + frames, "extended_from": self.lengths}
        return self.build(**self.model_dump() | longer)

    def model_copy(self, *, update: Mapping[str, object] | None = None, deep: bool = False) -> Self:
        """Copy with other values, which are not validated; prompts are parsed anew."""
        copied = super().model_copy(update=update, deep=deep)
        vars(copied).pop("parsed_prompts", None)
        return copied

    @cached_property
    def parsed_prompts(self) -> tuple[ParsedPrompt, ParsedPrompt]:
        """Both prompts, parsed once when the request is validated.

        Keys are those of the first clip: an extension shows what its last frame shows.
        """
        parse = partial(parse_prompt, num_frames=self.lengths[0], hold=self.prompt_hold, closed=self.closes_prompts)
        return parse(self.prompt), parse(self.negative_prompt, field="negative_prompt")

    @property
    def lengths(self) -> tuple[int, ...]:
        """Frames of the first clip and after each extension, in order."""
        return (*self.extended_from, self.num_frames)

    @property
    def first_clip(self) -> Self:
        """Request of the clip this one was first extended from, or itself."""
        return self.model_copy(update={"num_frames": self.lengths[0], "extended_from": ()})

    @property
    def window_frames(self) -> int:
        """Frames of a window; those of extensions are all full ones."""
        return self.context_length if self.extended_from else min(self.context_length, self.num_frames)

    @property
    def known_frames(self) -> int:
        """Frames an extension's windows share: three quarters of a window.

        With 12 known and 4 new frames of 16 the seam changed no more than the clip itself; with 8 and 8 it jumped.
        """
        return self.context_length - max(1, self.context_length // 4)

    @property
    def effective_overlap(self) -> int:
        """Frames shared by neighbouring windows; -1 is a quarter window."""
        return self.context_length // 4 if self.context_overlap < 0 else self.context_overlap

    @property
    def iterations(self) -> int:
        """How often the clip is made: FreeInit's rounds, or one."""
        return max(1, self.free_init_iterations)

    @property
    def effective_inner_overlap(self) -> int:
        """Frames shared by neighbouring inner windows; -1 is a quarter."""
        return self.inner_length // 4 if self.inner_overlap < 0 else self.inner_overlap

    @property
    def closes_prompts(self) -> bool:
        """Whether changing prompts lead from the last back to the first.

        A clip that fits into one window is not closed.
        """
        return self.closed_loop in (ClosedLoop.PROMPTS, ClosedLoop.FULL) and self.num_frames > self.context_length

    @property
    def has_inputs(self) -> bool:
        """Whether the request names pictures or clips as inputs."""
        return bool(self.first_frame or self.source_video or self.controls or self.image_prompts)

    @property
    def starts_from_pictures(self) -> bool:
        """Whether pictures show through the initial noise."""
        return bool(self.first_frame) or bool(self.source_video and self.strength < 1)

    @property
    def frames_played_back(self) -> range:
        """Frames written after the last one, from end to beginning.

        A fully closed clip that fits into one window is no ring to it: it is played back without head and tail.

        Example:
            >>> list(GenerationRequest.build(num_frames=4, reverse="drop_both", seed=0).frames_played_back)
            [2, 1]
        """
        reverse = self.reverse
        if reverse is Reverse.OFF and self.closed_loop is ClosedLoop.FULL and self.num_frames <= self.context_length:
            reverse = Reverse.DROP_BOTH
        if reverse is Reverse.OFF:
            return range(0)
        drops_head, drops_tail = (reverse in (end, Reverse.DROP_BOTH) for end in (Reverse.DROP_HEAD, Reverse.DROP_TAIL))
        return range(self.num_frames - 1 - drops_head, drops_tail - 1, -1)

    @property
    def loops(self) -> bool:
        """Whether the first frame follows the last, with frames inserted between."""
        back = self.frames_played_back
        if back:
            return back[-1] > 0
        return self.closed_loop is not ClosedLoop.OFF and self.num_frames > self.context_length

    @property
    def clip_size(self) -> tuple[int, int]:
        """Width and height of generated frames, after both passes, pixels."""
        width, height = (max(8, 8 * round(side * self.hires_scale / 8)) for side in (self.width, self.height))
        return width, height

    @property
    def output_size(self) -> tuple[int, int]:
        """Width and height of the frames in the files, pixels."""
        width, height = (round(side * self.upscale_by) for side in self.clip_size)
        return width, height

    @property
    def inserted_frames(self) -> int:
        """How many frames stand between two that were made."""
        return 0 if self.interpolation is Interpolation.OFF else self.interpolation_frames

    @property
    def output_fps(self) -> Fraction:
        """Frames a second in the files."""
        return self.fps * (self.inserted_frames + 1) if self.keep_duration else self.fps

    @property
    def output_frames(self) -> int:
        """Frames in the files.

        Example:
            >>> request = GenerationRequest.build(interpolation="flow", interpolation_frames=10, seed=0)
            >>> request.num_frames, request.output_frames, request.output_frames / request.output_fps
            (16, 176, Fraction(2, 1))
        """
        played = self.num_frames + len(self.frames_played_back)
        return played + self.inserted_frames * (played - (not self.loops)) + self.held_frames

    @property
    def held_frames(self) -> int:
        """How often the last frame repeats, to keep the clip's duration."""
        return self.inserted_frames if self.keep_duration and not self.loops else 0


def field_label(name: str) -> str:
    """Return the label of a field of the request or a unit."""
    return str(
        _extra((ImagePrompt.model_fields | ControlUnit.model_fields | GenerationRequest.model_fields)[name])["label"]
    )


def fields_affecting(effect: Effect) -> tuple[str, ...]:
    """List the fields with an effect, in the request's order.

    Example:
        >>> fields_affecting("travel")
        ('prompt_hold', 'num_frames', 'context_length', 'closed_loop')
    """
    affects = {name: _extra(field)["affects"] for name, field in GenerationRequest.model_fields.items()}
    return tuple(name for name, effects in affects.items() if isinstance(effects, list) and effect in effects)


def field_step(name: str) -> float | None:
    """Return the slider step of a numeric field."""
    step = _extra(GenerationRequest.model_fields[name])["step"]
    return step if isinstance(step, (int, float)) else None


def field_bounds(name: str) -> tuple[float | None, float | None]:
    """Return a numeric field's lowest and highest value, None if unbounded."""
    low = high = None
    for rule in GenerationRequest.model_fields[name].metadata:
        low = getattr(rule, "ge", low)
        high = getattr(rule, "le", high)
    return low, high


def _extra(field: FieldInfo) -> JsonDict:
    assert isinstance(field.json_schema_extra, dict)
    return field.json_schema_extra
