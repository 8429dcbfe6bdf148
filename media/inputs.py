"""Open pictures, clips and sequences from anybody, and decode frames."""

from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from media.ffmpeg import Frames
from media.frame_file import FrameFile
from media.input_facts import WHOLE, Cut, InputFacts
from media.input_files import CHOOSE_ANOTHER, BadInputError, InputKind, sniff
from media.named_faults import about
from media.picture_zip import PictureZipReader
from media.pictures import PictureReader
from media.timing import Timing
from media.video import VideoReader
from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.faults import Fault
from pipelines.plan.image_fit import ImageFit, fitted

MAX_STORED_BYTES = 8 << 30
"""Most that the frames of one input take on the disk: 10,000 of 512 × 512 pixels."""

_PROGRESS_INTERVAL = 8  # frames; 8 of 4096 x 4096 pixels take about a second
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


class Decoded(NamedTuple):
    """Progress of decoding an input, in frames."""

    done: int
    total: int


class Reader(Protocol):
    """Reader of frames by their places in a file."""

    width: int
    height: int
    complaint: str

    @property
    def timing(self) -> Timing | None: ...

    def iter_frames(self, places: range, size: tuple[int, int]) -> Generator[Frames, None, None]: ...


def probe_input(path: Path, *, field: str = "file") -> InputFacts:
    """Read the properties of a picture, video or zip of pictures.

    Args:
        path: The file, which may come from anybody.
        field: What the errors call it.

    Raises:
        InvalidRequestError: It is nothing of that, damaged, too large or too thin.
    """
    with naming_field(field):
        return open_reader(path)[1]


def open_reader(path: Path, facts: InputFacts | None = None) -> tuple[Reader, InputFacts]:
    """Open a file by its kind, and read its facts.

    Raises:
        BadInputError: As `probe_input`.
    """
    kind = facts.kind if facts else sniff(path)
    reader: Reader
    if kind is InputKind.PICTURE:
        reader = PictureReader(path)
    elif kind is InputKind.ZIP:
        reader = PictureZipReader(path)
    else:
        reader = VideoReader(path, facts.listing if facts else None)
    timing = reader.timing
    listing = reader.listing if isinstance(reader, VideoReader) else None
    return reader, facts or InputFacts(
        kind=kind,
        width=reader.width,
        height=reader.height,
        fps=timing.fps if timing else None,
        num_frames=timing.num_frames if timing else getattr(reader, "num_pictures", 1),
        even=timing is None or timing.even,
        has_audio=listing is not None and bool(listing.audio_codecs),
        listing=listing,
    )


def open_input(path: Path, cut: Cut = WHOLE, *, field: str = "file", folder: Path | None = None) -> FrameFile:
    """Decode the frames of a file, as `decoding`, at once."""
    return last_value(decoding(path, cut, field=field, folder=folder))


def last_value(work: Generator[Decoded, None, FrameFile]) -> FrameFile:
    """Run a generator to its end and return its value."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            frames: FrameFile = end.value
            return frames


def decoding(
    path: Path, cut: Cut = WHOLE, *, field: str = "file", folder: Path | None = None, facts: InputFacts | None = None
) -> Generator[Decoded, None, FrameFile]:
    """Decode the frames of a cut once into a temporary file.

    Memory holds a frame at a time, whatever the length. Closing the generator ends it and leaves nothing behind.

    Args:
        path: The file, which may come from anybody.
        cut: Which frames, and how.
        field: What the errors call the file.
        folder: Where the frames are kept until nobody needs them.
        facts: The file's, where they were read before.

    Yields:
        How far it is, every few frames.

    Raises:
        InvalidRequestError: As `probe_input`; or there is no frame where the cut starts, the frames would take
            too much room, or not one can be decoded.
    """
    with naming_field(field):
        return (yield from _store_frames(*open_reader(path, facts), cut, folder))


@contextmanager
def naming_field(field: str) -> Iterator[None]:
    """Raise refusals of files as errors of this field.

    Raises:
        InvalidRequestError: For a `BadInputError` inside.
    """
    try:
        yield
    except BadInputError as err:
        raise InvalidRequestError(about(err.fault, field)) from err


def _store_frames(
    reader: Reader, facts: InputFacts, cut: Cut, folder: Path | None
) -> Generator[Decoded, None, FrameFile]:
    places = facts.places(cut)
    width, height = cut.width or facts.width, cut.height or facts.height
    num_bytes = len(places) * width * height * 3
    if num_bytes > MAX_STORED_BYTES:
        raise BadInputError(
            Fault(
                code="input.unpacks_too_large",
                rule="unpack to at most {limit} GiB",
                got=num_bytes / 2**30,
                fix="Use fewer frames or make it smaller",
                limit=MAX_STORED_BYTES >> 30,
                seen="{got:.1f} GiB",
            )
        )
    stored = FrameFile(width=width, height=height, fps=facts.fps_of(cut), folder=folder)
    try:
        with closing(reader.iter_frames(places, _decoded_size(facts, width, height, cut.fit))) as frames:
            for frame in frames:
                fitted_frame = fitted(frame, width=width, height=height, fit=cut.fit)
                stored.append(_grey(fitted_frame) if cut.grey else fitted_frame)
                if stored.num_frames % _PROGRESS_INTERVAL == 0:
                    yield Decoded(stored.num_frames, len(places))
        if not stored.num_frames:
            raise BadInputError(
                Fault(code="input.no_frame", rule="have frames that can be read", got="none", fix=CHOOSE_ANOTHER)
            )
    except BaseException:
        stored.close()
        raise
    if stored.num_frames < len(places) and not reader.complaint:
        reader.complaint = f"It is shorter than it says; {stored.num_frames:,} of its frames could be read."
    stored.complaint = reader.complaint
    return stored


def _decoded_size(facts: InputFacts, width: int, height: int, fit: ImageFit) -> tuple[int, int]:
    """Compute the size ffmpeg scales to.

    That is faster than scaling here; `fitted` then only cuts or adds bars.
    """
    if fit is ImageFit.STRETCH:
        return width, height
    ratios = Fraction(width, facts.width), Fraction(height, facts.height)
    ratio = max(ratios) if fit is ImageFit.CROP else min(ratios)
    return max(1, round(facts.width * ratio)), max(1, round(facts.height * ratio))


def _grey(frame: Frames) -> Frames:
    """Compute brightness by ITU-R BT.601, three times."""
    luma = np.rint(frame @ _LUMA).astype(np.uint8)
    return np.repeat(luma[..., None], 3, axis=2)
