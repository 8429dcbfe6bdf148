"""Opened inputs of a request, whose frames are read on demand."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

from pipelines.plan.image_fit import Frames


class FrameClip(Protocol):
    """Pictures of one size in order; a picture is a one-frame clip.

    Frames are read from a file when they are asked for, so a clip of any length costs no memory.
    """

    @property
    def num_frames(self) -> int: ...

    @property
    def width(self) -> int: ...

    @property
    def height(self) -> int: ...

    @property
    def fps(self) -> Fraction | None:
        """Frames per second, exact; None where nobody said."""
        ...

    def frames(self, indices: Sequence[int]) -> Frames:
        """Read the frames at these indices, uint8 [n, height, width, 3]."""
        ...


@dataclass(frozen=True, slots=True)
class ClipInputs:
    """The inputs of one request, opened.

    Args:
        first_frame, last_frame: Of one frame each.
        source: The source clip, already without what `source_start` and `source_every` leave out.
        mask: One frame for all, or one for each frame of the clip; white changes.
        controls: For each of the request's control units what it follows, preprocessed and in the clip's size:
            one frame for all, one for each frame of the clip, or one for each of its key frames.
        image_prompts: For each of the request's image prompts its pictures, as frames of one clip.
    """

    first_frame: FrameClip | None = None
    last_frame: FrameClip | None = None
    source: FrameClip | None = None
    mask: FrameClip | None = None
    controls: tuple[FrameClip, ...] = ()
    image_prompts: tuple[tuple[FrameClip, ...], ...] = ()


NO_INPUTS = ClipInputs()
