"""Strokes become a mask."""

import numpy as np
import pytest

from pipelines.plan.errors import InvalidRequestError
from ui.inputs.mask_drawing import mask_of_strokes


def layer(alpha: int, columns: slice) -> np.ndarray:
    picture = np.zeros((4, 6, 4), np.uint8)
    picture[:, columns] = (255, 255, 255, alpha)
    return picture


def test_what_is_painted_counts_and_not_its_colour():
    red = layer(255, slice(0, 2))
    red[..., 1:3] = 0
    mask = mask_of_strokes([red])
    assert mask.dtype == np.uint8
    assert mask[0].tolist() == [255, 255, 0, 0, 0, 0]


def test_of_several_layers_the_strongest_stroke_counts():
    assert mask_of_strokes([layer(100, slice(0, 4)), layer(200, slice(3, 5))])[2].tolist() == [
        100,
        100,
        100,
        200,
        200,
        0,
    ]


@pytest.mark.parametrize("layers", [[], [layer(0, slice(0, 6))], [np.zeros((4, 6, 3), np.uint8)]])
def test_a_mask_without_strokes_is_refused(layers):
    with pytest.raises(InvalidRequestError, match=r"^mask must have strokes, got none\."):
        mask_of_strokes(layers)
