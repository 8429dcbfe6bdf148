"""Masks: soft inwards, exact outwards, and generous in latent cells."""

import numpy as np
import pytest
import torch

from pipelines.engine.masks import latent_masks, soft_masks
from pipelines.plan.request import GenerationRequest
from tests.clips import ArrayClip


def request_for(**settings) -> GenerationRequest:
    values = {"seed": 0, "width": 64, "height": 64, "num_frames": 3, "source_video": "1" * 64, "mask": "2" * 64}
    return GenerationRequest.build(**values | settings)


def box(low: int, high: int, frames: int = 1) -> ArrayClip:
    mask = np.zeros((frames, 64, 64, 3), np.uint8)
    mask[:, low:high, low:high] = 255
    return ArrayClip(mask)


@pytest.mark.parametrize("feather", [0, 1, 4, 9])
def test_nothing_outside_the_white_may_change(feather):
    soft = soft_masks(request_for(mask_feather=feather), box(20, 44), [0, 1])
    hard = torch.zeros(64, 64)
    hard[20:44, 20:44] = 1
    assert soft.shape == (2, 64, 64)
    assert (soft <= hard).all()
    assert soft[0, 32, 32] == 1
    row = soft[0, 32, 20:33]
    assert (row.diff() >= 0).all()
    assert ((row > 0) & (row < 1)).sum() == feather + feather % 2


def test_the_picture_has_no_edge_of_its_own():
    white = ArrayClip(np.full((1, 64, 64, 3), 255, np.uint8))
    assert (soft_masks(request_for(mask_feather=8), white, [0]) == 1).all()


def test_grey_changes_in_part():
    grey = ArrayClip(np.full((1, 64, 64, 3), 102, np.uint8))
    assert soft_masks(request_for(mask_feather=0), grey, [0]).mean() == pytest.approx(0.4)


def test_a_latent_cell_changes_if_any_of_its_pixels_may():
    masks = latent_masks(request_for(mask_feather=0), box(23, 25))
    assert masks.shape == (1, 1, 3, 8, 8)
    assert masks[0, 0, 0].nonzero().tolist() == [[2, 2], [2, 3], [3, 2], [3, 3]]


def test_a_moving_mask_is_read_frame_by_frame():
    moving = ArrayClip(np.concatenate([box(0, 8).array, box(8, 16).array, box(16, 24).array]))
    masks = latent_masks(request_for(mask_feather=0), moving)
    assert [masks[0, 0, i].nonzero().tolist() for i in range(3)] == [[[0, 0]], [[1, 1]], [[2, 2]]]
