"""The one door for pictures, clips and sequences from anybody: what they are, and their frames as asked for."""

from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from media.ffmpeg import Frames
from media.frame_file import FrameFile
from media.input_files import BadInputError, InputKind, sniff
from media.picture_zip import PictureZipReader
from media.pictures import PictureReader
from media.timing import Timing
from media.video import VideoReader
from pipelines.errors import InvalidRequestError
from pipelines.image_fit import ImageFit, fitted
from pipelines.request_fields.clip import MAX_NUM_FRAMES

MAX_STORED_BYTES = 8 << 30
"""Most that the frames of one input take on the disk: 10,000 of 512 × 512 pixels."""

_TOLD_EVERY = 8  # frames; 8 of 4096 x 4096 pixels take about a second
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True, slots=True)
class Cut:
    """Which frames of an input are wanted, and how.

    Args:
        start: Frames to leave out at the beginning.
        every: 1 for every frame, 2 for every second, …
        max_frames: At most so many of those; a shorter input gives fewer.
        width, height: Size to make them, pixels; None to leave them as they are.
        fit: How, if they have another shape.
        grey: Whether only brightness counts, as in masks: red, green and blue become the same.
    """

    start: int = 0
    every: int = 1
    max_frames: int = MAX_NUM_FRAMES
    width: int | None = None
    height: int | None = None
    fit: ImageFit = ImageFit.CROP
    grey: bool = False


WHOLE = Cut()


class Decoded(NamedTuple):
    """How many frames of an input are decoded, and how many are wanted."""

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class InputFacts:
    """What an input is, before its frames are read.

    Args:
        kind: Picture, video or zip; an animated picture is a picture with more than one frame.
        width, height: As seen, pixels.
        fps: Frames per second, exact; None where nobody said.
        num_frames: Frames there are at that rate. A damaged file may turn out to have fewer.
        even: Whether those are the frames of the file; if not, they are taken by time.
        has_audio: Whether there is sound.
    """

    kind: InputKind
    width: int
    height: int
    fps: Fraction | None
    num_frames: int
    even: bool
    has_audio: bool

    @property
    def duration_s(self) -> Fraction | None:
        """Seconds, exact; None where there is no rate."""
        return self.num_frames / self.fps if self.fps else None

    def places(self, cut: Cut) -> range:
        """Which frames a cut takes.

        Raises:
            InvalidRequestError: There are none.
        """
        if cut.start >= self.num_frames:
            raise InvalidRequestError(
                f"source_start must be below the length of the clip ({self.num_frames:,} frames), "
                f"got {cut.start:,}. Lower 'Start at frame'."
            )
        return range(cut.start, self.num_frames, cut.every)[: cut.max_frames]

    def fps_of(self, cut: Cut) -> Fraction | None:
        """The rate at which the frames of a cut take as long as in the clip: a second frame left out halves it."""
        return self.fps / cut.every if self.fps else None


class _Reader(Protocol):
    width: int
    height: int
    has_audio: bool
    complaint: str

    @property
    def timing(self) -> Timing | None: ...

    def iter_frames(self, places: range, size: tuple[int, int]) -> Generator[Frames, None, None]: ...


def probe_input(path: Path, *, field: str = "file") -> InputFacts:
    """Say what a file is: a picture, an animated one, a video, a zip of pictures.

    Args:
        path: The file, which may come from anybody.
        field: What the errors call it.

    Raises:
        InvalidRequestError: It is nothing of that, damaged, too large or too thin.
    """
    with named(field):
        return _facts(*_opened(path))


def open_input(path: Path, cut: Cut = WHOLE, *, field: str = "file", folder: Path | None = None) -> FrameFile:
    """Decode the wanted frames of a file, as `decoding` does, at once."""
    work = decoding(path, cut, field=field, folder=folder)
    while True:
        try:
            next(work)
        except StopIteration as end:
            frames: FrameFile = end.value
            return frames


def decoding(
    path: Path, cut: Cut = WHOLE, *, field: str = "file", folder: Path | None = None
) -> Generator[Decoded, None, FrameFile]:
    """Decode the wanted frames of a file once, in the wanted size, into a file that is read from then on.

    Memory holds a frame at a time, whatever the length. Closing the generator ends it and leaves nothing behind.

    Args:
        path: The file, which may come from anybody.
        cut: Which frames, and how.
        field: What the errors call the file.
        folder: Where the frames are kept until nobody needs them.

    Yields:
        How far it is, every few frames.

    Raises:
        InvalidRequestError: As `probe_input`; or there is no frame where the cut starts, the frames would take
            too much room, or not one can be decoded.
    """
    with named(field):
        kind, reader = _opened(path)
        return (yield from _stored(reader, _facts(kind, reader), cut, folder))


