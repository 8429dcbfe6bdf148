"""Pictures of another shape: cropped about the middle, given bars, or stretched."""

import numpy as np
import pytest

from pipelines.plan.image_fit import ImageFit, fitted


def thirds(height: int, width: int) -> np.ndarray:
    """Red, green, blue from left to right."""
    picture = np.zeros((height, width, 3), np.uint8)
    for third in range(3):
        picture[:, third * width // 3 : (third + 1) * width // 3, third] = 200
    return picture


def test_a_picture_of_the_right_size_is_left_alone():
    picture = thirds(32, 48)
    assert fitted(picture, width=48, height=32, fit=ImageFit.CROP) is picture


def test_crop_keeps_the_middle():
    picture = fitted(thirds(30, 90), width=60, height=60, fit=ImageFit.CROP)
    assert picture.shape == (60, 60, 3)
    assert (picture[:, 4:-4, 1] > 190).all()


def test_pad_adds_black_bars_and_keeps_all():
    picture = fitted(thirds(30, 90), width=60, height=60, fit=ImageFit.PAD)
    assert picture.shape == (60, 60, 3)
    assert not picture[:20].any()
    assert not picture[40:].any()
    assert [picture[30, x].argmax() for x in (5, 30, 55)] == [0, 1, 2]


def test_stretch_keeps_all_without_bars():
    picture = fitted(thirds(30, 90), width=60, height=60, fit=ImageFit.STRETCH)
    assert [picture[5, x].argmax() for x in (5, 30, 55)] == [0, 1, 2]
    assert (picture.max(axis=2) > 90).all()


@pytest.mark.parametrize("fit", list(ImageFit))
@pytest.mark.parametrize("size", [(1, 500), (500, 1), (17, 31), (64, 64)])
def test_every_shape_fits(fit, size):
    assert fitted(np.full((*size, 3), 90, np.uint8), width=40, height=24, fit=fit).shape == (24, 40, 3)
