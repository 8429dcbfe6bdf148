"""Write a clip while it is being made: frames in, files of several formats out, all of them or none."""

import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from tempfile import mkdtemp
from types import TracebackType
from typing import Self

import numpy as np

from media.ffmpeg import Frames
from media.formats import ClipSpec, FormatWriter
from media.gif import MAX_GIF_FPS, GifWriter
from media.mp4 import Mp4Writer
from media.png import PngWriter
from pipelines.choices import OutputFormat
from pipelines.errors import InvalidRequestError

MIN_FPS = Fraction(1, 600)
"""A GIF frame lasts at most 655.35 s."""

MAX_RATIO = 1_000_000
"""ffmpeg keeps a frame rate exactly when numerator and denominator are not larger."""

_WRITERS: dict[OutputFormat, type[FormatWriter]] = {
    OutputFormat.MP4: Mp4Writer,
    OutputFormat.GIF: GifWriter,
    OutputFormat.PNG: PngWriter,
}


def check_output(formats: Sequence[OutputFormat], fps: Fraction) -> None:
    """Refuse what no file of these formats can hold; call it before paying for a generation.

    Raises:
        InvalidRequestError: The frame rate is too low, too high for GIF, or cannot be kept exactly.
    """
    if fps < MIN_FPS:
        raise InvalidRequestError(f"fps must be at least {MIN_FPS}, got {fps}. Raise 'Frames per second'.")
    if max(fps.numerator, fps.denominator) > MAX_RATIO:
        raise InvalidRequestError(
            f"fps must be a ratio of numbers up to {MAX_RATIO:,}, got {fps}. Round 'Frames per second'."
        )
    if OutputFormat.GIF in formats and fps > MAX_GIF_FPS:
        raise InvalidRequestError(
            f"fps must be at most {MAX_GIF_FPS} for GIF, which browsers slow down beyond it, got {fps}. "
            "Lower 'Frames per second' or choose another of the 'Formats'."
        )


class ClipWriter:
    """Writes one clip in all its formats, frame by frame. Made by `open_clip`; a context manager.

    After a clean exit the files are complete and have their names. After an exception, or when the generator
    around it is closed, no file is left and no process runs. Memory does not depend on the clip's length.

    Attributes:
        files: The finished files in the order of the formats; empty until then.
        num_frames: Frames written so far.
    """

    def __init__(self, folder: Path, stem: str, formats: Sequence[OutputFormat], spec: ClipSpec) -> None:
        self.files: tuple[Path, ...] = ()
        self.num_frames = 0
        self._targets = {kind: folder / f"{stem}{_WRITERS[kind].suffix}" for kind in formats}
        self._spec = spec
        self._writers: list[FormatWriter] = []

    def __enter__(self) -> Self:
        folder = next(iter(self._targets.values())).parent
        folder.mkdir(parents=True, exist_ok=True)
        # Beside the targets, so that the last step is a rename and cannot be seen half done.
        self._work = Path(mkdtemp(prefix=".writing-", dir=folder))
        try:
            for kind in self._targets:
                own = self._work / kind
                own.mkdir()
                self._writers.append(_WRITERS[kind](replace(self._spec, folder=own)))
        except BaseException:
            self._clean_up()
            raise
        return self

    def write(self, frames: Frames) -> None:
        """Take the next frames; returns when they are handed over, so a slow disk slows the caller.

        Args:
            frames: uint8 [n, H, W, 3] of the size told to `open_clip`; n may differ from call to call.

        Raises:
            ValueError: They are not that.
            FFmpegError: ffmpeg has failed, for example because the disk is full.
        """
        height, width = self._spec.height, self._spec.width
        if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[1:] != (height, width, 3):
            raise ValueError(f"frames must be uint8 [n, {height}, {width}, 3], got {frames.dtype} {list(frames.shape)}")
        if len(frames) == 0:
            return
        for writer in self._writers:
            writer.write(frames)
        self.num_frames += len(frames)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._publish()
        finally:
            self._clean_up()

    def _publish(self) -> None:
        if self.num_frames == 0:
            raise ValueError("a clip must have at least one frame, got none")
        finished = [writer.finish() for writer in self._writers]
        published: list[Path] = []
        try:
            for path, target in zip(finished, self._targets.values(), strict=True):
                path.replace(target)
                published.append(target)
        except BaseException:
            for target in published:
                target.unlink(missing_ok=True)
            raise
        self.files = tuple(published)

    def _clean_up(self) -> None:
        with ExitStack() as every:  # goes on to the next where one fails
            every.callback(shutil.rmtree, self._work, ignore_errors=True)
            for writer in self._writers:
                every.callback(writer.abort)


def open_clip(
    folder: Path,
    *,
    stem: str,
    formats: Sequence[OutputFormat],
    fps: Fraction,
    width: int,
    height: int,
    recipe: str,
) -> ClipWriter:
    """Open a clip for writing.

    Args:
        folder: Where the files go; made if missing. Files of the same name are replaced, at the very end.
        stem: File name without ending: `clip` gives clip.mp4, clip.gif and, for PNG, clip.zip.
        formats: At least one, none twice.
        fps: Exact frame rate; see `check_output` for its range.
        width, height: Frame size, pixels, >= 1. MP4 files get one more column or row where it is odd.
        recipe: What every file carries and `media.read.read_recipe` gives back; any Unicode but NUL.

    Raises:
        InvalidRequestError: The formats cannot hold this frame rate.
        ValueError: An argument breaks its rule.

    Example:
        with open_clip(folder, stem="clip", formats=[OutputFormat.MP4], fps=Fraction(8), width=64, height=64,
                       recipe=request.to_json()) as clip:
            for frames in decode(latents):
                clip.write(frames)
        return clip.files
    """
    if not formats or len(set(formats)) != len(formats):
        raise ValueError(f"formats must name at least one format, none twice, got {list(formats)}")
    if not stem or Path(stem).name != stem:
        raise ValueError(f"stem must be a plain file name, got {stem!r}")
    if width < 1 or height < 1:
        raise ValueError(f"width and height must be at least 1, got {width}x{height}")
    if "\0" in recipe:
        raise ValueError("recipe must not contain NUL, which no comment can hold; JSON escapes it")
    check_output(formats, fps)
    return ClipWriter(folder, stem, formats, ClipSpec(folder, fps, width, height, recipe))
