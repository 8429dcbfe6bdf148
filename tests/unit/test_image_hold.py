"""The blend of first and last picture: sd-webui-animatediff's numbers, and our room for noise."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.plan.image_falloff import hold_weights
from pipelines.plan.request import GenerationRequest

FIRST, LAST = "1" * 64, "2" * 64


def weights(**fields):
    return hold_weights(GenerationRequest.build(**{"seed": 0, "first_frame": FIRST, "noise_floor": 0, **fields}))


def test_one_picture_fades_evenly_by_default():
    falloff = weights(num_frames=16)
    assert [a for a, _ in falloff] == [1 - i / 32 for i in range(16)]
    assert falloff[15][0] == 0.53125


def test_the_curve_bends_it():
    falloff = [a for a, _ in weights(num_frames=8, latent_power=2)]
    assert falloff == pytest.approx([1, 0.96875, 0.875, 0.71875, 0.5, 0.21875, 0, 0])


def test_two_pictures_with_the_seeds_defaults_leave_no_noise():
    falloff = weights(num_frames=16, last_frame=LAST)
    assert [round(a, 4) for a, _ in falloff[:3]] == [1, 0.6327, 0.6122]
    assert [round(a, 4) for a, _ in falloff[-2:]] == [0.3673, 0]
    assert all(a + b == pytest.approx(1) for a, b in falloff)


def test_beyond_33_frames_noise_appears_between_them():
    falloff = weights(num_frames=48, last_frame=LAST)
    assert min(a + b for a, b in falloff) < 1


@given(
    st.integers(1, 80),
    st.booleans(),
    st.floats(0.1, 10),
    st.floats(1, 128),
    st.floats(0.1, 10),
    st.floats(1, 128),
    st.floats(0, 1),
)
def test_shares_are_shares_and_the_floor_is_kept(frames, two, power, scale, power_last, scale_last, floor):
    last = {"last_frame": LAST, "latent_power_last": power_last, "latent_scale_last": scale_last} if two else {}
    falloff = weights(num_frames=frames, latent_power=power, latent_scale=scale, noise_floor=floor, **last)
    assert len(falloff) == frames
    for i, (a, b) in enumerate(falloff):
        assert 0 <= a <= 1
        assert 0 <= b <= 1
        assert a + b <= 1 + 1e-9
        if 0 < i < frames - 1:
            assert 1 - a - b >= floor - 1e-9
    assert falloff[-1] == (0, 1) if two else falloff[0] == (1, 0)
