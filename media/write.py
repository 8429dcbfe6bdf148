"""Write a clip in several formats: all of its files or none."""

import shutil
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np

from media.apng import ApngWriter
from media.ffmpeg import Frames
from media.file_size import ADJUSTABLE, best_that_fits, lower_qualities, size_warning
from media.formats import USUAL, ClipSpec, Encoding, FormatWriter
from media.gif import MAX_GIF_FPS, GifWriter
from media.gifsicle import gifsicle_path
from media.mp4 import Mp4Writer
from media.png import PngWriter
from media.stored_frames import StoredFrames
from media.text import TextWriter
from media.webm import MAX_WEBM_FPS, WebmWriter
from media.webp import WebpWriter
from pipelines.plan.choices import GifOptimize, OutputFormat
from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.faults import Fault
from pipelines.plan.notes import Note
from pipelines.plan.planner.tasks import Measure, unmeasured, write_task

MIN_FPS = Fraction(1, 600)
"""A GIF frame lasts at most 655.35 s."""

MAX_RATIO = 1_000_000
"""ffmpeg keeps a frame rate exactly when numerator and denominator are not larger."""

MAX_PICTURE_FPS = 90
"""Browsers show a frame of an animated picture that should last no more than 10 ms for 100 ms."""

_WRITERS: dict[OutputFormat, type[FormatWriter]] = {
    OutputFormat.MP4: Mp4Writer,
    OutputFormat.GIF: GifWriter,
    OutputFormat.WEBP: WebpWriter,
    OutputFormat.WEBM: WebmWriter,
    OutputFormat.APNG: ApngWriter,
    OutputFormat.PNG: PngWriter,
    OutputFormat.TXT: TextWriter,
}
_FASTEST = {
    OutputFormat.GIF: MAX_GIF_FPS,
    OutputFormat.WEBP: MAX_PICTURE_FPS,
    OutputFormat.APNG: MAX_PICTURE_FPS,
    OutputFormat.WEBM: MAX_WEBM_FPS,
}


def check_output(formats: Sequence[OutputFormat], fps: Fraction, encoding: Encoding = USUAL) -> None:
    """Refuse what no file of these formats can hold.

    Call it before paying for a generation.

    Raises:
        InvalidRequestError: The frame rate is too low, too high for a format, or cannot be kept exactly; or a GIF is
            to be optimised where gifsicle is missing.
    """
    if fps < MIN_FPS:
        raise InvalidRequestError(
            Fault(
                code="fps.too_low",
                field="fps",
                rule="be at least {limit}",
                got=fps,
                fix="Raise {fps:label}",
                limit=str(MIN_FPS),
            )
        )
    if max(fps.numerator, fps.denominator) > MAX_RATIO:
        raise InvalidRequestError(
            Fault(
                code="fps.no_short_ratio",
                field="fps",
                rule="be a ratio of numbers up to {limit:,}",
                got=fps,
                fix="Round {fps:label}",
                limit=MAX_RATIO,
            )
        )
    for kind in formats:
        if fps > _FASTEST.get(kind, fps):
            raise InvalidRequestError(_too_fast(kind, fps))
    optimization = encoding.gif_optimize
    if OutputFormat.GIF in formats and optimization is not GifOptimize.OFF and gifsicle_path() is None:
        raise InvalidRequestError(
            Fault(
                code="gif.no_gifsicle",
                field="gif_optimize",
                rule="be {limit} where gifsicle is missing",
                got=optimization,
                fix="Turn {gif_optimize:label} off, or have the operator install gifsicle",
                limit=GifOptimize.OFF,
            )
        )


def _too_fast(kind: OutputFormat, fps: Fraction) -> Fault:
    is_webm = kind is OutputFormat.WEBM
    why = "whose clock counts milliseconds" if is_webm else "which browsers slow down beyond it"
    return Fault(
        code="fps.too_high_for_webm" if is_webm else "fps.too_high_for_browsers",
        field="fps",
        rule=f"be at most {{limit}} for {{format}}, {why}",
        got=fps,
        fix="Lower {fps:label} or choose another of the {formats:label}",
        limit=_FASTEST[kind],
        values={"format": kind},
    )


class Writing(NamedTuple):
    """Progress of completing files behind the last frame.

    Args:
        step, total: Finished files, or frames of one that is encoded once more.
        note: What is being done, in words for people.
    """

    step: int
    total: int
    note: str


