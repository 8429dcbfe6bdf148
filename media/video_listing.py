"""Packets and properties of a video, as another process lists them."""

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class VideoColors:
    """Colour properties of a video's frames.

    Matrix and range are ffmpeg's to read: BT.601 where a file says nothing, as programs write it that make clips of
    single pictures; players would take BT.709 for large ones.

    Args:
        primaries, transfer: By the numbers of ITU-T H.273.
        has_alpha: Whether something can be seen through.
    """

    primaries: int
    transfer: int
    has_alpha: bool


@dataclass(frozen=True, slots=True)
class VideoListing:
    """Packets of a video's first picture stream, with its properties.

    Args:
        width, height: Size as shown: turned as the file says, pixels made square.
        starts: When each frame is shown, in ticks from the start of the file, ascending.
        seekable: Whether those are the frames' own times, not only the order of their packets.
        last_duration, total_duration: Of the last and of all packets, in ticks.
        tick: Seconds.
        rounded_fps: As the file says, to two decimals.
        codec, pix_fmt: As ffmpeg names them.
        colors: What the file says about them.
        is_interlaced: Whether a frame has two halves of different times, line by line.
        decoder: The one that reads it whole, where that is not ffmpeg's own choice.
        audio_codecs: Of its sounds; none where it is silent.
    """

    width: int
    height: int
    starts: list[int]
    seekable: bool
    last_duration: int
    total_duration: int
    tick: Fraction
    rounded_fps: Fraction | None
    codec: str
    pix_fmt: str
    colors: VideoColors
    is_interlaced: bool
    decoder: str
    audio_codecs: list[str]
