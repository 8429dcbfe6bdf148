"""Read untrusted pictures and animations as RGB, checking headers first."""

import struct
import zlib
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from itertools import accumulate, islice
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, ImageSequence
from PIL.ExifTags import Base

from media.color_profiles import to_srgb
from media.ffmpeg import Frames
from media.input_files import CHOOSE_ANOTHER, BadInputError
from media.timing import Timing, frame_shown_at, timing_of
from pipelines.plan.faults import Fault

MAX_PICTURE_PIXELS = 8192 * 8192
"""Largest picture that is read: more than any phone's camera makes."""

MAX_PICTURE_BYTES = 256 << 20

MAX_ASPECT = 16
"""How much longer than the other a side may be; fitted to a clip, a thin line would become a huge picture."""

MAX_ANIMATION_FRAMES = 10_000
"""Frames of an animated picture that are read; what follows is left out."""

_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
# Of other formats only the first picture is meant: phones put previews behind a JPEG, scanners pages into a TIFF.
_ANIMATED = ("PNG", "WEBP", "GIF")
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_DNG_VERSION, _NEW_SUBFILE_TYPE = 50706, 254  # of TIFF's tags
_ON_ITS_SIDE = (5, 6, 7, 8)
# A PNG's durations are fractions, a WebP's whole milliseconds, a GIF's hundredths of a second.
_TICKS = {"PNG": Fraction(1, 1_000_000), "GIF": Fraction(1, 100)}
# Browsers show a GIF's frame that should last no more than 10 ms for 100 ms.
_TOO_SHORT_MS, _INSTEAD_MS = 10, 100
_DAMAGE = (OSError, ValueError, SyntaxError, EOFError, TypeError, LookupError, struct.error, zlib.error)
_BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)


@contextmanager
def opened_picture(file: Path | IO[bytes]) -> Iterator[Image.Image]:
    """Open a picture with a checked header; a context manager.

    Pillow's errors while it is read become faults.

    Raises:
        BadInputError: It is damaged, too large, too thin, a raw photo, or has more than 16 bits a channel.
    """
    try:
        with Image.open(file, formats=_FORMATS) as picture:
            check_picture_size(*picture.size)
            if picture.mode in ("I", "F"):
                raise BadInputError(
                    Fault(
                        code="picture.too_many_bits",
                        rule="have 8 or 16 bits in each channel",
                        got="a picture with 32",
                        fix="Save it as a PNG with 8",
                        limit=(8, 16),
                    )
                )
            if _is_raw_photo(picture):
                raise BadInputError(
                    Fault(
                        code="picture.raw_photo",
                        rule="be a developed picture",
                        got="a camera's raw photo",
                        fix="Export it as a PNG or JPEG",
                        seen="{got}, of which only a thumbnail could be read",
                    )
                )
            yield picture
    except _BOMBS as err:
        raise BadInputError(too_many_pixels("picture.far_too_large", "more", MAX_PICTURE_PIXELS)) from err
    except _DAMAGE as err:
        raise BadInputError(
            Fault(
                code="picture.damaged",
                rule="be a whole picture",
                got="one that is damaged or of an unknown kind",
                fix=CHOOSE_ANOTHER,
            )
        ) from err


def _is_raw_photo(picture: Image.Image) -> bool:
    """Tell whether a TIFF is a raw photo, such as a DNG.

    Its first picture is a small one of the real one.
    """
    tags = getattr(picture, "tag_v2", {})
    kind = tags.get(_NEW_SUBFILE_TYPE, 0)
    return _DNG_VERSION in tags or (isinstance(kind, int) and bool(kind & 1))


def check_picture_size(width: int, height: int) -> None:
    """Refuse too large or thin pictures, before a pixel is unpacked.

    Raises:
        BadInputError: Either.
    """
    if width * height > MAX_PICTURE_PIXELS:
        raise BadInputError(too_many_pixels("picture.too_large", f"{width} × {height}", MAX_PICTURE_PIXELS))
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise BadInputError(
            Fault(
                code="picture.too_thin",
                rule="be at most {limit} times as long one way as the other",
                got=f"{width} × {height}",
                fix="Crop it",
                limit=MAX_ASPECT,
            )
        )


def size_as_seen(picture: Image.Image) -> tuple[int, int]:
    """Read width and height after EXIF rotation, from the header."""
    width, height = picture.size
    if picture.format == "TIFF":  # Pillow turns it itself: the size at once, the pixels once they are read
        return width, height
    return (height, width) if _orientation(picture) in _ON_ITS_SIDE else (width, height)


