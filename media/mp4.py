"""MP4: H.264 that every browser plays, with the recipe as its comment."""

import re
from pathlib import Path
from typing import ClassVar

import numpy as np

from media.ffmpeg import READ_TIMEOUT_S, FrameFeed, Frames, run_ffmpeg, safe_input
from media.formats import ClipSpec

# Tags alone do not convert: older ffmpegs then write BT.601 colours that are labelled BT.709.
_TO_YUV = (
    "scale=out_color_matrix=bt709:out_range=tv:flags=bicubic+accurate_rnd+full_chroma_inp+full_chroma_int,"
    "format=yuv420p,setparams=range=tv:colorspace=bt709:color_primaries=bt709:color_trc=bt709"
)
_ENCODER = (
    *("-c:v", "libx264", "-preset", "medium", "-crf", "18"),
    # x264's output depends on the number of threads; a fixed one gives the same bytes everywhere.
    *("-threads", "4", "-flags:v", "+bitexact", "-fflags", "+bitexact"),
    *("-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709", "-color_range", "tv"),
    *("-movflags", "+faststart", "-f", "mp4"),
)


class Mp4Writer:
    """Stream frames into an MP4. Odd sizes gain a repeated row or column: 4:2:0 needs even ones."""

    suffix: ClassVar[str] = ".mp4"

    def __init__(self, spec: ClipSpec) -> None:
        self._path = spec.folder / "clip.mp4"
        self._padding = ((0, 0), (0, spec.height % 2), (0, spec.width % 2), (0, 0))
        # A file, because a long recipe does not fit on a command line.
        (spec.folder / "tags.txt").write_bytes(to_ffmetadata(spec.recipe))
        self._feed = FrameFeed(
            spec.folder,
            *("-f", "ffmetadata", "-i", "tags.txt", "-map", "0:v", "-map_metadata", "1"),
            *("-vf", _TO_YUV, *_ENCODER, self._path.name),
            width=spec.width + spec.width % 2,
            height=spec.height + spec.height % 2,
            fps=spec.fps,
        )

    def write(self, frames: Frames) -> None:
        """Take frames, uint8 [n, H, W, 3]."""
        self._feed.write(np.pad(frames, self._padding, mode="edge") if any(map(any, self._padding)) else frames)

    def finish(self) -> Path:
        """Wait until the file is complete, its index moved to the front."""
        self._feed.finish()
        return self._path

    def abort(self) -> None:
        """End ffmpeg."""
        self._feed.abort()


def read_mp4_recipe(path: Path) -> str | None:
    """The comment of an MP4, None when it has none."""
    found = run_ffmpeg(*safe_input(path), "-f", "ffmetadata", "-", timeout_s=READ_TIMEOUT_S)
    return from_ffmetadata(found.stdout)


def to_ffmetadata(comment: str) -> bytes:
    r"""Write a comment in ffmpeg's metadata format, which holds any text but NUL.

    There is no line feed at the end, because ffmpeg takes one that follows a backslash for part of the
    text, even where that backslash is escaped itself.

    Example:
        >>> to_ffmetadata("a=b")
        b';FFMETADATA1\ncomment=a\\=b'
    """
    escaped = re.sub(r"[=;#\\\r\n]", r"\\\g<0>", comment)
    return f";FFMETADATA1\ncomment={escaped}".encode()


def from_ffmetadata(data: bytes) -> str | None:
    r"""Read the comment out of ffmpeg's metadata format, None when there is none.

    Example:
        >>> from_ffmetadata(to_ffmetadata("a=b;\n#c\\"))
        'a=b;\n#c\\'
    """
    text = data.decode(errors="replace").removeprefix(";FFMETADATA1\n")
    # A line ends at a line feed with no backslash before it. Sections ([CHAPTER]...) follow the global tags.
    for line in re.finditer(r"(?P<key>[^\\=\n]+)=(?P<value>(?:[^\\\n]|\\.)*)(?:\n|\Z)|\[", text, re.DOTALL):
        if line["key"] in ("comment", None):
            return re.sub(r"\\(.)", r"\1", line["value"], flags=re.DOTALL) if line["key"] else None
    return None
