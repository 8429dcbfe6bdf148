"""Estimates grow with what is asked, and what is changed so that a clip fits lets it fit."""

import pytest

from pipelines.plan.catalog import STABLE_DIFFUSION
from pipelines.plan.events import Stage
from pipelines.plan.plan import plan_of
from pipelines.plan.planner.estimate import Budget, advice, estimate, estimate_all, fit, peak_bytes
from pipelines.plan.planner.machine import Machine, ram_bytes, this_machine
from pipelines.plan.request import GenerationRequest

CARD = Machine("cuda", "bfloat16", 0)
CPU = Machine("cpu", "bfloat16", 1)
LENT = Machine("zerogpu", "bfloat16", 0)
GB = 1e9


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def request(**values) -> GenerationRequest:
    return GenerationRequest.build(seed=0, **{"base_model": STABLE_DIFFUSION} | values)


def test_before_any_clip_it_is_rough_and_its_parts_are_the_whole():
    found = estimate(request(), machine=CARD)
    assert found.is_rough
    assert found.seconds == pytest.approx(sum(found.stages.values()))
    assert (found.zero_gpu_seconds, found.turns, found.clips) == (None, 1, 1)


def test_a_lent_device_is_held_while_it_computes_and_costs_by_the_platform_s_factor(monkeypatch):
    monkeypatch.setenv("MAX_GPU_SECONDS", "60")
    plain = estimate(request(), machine=LENT)
    assert plain.zero_gpu_seconds == pytest.approx(1.5 * plain.device_seconds)
    assert 0 < plain.device_seconds < plain.seconds  # files are written without the device
    finished = request(interpolation="film", interpolation_frames=3, upscale_by=2, formats=("MP4", "GIF"))
    more = estimate(finished, machine=LENT)
    assert more.zero_gpu_seconds == pytest.approx(plain.zero_gpu_seconds)
    assert more.seconds > plain.seconds + 10
    followed = request(
        source_video="0" * 64,
        strength=1,
        controls=[{"model": "a", "preprocessor": "depth_midas", "end": 0.01}],
    )
    assert estimate(followed, machine=LENT).device_seconds > plain.device_seconds


def test_a_clip_that_is_longer_than_a_turn_takes_several(monkeypatch):
    monkeypatch.setenv("MAX_GPU_SECONDS", "60")
    long = request(num_frames=256)
    found = estimate(long, machine=LENT)
    assert found.turns == -(-found.device_seconds // 54) > 1
    assert estimate(long, clips=3, machine=LENT).turns >= 3 * (found.turns - 1)
    assert estimate(long.extended_by(16), machine=LENT).turns == 1  # an extension is not kept between turns
    monkeypatch.setenv("MAX_GPU_SECONDS", "600")
    assert estimate(long, machine=LENT).turns == 1


def test_several_clips_load_once_and_follow_what_is_kept():
    wanted = request(source_video="0" * 64, controls=[{"model": "a", "preprocessor": "depth_midas"}])
    one, three = (estimate(wanted, clips=clips, machine=CARD) for clips in (1, 3))
    assert three.clips == 3
    assert three.stages[Stage.DENOISE] == pytest.approx(3 * one.stages[Stage.DENOISE])
    assert three.stages[Stage.WRITE] == pytest.approx(3 * one.stages[Stage.WRITE])
    assert three.stages[Stage.LOAD] < 1.1 * one.stages[Stage.LOAD]
    assert three.stages[Stage.PREPROCESS] < 2 * one.stages[Stage.PREPROCESS]
    assert three.peak_bytes_device == one.peak_bytes_device


def test_clips_that_differ_add_up():
    small, large = request(num_inference_steps=5), request(width=768, num_inference_steps=10)
    both = estimate_all([small, large], machine=CARD)
    alone = [estimate(one, machine=CARD) for one in (small, large)]
    assert both.stages[Stage.DENOISE] == pytest.approx(sum(one.stages[Stage.DENOISE] for one in alone))
    assert both.peak_bytes_device == max(one.peak_bytes_device for one in alone)


def test_memory_of_stable_diffusion_is_weights_and_what_lives_in_a_call():
    """3.04 GB of weights in 16 bits and 2.04 GiB of values in a guided call, as counted elsewhere."""
    device, _ = peak_bytes(plan_of(request()), CARD)
    assert device == pytest.approx(0.5e9 + 3.04e9 + 2.04 * 2**30, rel=0.03)


@pytest.mark.parametrize("change", [{"width": 768}, {"context_length": 32, "num_frames": 32}, {"hires_scale": 1.5}])
def test_a_larger_window_takes_more_of_the_device(change):
    assert peak_bytes(plan_of(request(**change)), CARD)[0] > peak_bytes(plan_of(request()), CARD)[0]


def test_a_longer_clip_takes_no_more_of_the_device_and_its_latents_of_the_memory():
    (card, ram), (card_long, ram_long) = (peak_bytes(plan_of(request(num_frames=n)), CARD) for n in (16, 1016))
    assert card == card_long
    assert ram_long - ram == pytest.approx(1000 * 2 * 16 * 64 * 64)


@pytest.mark.parametrize("gigabytes", [4.6, 5.0, 6.0, 8.0, 12.0])
@pytest.mark.parametrize(
    "large",
    [
        {"width": 1024, "height": 1024, "num_frames": 32, "context_length": 32},
        {"hires_scale": 2.0},
        {"num_frames": 64, "context_length": 64, "inner_length": 16, "guidance_scale": 1.0},
        {"num_frames": 24, "width": 1024, "extended_from": (16,)},
    ],
)
def test_what_is_changed_lets_it_fit(large, gigabytes):
    budget = Budget(gigabytes * GB, None)
    wanted = request(**large)
    if budget.holds(estimate(wanted, machine=CARD)):
        assert fit(wanted, budget, machine=CARD) == {}
        return
    changes = fit(wanted, budget, machine=CARD)
    assert changes
    fitting = GenerationRequest.build(**wanted.model_dump() | changes)
    assert budget.holds(estimate(fitting, machine=CARD))
    assert advice(changes).endswith(".")
    assert "machine" not in advice(changes)


def test_the_second_pass_goes_before_the_window_and_the_window_before_the_size():
    wanted = request(hires_scale=1.5, num_frames=16)
    tight = peak_bytes(plan_of(request(num_frames=16)), CARD)[0] / 0.92
    assert fit(wanted, Budget(tight * 1.001, None), machine=CARD) == {"hires_scale": 1.0}
    shorter = fit(wanted, Budget(tight * 0.95, None), machine=CARD)
    assert shorter == {"hires_scale": 1.0, "context_length": 12}
    assert advice(shorter) == "Leave out the second pass and shorten the window to 12 frames."


def test_where_nothing_helps_that_is_said():
    assert fit(request(), Budget(1 * GB, None), machine=CARD) == {}
    assert "smaller model" in advice({})


def test_several_windows_a_call_take_as_many_times_the_memory(monkeypatch):
    alone = peak_bytes(plan_of(request(num_frames=64)), CARD)[0]
    monkeypatch.setenv("STUDIO_WINDOWS", "4")
    assert peak_bytes(plan_of(request(num_frames=64)), CARD)[0] > alone + 3 * 2e9
    assert peak_bytes(plan_of(request(num_frames=16)), CARD)[0] == alone


def test_this_machine_has_memory_and_a_way_to_compute():
    assert ram_bytes() > 0.1 * GB
    assert this_machine().bytes_a_value in (2, 4)
