"""Base of MP4 and WebM writers: BT.709 colours, recipe as comment."""

import re
from pathlib import Path
from typing import ClassVar

from pydantic import TypeAdapter

from media.fed_writer import FedWriter
from media.formats import ClipSpec
from media.probe_process import ask_worker

# Tags alone do not convert: older ffmpegs then write BT.601 colours that are labelled BT.709.
_TO_YUV = (
    "scale=out_color_matrix=bt709:out_range=tv:flags=bicubic+accurate_rnd+full_chroma_inp+full_chroma_int,"
    "format={},setparams=range=tv:colorspace=bt709:color_primaries=bt709:color_trc=bt709"
)
_TAGGED = (
    *("-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709", "-color_range", "tv"),
    # An encoder's output depends on the number of threads; a fixed one gives the same bytes everywhere.
    *("-threads", "4", "-flags:v", "+bitexact", "-fflags", "+bitexact"),
)
_TAGS = TypeAdapter(dict[str, str])


class TaggedVideoWriter(FedWriter):
    """Stream frames into a video; subclasses add the encoding.

    Args:
        spec: What is known of the clip.
        encoding: ffmpeg's arguments that name encoder and container.
    """

    suffix: ClassVar[str]

    def __init__(self, spec: ClipSpec, *encoding: str) -> None:
        self._path = spec.folder / f"clip{self.suffix}"
        # A file, because a long recipe does not fit on a command line.
        (spec.folder / "tags.txt").write_bytes(to_ffmetadata(spec.recipe))
        super().__init__(
            spec,
            *("-f", "ffmetadata", "-i", "tags.txt", "-map", "0:v", "-map_metadata", "1"),
            *("-vf", _TO_YUV.format("yuva420p" if spec.alpha else "yuv420p"), *encoding, *_TAGGED, self._path.name),
        )

    def finish(self) -> Path:
        """Wait until the file is complete."""
        self._feed.finish()
        return self._path


def read_video_tags(path: Path) -> dict[str, str]:
    """Read the texts of a video by name, in lower case."""
    return _TAGS.validate_python(ask_worker(path, tags=True))


def to_ffmetadata(comment: str) -> bytes:
    r"""Write any comment without NUL in ffmpeg's metadata format.

    There is no line feed at the end, because ffmpeg takes one that follows a backslash for part of the
    text, even where that backslash is escaped itself.

    Example:
        >>> to_ffmetadata("a=b")
        b';FFMETADATA1\ncomment=a\\=b'
    """
    escaped = re.sub(r"[=;#\\\r\n]", r"\\\g<0>", comment)
    return f";FFMETADATA1\ncomment={escaped}".encode()
