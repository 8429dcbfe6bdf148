"""Convert pictures with ICC colour profiles to sRGB."""

from functools import lru_cache
from io import BytesIO
from itertools import product

import numpy as np
from PIL import Image, ImageCms

MAX_PROFILE_BYTES = 8 << 20
"""Larger profiles are left out; those of printers have 2 MB."""

# What a profile is about → the picture's mode that it is applied in.
_SPACES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab": "LAB"}
_LEVELS = (0, 1, 16, 64, 128, 192, 254, 255)


def to_srgb(picture: Image.Image) -> Image.Image:
    """Convert a picture's colours to sRGB by its profile.

    Without a usable one they count as sRGB already: browsers and painting programs also leave out profiles that are
    damaged or of another kind of picture.

    Args:
        picture: Of any mode but 16 bits; an alpha channel stays as it is.

    Returns:
        A picture of mode RGB, or RGBA where something can be seen through.
    """
    alpha = picture.convert("RGBA").getchannel("A") if picture.has_transparency_data else None
    if picture.mode == "LAB":  # the mode says what the values mean; a profile could only repeat it
        converted = _lab_to_srgb().apply(picture)
    else:
        converted = _by_profile(picture.convert("RGBA").convert("RGB") if alpha else picture, picture)
    if alpha:
        converted.putalpha(alpha)
    return converted


def _by_profile(colors: Image.Image, picture: Image.Image) -> Image.Image:
    profile = picture.info.get("icc_profile")
    transform = _transform(profile, _kind(picture)) if isinstance(profile, bytes) else None
    if transform is None:
        return colors.convert("RGB")
    return transform.apply(colors.convert(transform.input_mode))


def _kind(picture: Image.Image) -> str:
    if picture.mode in ("1", "L", "LA", "La"):
        return "grey"
    return "CMYK" if picture.mode == "CMYK" else "RGB"


@lru_cache(maxsize=8)
def _transform(profile: bytes, kind: str) -> ImageCms.ImageCmsTransform | None:
    """Build a profile's conversion to sRGB, None if nothing changes.

    None also for unusable profiles, and for those that change no more than rounding does.
    """
    if len(profile) > MAX_PROFILE_BYTES:
        return None
    try:
        opened = ImageCms.ImageCmsProfile(BytesIO(profile))
        mode = _SPACES.get(opened.profile.xcolor_space.strip(), "")
        # A grey picture often carries the profile of the RGB picture it was; the others fit their own kind alone.
        if mode not in {"grey": ("L", "RGB"), "RGB": ("RGB",), "CMYK": ("CMYK",)}[kind]:
            return None
        transform = ImageCms.ImageCmsTransform(opened, _srgb(), mode, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
    return transform if mode != "RGB" or _changes_colors(transform) else None


def _changes_colors(transform: ImageCms.ImageCmsTransform) -> bool:
    """Tell whether a conversion changes sRGB colours.

    Most profiles are sRGB's own, by many hands.
    """
    colors = np.array(list(product(_LEVELS, repeat=3)), np.uint8)[None]
    after = np.asarray(transform.apply(Image.fromarray(colors)))
    return int(np.abs(after.astype(int) - colors).max()) > 1


@lru_cache(maxsize=1)
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


@lru_cache(maxsize=1)
def _lab_to_srgb() -> ImageCms.ImageCmsTransform:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    return ImageCms.ImageCmsTransform(lab, _srgb(), "LAB", "RGB")
