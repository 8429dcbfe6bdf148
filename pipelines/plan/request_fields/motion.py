"""How the motion module acts, and on which frames at once."""

import re
from typing import Annotated

from pydantic import BeforeValidator

from pipelines.plan.choices import MotionNorm
from pipelines.plan.request_fields.knobs import Fields, knob
from pipelines.plan.rule_error import RuleError
from pipelines.plan.schedules import Factor, parse_schedule

MAX_EXTENSIONS = 1_000


def _to_lengths(value: object) -> object:
    """Parse lengths as people write them, `16, 32`; pass others through."""
    if isinstance(value, int) and not isinstance(value, bool):
        return (value,)
    if not isinstance(value, str):
        return value
    parts = value.split(",") if value.strip() else []
    if not all(re.fullmatch(r"\s*\d{1,9}\s*", part, re.ASCII) for part in parts):
        raise RuleError("value.no_lengths", "be lengths in frames such as 16, 32")
    return tuple(map(int, parts))


Lengths = Annotated[tuple[int, ...], BeforeValidator(_to_lengths)]


class MotionFields(Fields):
    """How the motion module acts."""

    inner_length: int = knob(
        0,
        label="Inner window length",
        help="Frames of a window that attend to one another. 0 means all. With 16, say, a window may be longer than "
        "the motion module's own limit: whatever fits into memory, which costs less time than short windows.",
        ge=0,
        le=64,
        step=1,
        affects=("cost",),
    )
    inner_overlap: int = knob(
        -1,
        label="Inner shared frames",
        help="Frames that neighbouring inner windows share; -1 means a quarter of the inner window.",
        ge=-1,
        le=63,
        step=1,
        affects=("cost",),
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
        affects=("cost",),
    )
