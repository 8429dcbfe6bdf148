"""The colours of videos, made sRGB: high dynamic range, wide primaries, and what can be seen through."""

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
    """How the colours of a video's frames are coded, as ffmpeg names it.

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
    def of_frame(cls, said: str, *, pix_fmt: str, has_alpha: bool) -> Self:
        """Read what ffmpeg's filter `showinfo` says of a frame.

        Args:
            said: Its text.
            pix_fmt: The frame's.
            has_alpha: Whether it is known to have alpha though its format has none.
        """
        named = dict(re.findall(r"\bcolor_(primaries|trc): ?([\w-]+)", said))
        return cls(
            primaries=named.get("primaries", "unknown"),
            transfer=named.get("trc", "unknown"),
            has_alpha=has_alpha or _ALPHA.match(pix_fmt) is not None,
        )


def to_srgb_filters(colors: VideoColors, size: tuple[int, int]) -> str:
    """Filters from a video's frames to RGB of 8 bits in sRGB; what can be seen through lies over black.

    Args:
        size: Of the frames that come out, width first.
    """
    scaled = f"scale={size[0]}:{size[1]}:{_EXACT},"
    return _over_black(colors) + scaled + _to_srgb(colors) + "format=rgb24"


def _over_black(colors: VideoColors) -> str:
    """Before scaling, which would mix hidden colours into what is seen."""
    if not colors.has_alpha:
        return ""
    return f"scale={_EXACT},format=gbrap,premultiply=inplace=1,format=gbrp,"


def _to_srgb(colors: VideoColors) -> str:
    """Bring high dynamic range and wide primaries into sRGB's; after scaling, because it computes in floats.

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
