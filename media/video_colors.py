"""Filters that convert HDR, wide-gamut and transparent video to sRGB."""

from media.video_listing import VideoColors

_HDR = {16: "smpte2084", 18: "arib-std-b67"}
_WIDE = {9: "2020", 11: "smpte431", 12: "smpte432"}
"""Primaries that show more colours than sRGB's, and how zscale calls them."""
_EXACT = "flags=lanczos+accurate_rnd+full_chroma_int+full_chroma_inp"


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
        primaries = _WIDE.get(colors.primaries, _WIDE[9])
        return (
            f"format=gbrp10le,zscale=tin={_HDR[colors.transfer]}:pin={primaries}:min=gbr:m=gbr:t=linear:npl=203,"
            "format=gbrpf32le,zscale=p=bt709,tonemap=tonemap=mobius:desat=0,zscale=t=iec61966-2-1,"
        )
    if colors.primaries in _WIDE:  # the transfers of BT.709 and BT.2020 are one curve; it stays as it is
        return f"format=gbrp10le,zscale=pin={_WIDE[colors.primaries]}:tin=709:min=gbr:m=gbr:p=709:t=709,"
    return ""
