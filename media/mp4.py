"""MP4: H.264 that every browser plays, with the recipe as its comment."""

from dataclasses import replace
from typing import ClassVar

import numpy as np

from media.ffmpeg import Frames
from media.formats import ClipSpec
from media.tagged_video import TaggedVideoWriter
from pipelines.plan.choices import Mp4Tune


class Mp4Writer(TaggedVideoWriter):
    """Stream frames, over black, into an MP4 with its index first.

    Odd sizes gain a repeated row or column: H.264's 4:2:0 needs even ones.
    """

    suffix: ClassVar[str] = ".mp4"

    def __init__(self, spec: ClipSpec) -> None:
        right, below = spec.width % 2, spec.height % 2
        self._padding = ((0, 0), (0, below), (0, right), (0, 0))
        encoding = spec.encoding
        super().__init__(
            replace(spec, width=spec.width + right, height=spec.height + below, alpha=False),
            *("-c:v", "libx264", "-preset", encoding.mp4_preset, "-crf", str(encoding.mp4_crf)),
            *(() if encoding.mp4_tune is Mp4Tune.NONE else ("-tune", encoding.mp4_tune)),
            *("-movflags", "+faststart", "-f", "mp4"),
        )

    def write(self, frames: Frames) -> None:
        """Take frames, uint8 [n, H, W, 3 or 4]."""
        opaque = over_black(frames) if frames.shape[3] == 4 else frames
        super().write(np.pad(opaque, self._padding, mode="edge") if any(map(any, self._padding)) else opaque)


def over_black(frames: Frames) -> Frames:
    """Lay frames over black: uint8 [n, H, W, 4] to 3 channels."""
    return ((frames[..., :3].astype(np.uint16) * frames[..., 3:] + 127) // 255).astype(np.uint8)
