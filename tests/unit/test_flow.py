"""Motion between two frames: what is carried where, what fills the gaps, and dark pictures."""

import cv2
import numpy as np
import pytest

from finishing.flow import DOUBT, _carry, _fill, _greys, _Side


def test_a_pixel_is_carried_to_its_four_neighbours_by_their_nearness():
    motion = np.zeros((4, 4, 2), np.float32)
    trust = np.zeros((4, 4), np.float32)
    motion[1, 1], trust[1, 1] = (0.25, 0.75), 1
    seen, moved = _carry(_Side(np.zeros((4, 4, 3), np.float32), motion, trust), 1.0)
    expected = np.zeros((4, 4))
    expected[1:3, 1:3] = [[0.1875, 0.0625], [0.5625, 0.1875]]
    np.testing.assert_allclose(seen, expected, atol=1e-6)
    np.testing.assert_allclose(moved[..., 1], 0.75 * expected, atol=1e-6)


def test_where_little_or_nothing_is_known_what_is_around_counts():
    weight = np.ones((8, 8), np.float32)
    weight[2, 2], weight[5, 5] = 0, DOUBT / 10
    filled = _fill(np.full((8, 8, 2), 3, np.float32) * weight[..., None], weight)
    assert np.isfinite(filled).all()
    np.testing.assert_allclose(filled, 3, rtol=0.01)


@pytest.mark.parametrize("contrast", [10, 40, 255])
def test_greys_take_the_whole_range_however_dark_a_pair_is(contrast):
    ramp = np.linspace(0, contrast, 32).astype(np.uint8)
    picture = cv2.merge([np.tile(ramp, (32, 1))] * 3)
    before, after = _greys(picture, picture[:, ::-1])
    assert before.min() == 0
    assert before.max() >= 254  # cut, not rounded
    np.testing.assert_array_equal(before, after[:, ::-1])
