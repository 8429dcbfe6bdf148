"""Filters that convert HDR, wide-gamut and transparent video to sRGB."""

import re
from dataclasses import dataclass
from typing import Self

_HDR = ("smpte2084", "arib-std-b67")
_WIDE = {"bt2020": "2020", "smpte431": "smpte431", "smpte432": "smpte432"}
"""Primaries that show more colours than sRGB's, and how zscale calls them."""

_ALPHA = re.compile(r"yuva|rgba|bgra|argb|abgr|gbrap|ya\d|pal8|ayuv|vuya")
_EXACT = "flags=lanczos+accurate_rnd+full_chroma_int+full_chroma_inp"


@dataclass(frozen=True, slots=True)
class VideoColors:
    """Colour properties of a video's frames, as ffmpeg names them.

    Matrix and range are ffmpeg's to read: BT.601 where a file says nothing, as programs write it that make clips of
    single pictures; players would take BT.709 for large ones.

    Args:
        primaries, transfer: "unknown" where the file says nothing.
        has_alpha: Whether something can be seen through.
    """

    primaries: str = "unknown"
    transfer: str = "unknown"
    has_alpha: bool = False

    @classmethod
    def of_frame(cls, showinfo: str, *, pix_fmt: str, has_alpha: bool) -> Self:
        """Parse the output of ffmpeg's filter `showinfo`.

        Args:
            showinfo: Its text.
            pix_fmt: The frame's.
            has_alpha: Whether it is known to have alpha though its format has none.
        """
        tags = dict(re.findall(r"\bcolor_(primaries|trc): ?([\w-]+)", showinfo))
        return cls(
            primaries=tags.get("primaries", "unknown"),
            transfer=tags.get("trc", "unknown"),
            has_alpha=has_alpha or _ALPHA.match(pix_fmt) is not None,
        )


def to_srgb_filters(colors: VideoColors, size: tuple[int, int]) -> str:
    """Build the filters from video to 8-bit sRGB, over black.

    Args:
        size: Of the frames that come out, width first.
    """
    scaled = f"scale={size[0]}:{size[1]}:{_EXACT},"
    return _over_black(colors) + scaled + _to_srgb(colors) + "format=rgb24"


def _over_black(colors: VideoColors) -> str:
    """Lay frames over black, before scaling mixes in hidden colours."""
    if not colors.has_alpha:
        return ""
    return f"scale={_EXACT},format=gbrap,premultiply=inplace=1,format=gbrp,"


def _to_srgb(colors: VideoColors) -> str:
    """Build the filters for high dynamic range and wide primaries.

    They come after scaling, because they compute in floats.

    White of 203 cd/m² is that of papers and captions (ITU-R BT.2408); what is brighter is pressed together.
    """
    if colors.transfer in _HDR:
        primaries = _WIDE.get(colors.primaries, "2020")
        return (
            f"format=gbrp10le,zscale=tin={colors.transfer}:pin={primaries}:min=gbr:m=gbr:t=linear:npl=203,"
            "format=gbrpf32le,zscale=p=bt709,tonemap=tonemap=mobius:desat=0,zscale=t=iec61966-2-1,"
        )
    if colors.primaries in _WIDE:  # the transfers of BT.709 and BT.2020 are one curve; it stays as it is
        return f"format=gbrp10le,zscale=pin={_WIDE[colors.primaries]}:tin=709:min=gbr:m=gbr:p=709:t=709,"
    return ""
