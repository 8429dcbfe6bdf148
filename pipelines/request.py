"""The request: every knob of a generation, with its meaning, range and default, as one frozen value.

A `GenerationRequest` is fully concrete (the seed is drawn, the model's own defaults are filled in), so it
*is* the recipe that output files carry: the same request on the same device gives the same frames. It
imports no torch; page, API and command line take labels, ranges and help from its fields.
"""

import json
import math
import re
import secrets
from fractions import Fraction
from itertools import pairwise
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainSerializer,
    ValidationError,
    model_validator,
)
from pydantic.fields import FieldInfo

from pipelines.choices import (
    ClosedLoop,
    ContextFuse,
    ContextSchedule,
    FreeInitFilter,
    MotionNorm,
    NoiseLayout,
    OutputFormat,
    PromptBlend,
    Reverse,
    Scheduler,
)
from pipelines.control_units import ControlUnit, ImagePrompt
from pipelines.errors import InvalidRequestError
from pipelines.image_fit import ImageFit
from pipelines.knobs import Sha256, knob
from pipelines.prompt_travel import plan_travel
from pipelines.request_faults import fault_in_words, shown
from pipelines.schedules import Factor, parse_schedule

MAX_NUM_FRAMES = 10_000
MAX_EXTENSIONS = 1_000
MAX_SIDE = 1024
MAX_PROMPT_CHARACTERS = 20_000
MAX_SEED = 2**32 - 1
RANDOM_SEED = -1
INPUT_FIELDS = (
    "first_frame",
    "last_frame",
    "latent_power",
    "latent_scale",
    "latent_power_last",
    "latent_scale_last",
    "noise_floor",
    "exact_ends",
    "source_video",
    "source_start",
    "source_every",
    "keep_audio",
    "strength",
    "image_fit",
    "mask",
    "mask_feather",
    "controls",
    "image_prompts",
)
"""The fields about pictures and clips that a clip is made from or steered by."""
FILE_FIELDS = ("first_frame", "last_frame", "source_video", "mask")
"""Those that name a file."""


def _to_fraction(value: object) -> Fraction:
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError("must be finite")
        return Fraction(value).limit_denominator(1001)
    if isinstance(value, (int, Fraction)) and not isinstance(value, bool):
        return Fraction(value)
    if isinstance(value, str) and re.fullmatch(r"\d{1,9}(/\d{1,9}|\.\d{1,9})?", value.strip()):
        try:
            return Fraction(value.strip())
        except ZeroDivisionError:
            pass
    raise ValueError("must be a number or a ratio such as 24000/1001")


Rate = Annotated[
    Fraction,
    BeforeValidator(_to_fraction),
    PlainSerializer(lambda rate: rate.numerator if rate.denominator == 1 else str(rate), return_type=int | str),
]


def _to_lengths(value: object) -> object:
    """Lengths as people write them, `16, 32`, as numbers; what is no text is left to pydantic."""
    if isinstance(value, int) and not isinstance(value, bool):
        return (value,)
    if not isinstance(value, str):
        return value
    found = value.split(",") if value.strip() else []
    if not all(re.fullmatch(r"\s*\d{1,9}\s*", part, re.ASCII) for part in found):
        raise ValueError("must be lengths in frames such as 16, 32")
    return tuple(map(int, found))


Lengths = Annotated[tuple[int, ...], BeforeValidator(_to_lengths)]


