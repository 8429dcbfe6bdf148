"""WebM writer: VP9 with alpha, recipe as comment."""

from typing import ClassVar

from media.formats import ClipSpec
from media.tagged_video import TaggedVideoWriter

MAX_WEBM_FPS = 1000
"""Its clock counts milliseconds."""


class WebmWriter(TaggedVideoWriter):
    """Stream frames into a WebM, of any size."""

    suffix: ClassVar[str] = ".webm"

    def __init__(self, spec: ClipSpec) -> None:
        super().__init__(
            spec,
            *("-c:v", "libvpx-vp9", "-crf", str(spec.encoding.webm_crf), "-b:v", "0"),
            # At the encoder's own pace, speed 1, a clip would take several times as long for files a tenth smaller.
            *("-deadline", "good", "-cpu-used", "4", "-row-mt", "1"),
            # Frames that are never shown and transparency do not go together in libvpx.
            *(("-auto-alt-ref", "0") if spec.alpha else ()),
            *("-f", "webm"),
        )
