"""Convert painted strokes into a grey mask."""

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.faults import Fault
from pipelines.plan.image_fit import Frames


class Painting(TypedDict):
    """Value of Gradio's image editor, uint8 [h, w, 3 or 4] each."""

    background: Frames | None
    layers: list[Frames]
    composite: Frames | None


def mask_of_strokes(layers: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.uint8]:
    """Merge the alpha of painted layers, whatever their colour.

    Args:
        layers: Pictures of one size with transparency, uint8 [h, w, 4].

    Returns:
        uint8 [h, w]: 255 where a stroke covers, 0 where nothing is painted.

    Raises:
        InvalidRequestError: Nothing is painted.

    Example:
        >>> layer = np.zeros((1, 3, 4), np.uint8)
        >>> layer[0, 1] = 255
        >>> mask_of_strokes([layer]).tolist()
        [[0, 255, 0]]
    """
    painted = [layer[..., 3] for layer in layers if layer.ndim == 3 and layer.shape[2] == 4]
    if not painted or not any(alpha.any() for alpha in painted):
        fix = "Paint on the picture what may change"
        raise InvalidRequestError(Fault("mask.no_strokes", "mask", "have strokes", "none", fix))
    return np.maximum.reduce(painted)
