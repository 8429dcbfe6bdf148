"""Fit pictures of any shape to a clip's size."""

from enum import StrEnum

import numpy as np
import numpy.typing as npt
from PIL import Image

Frames = npt.NDArray[np.uint8]


class ImageFit(StrEnum):
    """How a picture of another shape is fitted."""

    CROP = "crop"
    PAD = "pad"
    STRETCH = "stretch"


def fitted(picture: Frames, *, width: int, height: int, fit: ImageFit) -> Frames:
    """Resize a picture by Lanczos; one of that size is returned unchanged.

    Args:
        picture: uint8 [H, W, 3].
        fit: Crop keeps the middle, pad adds black bars, stretch changes its shape.

    Returns:
        uint8 [height, width, 3].
    """
    high, wide = picture.shape[:2]
    if (high, wide) == (height, width):
        return picture
    if fit is ImageFit.STRETCH:
        return _resize(picture, width, height)
    ratios = width / wide, height / high
    ratio = max(ratios) if fit is ImageFit.CROP else min(ratios)
    new_wide, new_high = round(wide * ratio), round(high * ratio)
    new = _resize(picture, max(1, new_wide), max(1, new_high))
    left, top = (new.shape[1] - width) // 2, (new.shape[0] - height) // 2
    if fit is ImageFit.CROP:
        return new[top : top + height, left : left + width]
    bars = np.zeros((height, width, 3), np.uint8)
    bars[-top : new.shape[0] - top, -left : new.shape[1] - left] = new
    return bars


def _resize(picture: Frames, width: int, height: int) -> Frames:
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS))
