"""WebP: an animation that browsers show as a picture, with the recipe as its EXIF comment.

ffmpeg codes every frame as a picture of its own, and this module makes the animation of them. libwebp's own encoder
of animations would hold all of it in memory, and leave out frames that look like the one before.
"""

from pathlib import Path
from typing import ClassVar

from media.ffmpeg import FrameFeed, Frames
from media.formats import ClipSpec
from media.webp_file import join_pictures


class WebpWriter:
    """Stream frames into coded pictures, then join those."""

    suffix: ClassVar[str] = ".webp"

    def __init__(self, spec: ClipSpec) -> None:
        self._spec = spec
        encoding = spec.encoding
        # Without loss, "quality" is how hard the encoder tries.
        quality = ("-lossless", "1") if encoding.webp_lossless else ("-quality", str(encoding.webp_quality))
        self._feed = FrameFeed(
            spec.folder,
            *("-c:v", "libwebp", *quality, "-pix_fmt", "bgra", "-f", "image2pipe", "pictures.webp"),
            width=spec.width,
            height=spec.height,
            fps=spec.fps,
            alpha=spec.alpha,
        )

    def write(self, frames: Frames) -> None:
        """Take frames, uint8 [n, H, W, channels]."""
        self._feed.write(frames)

    def finish(self) -> Path:
        """Make the animation; copies only."""
        self._feed.finish()
        path = self._spec.folder / "clip.webp"
        with (self._spec.folder / "pictures.webp").open("rb") as pictures, path.open("wb") as target:
            join_pictures(pictures, target, self._spec)
        return path

    def abort(self) -> None:
        """End ffmpeg."""
        self._feed.abort()