def to_rgb(picture: Image.Image) -> Frames:
    """Convert a picture as it is meant to be seen.

    Returns uint8 [H, W, 3].

    It is turned as its EXIF says, in sRGB whatever its colour profile, and transparent parts are black: a mask's
    black changes nothing, and the bars of a picture that is padded are black, too.
    """
    picture.load()
    turn = _TURNS.get(_orientation(picture))
    upright = picture.transpose(turn) if turn is not None else picture
    if upright.mode.startswith("I;16"):
        upright = _to_8_bits(upright)
    converted = to_srgb(upright)
    if converted.mode == "RGBA":
        converted = Image.alpha_composite(Image.new("RGBA", converted.size, "black"), converted).convert("RGB")
    return np.asarray(converted)


def _orientation(picture: Image.Image) -> int:
    """Read the EXIF orientation; 1, upright, where it is unreadable."""
    try:
        orientation = picture.getexif().get(Base.Orientation)
    except _DAMAGE:
        return 1
    return orientation if isinstance(orientation, int) else 1


def _to_8_bits(grey: Image.Image) -> Image.Image:
    """Convert a 16-bit grey picture to 8 bits.

    The level that a PNG says is clear is compared while there are 16.
    """
    levels = np.asarray(grey).astype(np.uint32)
    picture = Image.fromarray(((levels + 128) // 257).astype(np.uint8))
    picture.info = dict(grey.info)
    clear = picture.info.pop("transparency", None)
    if isinstance(clear, int):
        picture.putalpha(Image.fromarray(np.where(levels == clear, 0, 255).astype(np.uint8)))
    return picture


class PictureReader:
    """Picture, a clip of one frame, or animated GIF, WebP or PNG.

    Attributes:
        width, height: As seen.
        timing: None for a single picture.
        complaint: What is wrong with the file though it can be used.
    """

    def __init__(self, path: Path) -> None:
        self.complaint = ""
        self._path = path
        with opened_picture(path) as picture:
            self.width, self.height = size_as_seen(picture)
            self._tick = _TICKS.get(str(picture.format), Fraction(1, 1000))
            durations = self._durations_ms(picture) if _is_animated(picture) else []
        *self._starts, self._end = (round(ms / 1000 / self._tick) for ms in accumulate(durations, initial=Fraction()))
        self.timing: Timing | None = None
        if len(durations) > 1:
            self.timing = timing_of(self._starts, self._end, self._tick)

    def iter_frames(
        self,
        places: range,
        size: tuple[int, int],  # noqa: ARG002 - they keep theirs
    ) -> Generator[Frames, None, None]:
        """Yield the frames at these places of the timing."""
        if self.timing is None:
            with opened_picture(self._path) as picture:
                yield to_rgb(picture)
            return
        yield from self._animation([self._frame_at(place) for place in places])

    def _frame_at(self, place: int) -> int:
        assert self.timing is not None
        if self.timing.even:
            return place
        return frame_shown_at(self._starts, place, self._tick, self.timing.fps)

    def _animation(self, indices: Sequence[int]) -> Iterator[Frames]:
        """Yield frames by ascending index, holding one at a time."""
        remaining = Counter(indices)
        with opened_picture(self._path) as picture:
            for index, picture_frame in enumerate(_moving(picture)):
                if index in remaining:
                    frame = to_rgb(picture_frame)
                    for _ in range(remaining.pop(index)):
                        yield frame
                if not remaining:  # what follows may be damaged
                    return

    def _durations_ms(self, picture: Image.Image) -> list[Fraction]:
        """Read how long each frame is shown, up to any damage."""
        durations: list[Fraction] = []
        try:
            for frame in _moving(picture):
                frame.load()  # WebP tells a frame's duration once it is decoded, and damage shows
                lasts = Fraction(frame.info.get("duration", 0)).limit_denominator(1000)
                durations.append(lasts if lasts > _TOO_SHORT_MS else Fraction(_INSTEAD_MS))
        except _DAMAGE:
            if not durations:
                raise
            self.complaint = f"It is damaged or cut off; {len(durations):,} of its frames could be read."
        return durations


def _is_animated(picture: Image.Image) -> bool:
    return picture.format in _ANIMATED and getattr(picture, "is_animated", False)


def _moving(picture: Image.Image) -> Iterator[Image.Image]:
    """List the frames of an animation.

    A PNG's stand-in for programs that cannot animate is not one.
    """
    skipped = int(getattr(picture, "default_image", False))
    return islice(ImageSequence.Iterator(picture), skipped, skipped + MAX_ANIMATION_FRAMES)


def too_many_pixels(code: str, got: str, limit: int) -> Fault:
    """Build the fault of a picture or clip with too many pixels."""
    return Fault(
        code=code,
        rule="have at most {limit} million pixels",
        got=got,
        fix="Make it smaller",
        limit=round(limit / 1e6),
    )