def cut_beside(source: InputFacts, cut: Cut, beside: InputFacts, *, num_frames: int, field: str) -> Cut:
    """How a mask, or whatever goes frame by frame with a source clip, is cut to stay beside it.

    One of the whole source's length is cut as the source is. One that has a frame for each that is left of the
    source, or for each of the clip that is made, was cut before and serves as it is; so does a single picture.

    Args:
        source: The source clip.
        cut: How that is cut.
        beside: What goes with it.
        num_frames: Frames of the clip that is made.
        field: What the errors call what goes with it.

    Raises:
        InvalidRequestError: It has another length, or nothing is left of the source.
    """
    left = len(source.places(cut))
    if beside.num_frames == source.num_frames > 1:
        return Cut(start=cut.start, every=cut.every)
    if beside.num_frames in (1, left, num_frames):
        return WHOLE
    whole = f"{source.num_frames:,}" if left == source.num_frames else f"{source.num_frames:,}, {left:,} when cut"
    raise InvalidRequestError(
        f"{field} must have 1 frame, as many as the source clip ({whole}) or as many as the result ({num_frames:,}), "
        f"got {beside.num_frames:,}. Choose another file or set 'Frames' to its length."
    )


@contextmanager
def named(field: str) -> Iterator[None]:
    """Say which field it is about where a file is refused.

    Raises:
        InvalidRequestError: For a `BadInputError` inside.
    """
    try:
        yield
    except BadInputError as err:
        raise InvalidRequestError(f"{field} {err}") from err


def _opened(path: Path) -> tuple[InputKind, _Reader]:
    kind = sniff(path)
    if kind is InputKind.PICTURE:
        return kind, PictureReader(path)
    return kind, VideoReader(path) if kind is InputKind.VIDEO else PictureZipReader(path)


def _facts(kind: InputKind, reader: _Reader) -> InputFacts:
    timing = reader.timing
    count = timing.num_frames if timing else getattr(reader, "num_pictures", 1)
    return InputFacts(
        kind=kind,
        width=reader.width,
        height=reader.height,
        fps=timing.fps if timing else None,
        num_frames=count,
        even=timing is None or timing.even,
        has_audio=reader.has_audio,
    )


def _stored(reader: _Reader, facts: InputFacts, cut: Cut, folder: Path | None) -> Generator[Decoded, None, FrameFile]:
    places = facts.places(cut)
    width, height = cut.width or facts.width, cut.height or facts.height
    num_bytes = len(places) * width * height * 3
    if num_bytes > MAX_STORED_BYTES:
        raise BadInputError(
            f"must unpack to at most {MAX_STORED_BYTES >> 30} GiB, got {num_bytes / 2**30:.1f} GiB. "
            "Use fewer frames or make it smaller."
        )
    stored = FrameFile(width=width, height=height, fps=facts.fps_of(cut), folder=folder)
    try:
        with closing(reader.iter_frames(places, _decoded_size(facts, width, height, cut.fit))) as frames:
            for frame in frames:
                new = fitted(frame, width=width, height=height, fit=cut.fit)
                stored.append(_grey(new) if cut.grey else new)
                if stored.num_frames % _TOLD_EVERY == 0:
                    yield Decoded(stored.num_frames, len(places))
        if not stored.num_frames:
            raise BadInputError("must have frames that can be read, got none. Choose another file.")
    except BaseException:
        stored.close()
        raise
    if stored.num_frames < len(places) and not reader.complaint:
        reader.complaint = f"It is shorter than it says; {stored.num_frames:,} of its frames could be read."
    stored.complaint = reader.complaint
    return stored


def _decoded_size(facts: InputFacts, width: int, height: int, fit: ImageFit) -> tuple[int, int]:
    """The size ffmpeg scales to, which is faster than scaling here; `fitted` then only cuts or adds bars."""
    if fit is ImageFit.STRETCH:
        return width, height
    ratios = Fraction(width, facts.width), Fraction(height, facts.height)
    ratio = max(ratios) if fit is ImageFit.CROP else min(ratios)
    return max(1, round(facts.width * ratio)), max(1, round(facts.height * ratio))


def _grey(frame: Frames) -> Frames:
    """Brightness as of ITU-R BT.601, three times."""
    luma = np.rint(frame @ _LUMA).astype(np.uint8)
    return np.repeat(luma[..., None], 3, axis=2)
