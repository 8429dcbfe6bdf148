"""WebP writer: an animated picture, recipe as EXIF comment.

ffmpeg codes every frame as a picture of its own, and this module makes the animation of them. libwebp's own encoder
of animations would hold all of it in memory, and leave out frames that look like the one before.
"""

from pathlib import Path
from typing import ClassVar

from media.fed_writer import FedWriter
from media.formats import ClipSpec
from media.webp_file import join_pictures


class WebpWriter(FedWriter):
    """Stream frames into coded pictures, then join those."""

    suffix: ClassVar[str] = ".webp"

    def __init__(self, spec: ClipSpec) -> None:
        encoding = spec.encoding
        # Without loss, "quality" is how hard the encoder tries.
        quality = ("-lossless", "1") if encoding.webp_lossless else ("-quality", str(encoding.webp_quality))
        super().__init__(
            spec,
            *("-c:v", "libwebp", *quality, "-pix_fmt", "bgra", "-f", "image2pipe", "pictures.webp"),
        )

    def finish(self) -> Path:
        """Make the animation; copies only."""
        self._feed.finish()
        path = self._spec.folder / "clip.webp"
        with (self._spec.folder / "pictures.webp").open("rb") as pictures, path.open("wb") as target:
            join_pictures(pictures, target, self._spec)
        return path