class ClipWriter:
    """Context manager that writes one clip in all its formats.

    After a clean exit the files are complete and have their names. After an exception, or when the generator
    around it is closed, no file is left and no process runs. Memory does not depend on the clip's length.

    Attributes:
        files: The finished files in the order of the formats; empty until then.
        num_frames: Frames written so far.
        warnings: What people should know of the finished files: quality that was lowered for their size.
    """

    def __init__(
        self, folder: Path, stem: str, formats: Sequence[OutputFormat], spec: ClipSpec, measure: Measure = unmeasured
    ) -> None:
        self.files: tuple[Path, ...] = ()
        self.num_frames = 0
        self.warnings: tuple[str, ...] = ()
        self._targets = {kind: folder / f"{stem}{_WRITERS[kind].suffix}" for kind in formats}
        self._spec = spec
        self._measure = measure
        self._finished: list[Path] | None = None
        self._writers: list[FormatWriter] = []
        self._stored: StoredFrames | None = None

    def __enter__(self) -> Self:
        folder = next(iter(self._targets.values())).parent
        folder.mkdir(parents=True, exist_ok=True)
        # Beside the targets, so that the last step is a rename and cannot be seen half done.
        self._work = Path(mkdtemp(prefix=".writing-", dir=folder))
        try:
            for kind in self._targets:
                subfolder = self._work / kind
                subfolder.mkdir()
                self._writers.append(_WRITERS[kind](replace(self._spec, folder=subfolder)))
            if self._spec.encoding.max_bytes and ADJUSTABLE.intersection(self._targets):
                self._stored = StoredFrames(replace(self._spec, folder=self._work))
        except BaseException:
            self._clean_up()
            raise
        return self

    def write(self, frames: Frames) -> None:
        """Write the next frames.

        It returns when they are handed over, so a slow disk slows the caller.

        Args:
            frames: uint8 [n, H, W, 3] of the size given to `open_clip`, 4 with alpha; n may differ from call to call.

        Raises:
            ValueError: They are not that.
            FFmpegError: ffmpeg has failed, for example because the disk is full.
        """
        shape = (self._spec.height, self._spec.width, self._spec.channels)
        if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[1:] != shape:
            dimensions = ", ".join(map(str, shape))
            raise ValueError(f"frames must be uint8 [n, {dimensions}], got {frames.dtype} {list(frames.shape)}")
        if len(frames) == 0:
            return
        for kind, writer in zip(self._targets, self._writers, strict=True):
            with self._measure(write_task(kind)):
                writer.write(frames)
        if self._stored:
            self._stored.write(frames)
        self.num_frames += len(frames)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                for _ in self.completing():
                    pass
                self._publish()
        finally:
            self._clean_up()

    def completing(self) -> Iterator[Writing]:
        """Complete the files, yielding progress.

        It may take as long as all the writing, or several times that with a size limit. Leaving the context does it,
        too, and publishes the files.
        """
        if self._finished is not None:
            return
        if self.num_frames == 0:
            raise ValueError("a clip must have at least one frame, got none")
        finished = []
        for number, (kind, writer) in enumerate(zip(self._targets, self._writers, strict=True)):
            yield Writing(number, len(self._writers), Note("progress.finishing", "Finishing the {name}", name=kind))
            with self._measure(write_task(kind)):
                finished.append(writer.finish())
        if self._spec.encoding.max_bytes:
            finished = yield from self._within_limit(finished)
        self._finished = finished

    def _publish(self) -> None:
        assert self._finished is not None
        finished = self._finished
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

    def _within_limit(self, paths: list[Path]) -> Generator[Writing, None, list[Path]]:
        """Encode again the files that are too large, collecting warnings."""
        if self._stored:
            self._stored.finish()
        first, new_paths, warnings = self._spec.encoding, list(paths), []
        for place, (kind, path) in enumerate(zip(self._targets, paths, strict=True)):
            if path.stat().st_size <= first.max_bytes:
                continue
            last, levels = first, lower_qualities(kind, first)
            if levels:
                path.unlink()
                last, new_paths[place] = yield from best_that_fits(
                    levels, first.max_bytes, partial(self._encode_stored, kind)
                )
            warnings.append(size_warning(kind, first, last, new_paths[place].stat().st_size))
        self.warnings = tuple(warnings)
        return new_paths

    def _encode_stored(self, kind: OutputFormat, encoding: Encoding) -> Generator[Writing, None, Path]:
        """Encode the stored frames as a file."""
        assert self._stored is not None
        folder = Path(mkdtemp(prefix=f"{kind}-", dir=self._work))
        writer = _WRITERS[kind](replace(self._spec, folder=folder, encoding=encoding))
        frames = iter(self._stored)
        total = self.num_frames
        try:
            for number in range(1, total + 1):
                with self._measure(write_task(kind)):
                    writer.write(next(frames)[None])
                yield Writing(
                    number,
                    total,
                    Note(
                        "progress.smaller",
                        "Making the {name} smaller, frame {done} of {total}",
                        name=kind,
                        done=number,
                        total=total,
                    ),
                )
            with self._measure(write_task(kind)):
                path = writer.finish().replace(folder.with_suffix(".done"))
        finally:
            writer.abort()
        shutil.rmtree(folder)
        return path

    def _clean_up(self) -> None:
        with ExitStack() as every:  # goes on to the next where one fails
            every.callback(shutil.rmtree, self._work, ignore_errors=True)
            for writer in self._writers:
                every.callback(writer.abort)
            if self._stored:
                every.callback(self._stored.abort)


def open_clip(  # noqa: PLR0913 - what a clip is, and two things with defaults
    folder: Path,
    *,
    stem: str,
    formats: Sequence[OutputFormat],
    fps: Fraction,
    width: int,
    height: int,
    recipe: str,
    encoding: Encoding = USUAL,
    alpha: bool = False,
    measure: Measure = unmeasured,
) -> ClipWriter:
    """Open a clip for writing.

    Args:
        folder: Where the files go; made if missing. Files of the same name are replaced, at the very end.
        stem: File name without ending: `clip` gives clip.mp4, clip.gif, clip.png for APNG and clip.zip for PNG.
        formats: At least one, none twice.
        fps: Exact frame rate; see `check_output` for its range.
        width, height: Frame size, pixels, >= 1. MP4 files get one more column or row where it is odd.
        recipe: What every file carries and `media.read.read_recipe` gives back; any Unicode but NUL. TXT is told by its
            beginning, the brace of JSON.
        encoding: Qualities, and the largest size of a file.
        alpha: Whether frames have a fourth channel, 0 where nothing is seen. MP4 lays them over black; GIF knows only
            seen or not.
        measure: Counts the time of each task.

    Raises:
        InvalidRequestError: As `check_output`.
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
    check_output(formats, fps, encoding)
    return ClipWriter(folder, stem, formats, ClipSpec(folder, fps, width, height, recipe, encoding, alpha), measure)
