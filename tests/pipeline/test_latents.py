"""The noise of a clip: its layouts, at lengths that fill their windows and that don't."""

import pytest
import torch

from pipelines.engine.latents import clip_noise, initial_noise, seeded_generator
from pipelines.plan.choices import NoiseLayout
from pipelines.plan.request import GenerationRequest


def clip(num_frames: int, layout: str, **settings) -> GenerationRequest:
    values = {"seed": 5, "num_frames": num_frames, "noise_layout": layout, "width": 64, "height": 72}
    return GenerationRequest.build(**values | {"context_length": 8, "context_overlap": 5} | settings)


def noise(num_frames: int, layout: str, **settings) -> torch.Tensor:
    request = clip(num_frames, layout, **settings)
    return clip_noise(request, seeded_generator(request.seed))


def one_draw(num_frames: int, seed: int = 5) -> torch.Tensor:
    return initial_noise(seeded_generator(seed), num_frames=num_frames, height=72, width=64)


def numbers(noise: torch.Tensor, length: int = 8) -> list[int]:
    """For each frame, which frame of the first window has the same noise."""
    first = one_draw(length)
    same = (noise[:, :, :, None] == first[:, :, None]).all(dim=(0, 1, 4, 5))
    assert same.sum(dim=1).eq(1).all()
    return same.int().argmax(dim=1).tolist()


@pytest.mark.parametrize("layout", NoiseLayout)
@pytest.mark.parametrize("num_frames", [1, 7, 8, 9, 21, 40])
def test_noise_has_the_clips_shape_and_the_seed_alone_decides(layout: str, num_frames: int):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    drawn_noise = noise(num_frames, layout)
    assert drawn_noise.shape == (1, 4, num_frames, 9, 8)
    assert drawn_noise.dtype == torch.float32
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(noise(num_frames, layout), drawn_noise)
    assert not torch.equal(noise(num_frames, layout, seed=6), drawn_noise)


def test_one_draw_is_the_default_and_the_draw_of_diffusers():
    assert GenerationRequest.build(seed=1).noise_layout == NoiseLayout.ONE_DRAW
    assert torch.equal(noise(21, "one_draw"), one_draw(21))


@pytest.mark.parametrize("layout", ["repeat", "shuffle"])
@pytest.mark.parametrize("num_frames", [3, 8, 9, 20])
def test_the_first_window_is_one_draw_of_its_length(layout: str, num_frames: int):
    first = min(num_frames, 8)
    assert torch.equal(noise(num_frames, layout)[:, :, :first], one_draw(first))


@pytest.mark.parametrize("layout", ["frame_seeds", "repeat", "shuffle", "constant"])
@pytest.mark.parametrize("shorter", [8, 9, 12, 13, 29])
def test_a_longer_clip_begins_with_the_noise_of_a_shorter_one(layout: str, shorter: int):
    assert torch.equal(noise(30, layout)[:, :, :shorter], noise(shorter, layout))


def test_frame_seeds_are_the_noise_of_stills_with_ascending_seeds():
    drawn_noise = noise(6, "frame_seeds")
    for frame in range(6):
        assert torch.equal(drawn_noise[:, :, frame : frame + 1], one_draw(1, seed=5 + frame))


def test_the_steps_do_not_draw_the_first_frames_noise_again():
    generator = seeded_generator(5)
    drawn_noise = clip_noise(clip(6, "frame_seeds"), generator)
    step = torch.randn(drawn_noise.shape, generator=generator)
    assert not torch.equal(step.flatten()[:64], drawn_noise[:, :, 0].flatten()[:64])


def test_another_iteration_draws_noise_that_no_frame_had():
    request = clip(20, "frame_seeds")
    generator = seeded_generator(request.seed)
    first, second = (clip_noise(request, generator, iteration=number) for number in range(2))
    same = (first[:, :, :, None] == second[:, :, None]).all(dim=(0, 1, 4, 5))
    assert not same.any()


def test_repeat_goes_through_the_first_window_again_and_again():
    assert numbers(noise(21, "repeat")) == [frame % 8 for frame in range(21)]


def test_constant_is_one_frame():
    assert torch.equal(noise(9, "constant"), one_draw(1).expand(-1, -1, 9, -1, -1))


@pytest.mark.parametrize("overlap", [0, 1, 5, 7])
@pytest.mark.parametrize("num_frames", [9, 24, 43])
def test_every_window_of_a_shuffled_clip_sees_each_frame_of_noise_once(overlap: int, num_frames: int):
    order = numbers(noise(num_frames, "shuffle", context_overlap=overlap))
    starts = range(0, num_frames - 7, 8 - overlap)
    assert all(sorted(order[start : start + 8]) == list(range(8)) for start in starts)
    tail = order[starts[-1] + 8 :]
    assert len(set(tail)) == len(tail)


def test_a_shuffled_clip_is_not_a_repeated_one_if_a_stretch_has_frames_to_shuffle():
    assert numbers(noise(40, "shuffle")) != numbers(noise(40, "repeat"))
    assert numbers(noise(40, "shuffle", context_overlap=7)) == numbers(noise(40, "repeat"))


@pytest.mark.parametrize("layout", list(NoiseLayout))
@pytest.mark.parametrize("factor", [2, 4])
def test_the_noise_of_a_draft_is_the_larger_clips_made_small(layout, factor):
    full = GenerationRequest.build(seed=3, num_frames=20, width=256, height=256, noise_layout=layout)
    small = full.model_copy(update={"width": 256 // factor, "height": 256 // factor, "draft": factor})
    noise, large = (clip_noise(clip_request, seeded_generator(3)) for clip_request in (small, full))
    pooled = torch.nn.functional.interpolate(large[0], scale_factor=1 / factor, mode="area") * factor
    torch.testing.assert_close(noise[0], pooled)


def test_the_noise_of_a_draft_is_unit_normal_and_uncorrelated():
    small = GenerationRequest.build(seed=3, num_frames=32, width=256, height=256, draft=2)
    noise = clip_noise(small, seeded_generator(3))
    assert abs(noise.mean()) < 0.01
    assert abs(noise.std() - 1) < 0.01
    assert abs((noise[..., 1:] * noise[..., :-1]).mean()) < 0.01