class GenerationRequest(BaseModel):
    """One clip to make. Build it with `GenerationRequest.build`, which turns broken rules into words."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    prompt: str = knob(
        "",
        label="Prompt",
        help="What the clip shows. (word:1.3) makes a word count more, (word:0.7) less; "
        "`<lora:name:0.8>` adds a LoRA or textual inversion. Lines such as 0: spring and 8: summer are keys: "
        "the text at a frame, which turns into the next key's, and so does the weight of a LoRA. Lines before "
        "and after all keys belong to every one. May be empty.",
        max_length=MAX_PROMPT_CHARACTERS,
        fix="Shorten the prompt",
    )
    negative_prompt: str = knob(
        "",
        label="Negative prompt",
        help="What the clip should not show. Works only with a guidance above 1. "
        "Of tags, only those of textual inversions belong here. May have keys, as the prompt.",
        max_length=MAX_PROMPT_CHARACTERS,
        fix="Shorten the negative prompt",
    )
    prompt_blend: PromptBlend = knob(
        PromptBlend.LERP,
        label="Prompt blend",
        help="How one key's text turns into the next. Lerp goes straight, which weakens both in the middle; "
        "slerp goes along an arc, which keeps their strength.",
    )
    prompt_hold: float = knob(
        0.0,
        label="Prompt hold",
        help="How much of the way to the next key every key of the prompts stays as it is. 0 changes all the way, "
        "1 jumps at the next key.",
        ge=0,
        le=1,
        step=0.05,
    )
    seed: int = knob(
        ...,
        label="Seed",
        help="The number the noise is drawn from. The same seed and settings give the same clip; -1 draws a new one.",
        ge=0,
        le=MAX_SEED,
        fix="Use -1 to draw one",
    )
    num_frames: int = knob(
        16,
        label="Frames",
        help="Length of the clip in frames. Beyond the window length it is made in overlapping windows, "
        "which takes longer but no more memory.",
        ge=1,
        le=MAX_NUM_FRAMES,
        step=1,
    )
    fps: Rate = knob(
        Fraction(8),
        label="Frames per second",
        help="How fast the clip plays; exact ratios such as 24000/1001 are kept.",
        gt=0,
        le=120,
        step=1,
    )
    width: int = knob(
        512,
        label="Width",
        help="Picture width in pixels. Pictures and clips that are given are fitted to it.",
        ge=64,
        le=MAX_SIDE,
        multiple_of=8,
        step=8,
    )
    height: int = knob(
        512,
        label="Height",
        help="Picture height in pixels. Pictures and clips that are given are fitted to it.",
        ge=64,
        le=MAX_SIDE,
        multiple_of=8,
        step=8,
    )
    base_model: str = knob(
        "demo",
        label="Base model",
        help="The model that draws the pictures.",
        min_length=1,
        max_length=300,
        fix="Choose one of the list",
    )
    motion_module: str = knob(
        "demo",
        label="Motion module",
        help="The model that makes the pictures move; it must be made for the same kind of base model.",
        min_length=1,
        max_length=300,
        fix="Choose one of the list",
    )
    vae: str = knob(
        "",
        label="VAE",
        help="What turns latents into pictures; empty for the base model's own.",
        max_length=300,
        fix="Choose one of the list",
    )
    num_inference_steps: int = knob(
        25,
        label="Steps",
        help="Denoising steps. More is slower and, up to a point, cleaner.",
        ge=1,
        le=150,
        step=1,
    )
    guidance_scale: float = knob(
        7.5,
        label="Guidance",
        help="How strongly the clip follows the prompt. 1 turns guidance off and halves the time; "
        "too much burns colours.",
        ge=1,
        le=30,
        step=0.1,
    )
    scheduler: Scheduler = knob(Scheduler.DDIM, label="Sampler", help="The method that turns noise into pictures.")
    clip_skip: int = knob(
        0,
        label="CLIP skip",
        help="How many of the text encoder's last layers are left out. 0 uses all of them; "
        "1 is what other programs call 'clip skip 2'.",
        ge=0,
        le=11,
        step=1,
    )
    context_schedule: ContextSchedule = knob(
        ContextSchedule.UNIFORM,
        label="Windows",
        help="How a clip longer than the window is cut. Uniform moves the windows at every step, which hides seams; "
        "static keeps them in place. Looped is uniform around the end, as a closed loop has it. "
        "Batched windows share no frames: fastest, with jumps. Shuffle draws the frames of a window "
        "from the whole clip; composite does so in the first tenth of the steps, then is uniform.",
    )
    context_length: int = knob(
        16,
        label="Window length",
        help="Frames the motion module sees at once. It was trained on a fixed number, usually 16.",
        ge=1,
        le=128,
        step=1,
    )
    context_overlap: int = knob(
        -1,
        label="Shared frames",
        help="Frames that neighbouring windows share. More is smoother and slower; -1 means a quarter of the window.",
        ge=-1,
        le=127,
        step=1,
    )
    context_stride: int = knob(
        1,
        label="Long-range passes",
        help="Extra passes over every 2nd, 4th, ... frame that hold a long clip together. 1 means none.",
        ge=1,
        le=8,
        step=1,
    )
    closed_loop: ClosedLoop = knob(
        ClosedLoop.OFF,
        label="Closed loop",
        help="Whether the end leads back to the beginning, so that the clip repeats without a cut. "
        "Windows: windows may run over the end (batched and shuffled ones never do). Prompts: prompts that change "
        "lead back to the first as well. Full: the end is joined at every step as well, and a clip that fits into "
        "one window is played forth and back; the other kinds leave such a clip as it is.",
    )
    context_fuse: ContextFuse = knob(
        ContextFuse.PYRAMID,
        label="Window weights",
        help="What windows count where they overlap. Pyramid and relative: most in their middle, relative next to "
        "nothing at its ends. Overlap linear: less only over the shared frames. Flat: the same everywhere. "
        "Last: the last window alone, as AUTOMATIC1111's extension has it.",
    )
    noise_layout: NoiseLayout = knob(
        NoiseLayout.ONE_DRAW,
        label="Noise",
        help="How the noise of the frames is drawn. One draw: that of the whole clip at once, so that another length "
        "gives another clip. Frame seeds: that of every frame by itself, from the seed, the seed + 1 and so on; a "
        "longer clip begins with the same noise. Repeat: the first window's over and over. Shuffle: the first "
        "window's, put into another order for every later stretch, which repeats less plainly (FreeNoise). "
        "Constant: the same in every frame.",
    )
    free_init_iterations: int = knob(
        0,
        label="FreeInit rounds",
        help="How often the clip is made. Every round after the first starts from the coarse, slow part of the clip "
        "just made and from fresh noise for the rest, which steadies it and takes as long again. 0 and 1 are off.",
        ge=0,
        le=5,
        step=1,
    )
    free_init_filter: FreeInitFilter = knob(
        FreeInitFilter.BUTTERWORTH,
        label="FreeInit filter",
        help="How the coarse part is told from the rest. Butterworth and Gaussian fade from one to the other. "
        "Ideal and box cut sharply; box looks at time, height and width each by itself, the others at all together.",
    )
    free_init_order: int = knob(
        4,
        label="FreeInit steepness",
        help="How fast the Butterworth filter fades: the higher, the more like a cut. The others don't use it.",
        ge=1,
        le=100,
        step=1,
    )
    free_init_spatial_stop: float = knob(
        0.25,
        label="FreeInit detail",
        help="How fine a detail of the picture still counts as coarse: 1 is the finest there is. "
        "At 0 nothing is kept, so that a round starts from pure noise.",
        ge=0,
        le=1,
        step=0.01,
    )
    free_init_temporal_stop: float = knob(
        0.25,
        label="FreeInit speed",
        help="How fast a change from frame to frame still counts as slow: 1 is the fastest there is. "
        "At 0 nothing is kept, so that a round starts from pure noise.",
        ge=0,
        le=1,
        step=0.01,
    )
    inner_length: int = knob(
        0,
        label="Inner window length",
        help="Frames of a window that attend to one another. 0 means all. With 16, say, a window may be longer than "
        "the motion module's own limit: whatever fits into memory, which costs less time than short windows.",
        ge=0,
        le=64,
        step=1,
    )
    inner_overlap: int = knob(
        -1,
        label="Inner shared frames",
        help="Frames that neighbouring inner windows share; -1 means a quarter of the inner window.",
        ge=-1,
        le=63,
        step=1,
    )
    motion_scale: Factor = knob(
        parse_schedule(1),
        label="Motion amount",
        help="How much moves: below 1 calmer, above 1 livelier. A number, or keys at frames: 0: 0.5, 15: 1.5.",
        fix="Use about 0.8 to 1.3",
    )
    motion_effect: Factor = knob(
        parse_schedule(1),
        label="Motion strength",
        help="How strongly the motion module acts at all; 0 makes every frame a picture of its own. "
        "A number, or keys at frames: 0: 1, 15: 0.",
        fix="Use 0 to 1",
    )
    motion_norm: MotionNorm = knob(
        MotionNorm.ORIGINAL,
        label="Motion norm",
        help="Original computes what the motion module's authors do. Diffusers normalises motion layers over the "
        "whole window; choose it to compare, or for modules that were trained there.",
    )
    extended_from: Lengths = knob(
        (),
        label="Extended from",
        help="For a clip that continues a shorter one: the frames that one had, such as 16, or 16, 32 if it was "
        "extended before. They are made as they were, and the others behind them, a quarter of a window at a time, so "
        "that they follow from the three quarters in front. Keys of prompts are those of the first clip, and so are "
        "key frames counted from the end. Empty makes the whole clip at once.",
        max_length=MAX_EXTENSIONS,
        fix="Give the lengths that the clip had, from the first on",
    )
    first_frame: Sha256 = knob(
        "",
        label="First frame",
        help="A picture that the clip begins with.",
        fix="Choose the picture again",
    )
    last_frame: Sha256 = knob(
        "",
        label="Last frame",
        help="A picture that the clip ends with. Needs a first frame.",
        fix="Choose the picture again",
    )
    latent_power: float = knob(
        1.0,
        label="Curve",
        help="How the first frame's hold on the clip fades: 1 evenly, above 1 late and then fast, below 1 at once.",
        ge=0.1,
        le=10,
        step=0.1,
    )
    latent_scale: float = knob(
        32.0,
        label="Image holds for",
        help="After how many frames nothing of the first frame is left, with a curve of 1. "
        "With another curve, its power: 32 and a curve of 2 make 5.7 frames.",
        ge=1,
        le=128,
        step=1,
    )
    latent_power_last: float = knob(
        1.0,
        label="Curve, last frame",
        help="As the curve, counted back from the last frame.",
        ge=0.1,
        le=10,
        step=0.1,
    )
    latent_scale_last: float = knob(
        32.0,
        label="Last image holds for",
        help="As for the first frame, counted back from the last.",
        ge=1,
        le=128,
        step=1,
    )
    noise_floor: float = knob(
        0.25,
        label="Room for motion",
        help="The least share of noise in the frames between two pictures. At 0, as other programs have it, two "
        "pictures with the usual curves make a mere cross-fade.",
        ge=0,
        le=1,
        step=0.05,
    )
    exact_ends: bool = knob(
        True,
        label="Exact first frame",
        help="Keep the first and the last picture as they are: they are put back after every step. Off, they only "
        "shine through the noise, as in other programs.",
    )
    source_video: Sha256 = knob(
        "",
        label="Source clip",
        help="A clip that the result is made from, or that steers it.",
        fix="Choose the clip again",
    )
    source_start: int = knob(
        0,
        label="Start at frame",
        help="Frames of the source clip to leave out at its beginning.",
        ge=0,
        le=10_000_000,
        step=1,
    )
    source_every: int = knob(
        1,
        label="Every n-th frame",
        help="Use every frame of the source clip, or every second, third, …",
        ge=1,
        le=1_000,
        step=1,
    )
    keep_audio: bool = knob(
        False,
        label="Keep the sound",
        help="Put the source clip's sound under the result, in MP4s at the source's frame rate.",
    )
    strength: float = knob(
        0.8,
        label="Strength",
        help="How much of the picture or source clip is made anew: 0.2 little, 1 everything, so that only control "
        "units follow it.",
        gt=0,
        le=1,
        step=0.05,
    )
    image_fit: ImageFit = knob(
        ImageFit.CROP,
        label="Fit",
        help="What is done with pictures of another shape: cut off what is too much, add bars, or stretch.",
    )
    mask: Sha256 = knob(
        "",
        label="Mask",
        help="A picture, or a clip as long as the source or the result, that says where the source may change: "
        "white changes, black stays.",
        fix="Choose the mask again",
    )
    mask_feather: int = knob(
        4,
        label="Soft edge",
        help="Over how many pixels the mask's edge is softened, inwards.",
        ge=0,
        le=128,
        step=1,
    )
    controls: tuple[ControlUnit, ...] = knob(
        (),
        label="Control units",
        help="ControlNets and SparseCtrls that steer the clip, each with a clip or picture of its own or the source.",
        max_length=4,
        fix="Use at most 4",
    )
    image_prompts: tuple[ImagePrompt, ...] = knob(
        (),
        label="Image prompts",
        help="IP-Adapters: pictures that say what to show, as a prompt does in words.",
        max_length=2,
        fix="Use at most 2",
    )
    reverse: Reverse = knob(
        Reverse.OFF,
        label="Boomerang",
        help="Play the clip back to its beginning behind its end. The last frame then stands twice, and where the "
        "clip repeats the first one, too: drop the head, the tail or both of the part played back.",
    )
    formats: tuple[OutputFormat, ...] = knob(
        (OutputFormat.MP4,),
        label="Formats",
        help="Kinds of files to write; the first is the clip that is shown.",
        min_length=1,
        max_length=len(OutputFormat),
    )

    @model_validator(mode="after")
    def _check_extension(self) -> Self:
        if not self.extended_from:
            return self
        got = ", ".join(map(str, self.extended_from))
        if any(before >= after for before, after in pairwise(self.lengths)):
            raise ValueError(
                f"extended_from must be ascending and below num_frames ({self.num_frames}), got {got}. "
                "Give the lengths that the clip had, or raise 'Frames'."
            )
        if not 0 < self.known_frames <= self.extended_from[0]:
            raise ValueError(
                f"extended_from must begin with three quarters of the window ({max(1, self.known_frames)} of "
                f"{self.context_length} frames, at least 2) or more, got {got}. Extend a longer clip, or change "
                "'Window length'."
            )
        if self.first_frame or self.source_video:
            raise ValueError(
                f"extended_from must be empty for a clip that begins at pictures or a source clip, got {got}. "
                "Make it at its full length."
            )
        if self.closed_loop is not ClosedLoop.OFF or self.context_schedule is ContextSchedule.LOOPED:
            name, value = "closed_loop", str(self.closed_loop)
            if self.closed_loop is ClosedLoop.OFF:
                name, value = "context_schedule", str(self.context_schedule)
            raise ValueError(
                f"{name} must leave the clip open if it is extended, got {value}. A loop has no end to go on from: "
                "make the clip anew without it."
            )
        if self.iterations > 1:
            raise ValueError(
                f"free_init_iterations must be 0 or 1 for a clip that is extended, got {self.free_init_iterations}. "
                "Every round makes the whole clip again: make it at its full length."
            )
        return self

    @model_validator(mode="after")
    def _check_keys(self) -> Self:
        num_frames = self.lengths[0]
        plan_travel(self.prompt, num_frames=num_frames)
        plan_travel(self.negative_prompt, num_frames=num_frames, field="negative_prompt")
        return self

    @model_validator(mode="after")
    def _check_pictures(self) -> Self:
        if self.last_frame and not self.first_frame:
            raise ValueError("last_frame must come with a first_frame, got none. Choose a 'First frame', too.")
        if self.source_video and self.first_frame:
            raise ValueError(
                "source_video must not come with a first_frame, got both. Remove 'First frame' or 'Source clip'."
            )
        if self.mask and not self.source_video:
            raise ValueError("mask must come with a source_video, got none. Choose a 'Source clip' to change.")
        if self.free_init_iterations and (self.first_frame or (self.source_video and self.strength < 1)):
            raise ValueError(
                f"free_init_iterations must be 0 where a clip begins at pictures, got {self.free_init_iterations}. "
                "Set 'FreeInit rounds' to 0."
            )
        return self

    @model_validator(mode="after")
    def _check_windows(self) -> Self:
        if self.context_overlap >= self.context_length:
            raise ValueError(
                f"context_overlap must be below context_length ({self.context_length}), got {self.context_overlap}. "
                "Lower 'Shared frames' or raise 'Window length'."
            )
        if 0 < self.inner_length <= self.inner_overlap:
            raise ValueError(
                f"inner_overlap must be below inner_length ({self.inner_length}), got {self.inner_overlap}. "
                "Lower 'Inner shared frames' or raise 'Inner window length'."
            )
        if len(set(self.formats)) != len(self.formats):
            raise ValueError(f"formats must not repeat, got {', '.join(self.formats)}. Name each format once.")
        return self

    @classmethod
    def build(cls, **values: Any) -> Self:
        """Check values from outside and make the request; a seed of -1 is drawn here.

        Raises:
            InvalidRequestError: A field is unknown or breaks its rule; the text names field, rule, value and remedy.

        Example:
            >>> GenerationRequest.build(prompt="a red circle", seed=1, num_frames=0)
            Traceback (most recent call last):
            ...
            pipelines.errors.InvalidRequestError: num_frames must be greater than or equal to 1, got 0. Change 'Frames'.
        """
        # As text, too: a page's box for one seed or several sends text.
        if values.get("seed", RANDOM_SEED) == RANDOM_SEED or str(values["seed"]).strip() == str(RANDOM_SEED):
            values["seed"] = secrets.randbelow(MAX_SEED + 1)
        try:
            return cls.model_validate(values)
        except ValidationError as err:
            raise InvalidRequestError(fault_in_words(err, cls)) from err

    def to_json(self) -> str:
        """The recipe: one line of JSON, keys in field order; without those about inputs if there are none."""
        return self.model_dump_json(exclude=None if self.has_inputs else set(INPUT_FIELDS))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read a recipe back; `from_json(request.to_json()) == request`.

        Raises:
            InvalidRequestError: It is not a JSON object, or a field breaks its rule.
        """
        try:
            values = json.loads(text)
        except ValueError as err:
            raise InvalidRequestError(f"recipe must be JSON, got {shown(text)}. Paste a whole recipe.") from err
        if not isinstance(values, dict):
            raise InvalidRequestError(f"recipe must be a JSON object, got {shown(text)}. Paste a whole recipe.")
        return cls.build(**values)

    def extended_by(self, frames: int) -> Self:
        """The request of a clip that begins with this one's frames and goes on for some more.

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
            raise InvalidRequestError(f"frames must be at least 1, got {frames}. Say how many frames to add.")
        longer = {"num_frames": self.num_frames + frames, "extended_from": self.lengths}
        return self.build(**self.model_dump() | longer)

    @property
    def lengths(self) -> tuple[int, ...]:
        """Frames of the clip as it was first made and after each extension; the last is `num_frames`."""
        return (*self.extended_from, self.num_frames)

    @property
    def first_clip(self) -> Self:
        """The request of the clip that this one was extended from in the first place; itself if it was not."""
        return self.model_copy(update={"num_frames": self.lengths[0], "extended_from": ()})

    @property
    def known_frames(self) -> int:
        """Frames that an extension's windows share with what is there: three quarters of a window.

        With 12 known and 4 new frames of 16 the seam changed no more than the clip itself; with 8 and 8 it jumped.
        """
        return self.context_length - max(1, self.context_length // 4)

    @property
    def effective_overlap(self) -> int:
        """Frames shared by neighbouring windows, with -1 resolved to a quarter of the window."""
        return self.context_length // 4 if self.context_overlap < 0 else self.context_overlap

    @property
    def iterations(self) -> int:
        """How often the clip is made: the rounds of FreeInit, one without it."""
        return max(1, self.free_init_iterations)

    @property
    def effective_inner_overlap(self) -> int:
        """Frames shared by neighbouring inner windows, with -1 resolved to a quarter of the inner window."""
        return self.inner_length // 4 if self.inner_overlap < 0 else self.inner_overlap

    @property
    def closes_prompts(self) -> bool:
        """Whether prompts that change over the clip lead from the last back to the first.

        A clip that fits into one window is not closed.
        """
        return self.closed_loop in (ClosedLoop.PROMPTS, ClosedLoop.FULL) and self.num_frames > self.context_length

    @property
    def has_inputs(self) -> bool:
        """Whether it names pictures or clips, to begin at or to be steered by."""
        return bool(self.first_frame or self.source_video or self.controls or self.image_prompts)

    @property
    def starts_from_pictures(self) -> bool:
        """Whether pictures shine through the noise it begins at. At full strength nothing of a source clip does."""
        return bool(self.first_frame) or bool(self.source_video and self.strength < 1)

    @property
    def frames_played_back(self) -> range:
        """The frames written behind the last one, from the end to the beginning.

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
        drops_head, drops_tail = (reverse in (one, Reverse.DROP_BOTH) for one in (Reverse.DROP_HEAD, Reverse.DROP_TAIL))
        return range(self.num_frames - 1 - drops_head, drops_tail - 1, -1)


def field_label(name: str) -> str:
    """What people call a field."""
    return str(_extra(GenerationRequest.model_fields[name])["label"])


def field_step(name: str) -> float | None:
    """The slider step of a numeric field."""
    return _extra(GenerationRequest.model_fields[name])["step"]


def field_bounds(name: str) -> tuple[float | None, float | None]:
    """Lowest and highest allowed value of a numeric field; None where there is no bound."""
    low = high = None
    for rule in GenerationRequest.model_fields[name].metadata:
        low = getattr(rule, "ge", low)
        high = getattr(rule, "le", high)
    return low, high


def _extra(field: FieldInfo) -> dict[str, Any]:
    assert isinstance(field.json_schema_extra, dict)
    return field.json_schema_extra
