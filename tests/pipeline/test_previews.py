"""Previews: frames of the whole clip, small and few whatever its length, and no more of the time than they may take."""

import pickle
from itertools import pairwise

import pytest
import torch
from diffusers import AutoencoderKL

from pipelines.engine.decode import PREVIEW_CELLS, preview_frames
from pipelines.engine.denoise import ESTIMATED_FRAMES, spread
from pipelines.engine.previews import Previews, is_moving
from pipelines.plan import catalog
from pipelines.plan.events import Progress, Stage
from pipelines.plan.request import GenerationRequest


@pytest.fixture(scope="module")
def vae() -> AutoencoderKL:
    torch.manual_seed(0)
    kinds = {"down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4}
    return AutoencoderKL(block_out_channels=(8, 8, 8, 8), norm_num_groups=4, layers_per_block=1, **kinds).eval()


@pytest.mark.parametrize("num_frames", [1, 2, 7, 8, 9, 16, 10_000])
def test_frames_are_spread_evenly_over_the_whole_clip(num_frames: int):
    frames = spread(num_frames)
    assert len(frames) == len(set(frames)) == min(num_frames, ESTIMATED_FRAMES)
    assert frames[0] <= num_frames / len(frames) / 2
    steps = {later - earlier for earlier, later in pairwise(frames)}
    assert max(steps, default=0) - min(steps, default=0) <= 1
    assert abs((num_frames - 1 - frames[-1]) - frames[0]) <= 1


@pytest.mark.parametrize(("side", "count", "pixels"), [(16, 8, 128), (64, 8, 128), (8, 8, 64), (64, 1, 256)])
def test_previews_are_small_whatever_the_size(vae: AutoencoderKL, side: int, count: int, pixels: int):
    frames = preview_frames(vae, torch.randn(1, 4, count, side, side))
    assert frames.shape == (count, pixels, pixels, 3)
    assert frames.size / 3 <= PREVIEW_CELLS * 64
    event = pickle.loads(pickle.dumps(Progress(Stage.DENOISE, 1, 2, preview=frames)))
    assert (event.preview == frames).all()


def test_a_preview_that_does_not_move_is_the_middle_frame(vae: AutoencoderKL):
    estimate = torch.randn(1, 4, 8, 8, 8)
    still, moving = Previews(vae, moves=False).next(estimate), Previews(vae).next(estimate)
    assert still.shape == (1, 64, 64, 3)
    assert moving.shape == (8, 64, 64, 3)
    assert abs(still[0].astype(int) - moving[4]).max() <= 1  # decoded alone, and among others


def test_after_the_first_one_previews_wait_until_they_may_take_the_time(vae: AutoencoderKL):
    previews, estimate = Previews(vae), torch.randn(1, 4, 8, 8, 8)
    assert previews.next(None) is None
    assert previews.next(estimate) is not None
    assert previews.next(estimate) is None
    previews.started -= 100 * previews.spent
    assert previews.next(estimate) is not None


@pytest.mark.parametrize(
    ("base_model", "num_frames", "moves"),
    [("demo", 16, False), ("demo", 17, True), ("stable-diffusion-v1-5/stable-diffusion-v1-5", 16, True)],
)
def test_previews_move_where_the_clip_is_long_or_that_costs_little(base_model: str, num_frames: int, moves: bool):
    values = catalog.complete({"base_model": base_model, "prompt": "x", "num_frames": num_frames, "seed": 1})
    assert is_moving(GenerationRequest.build(**values)) is moves
