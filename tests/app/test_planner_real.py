"""The real engine leaves a measurement behind, and the plan counted what it did."""

import pytest

from pipelines.plan.draft import draft_of
from pipelines.plan.events import Clip, Progress, Stage
from pipelines.plan.plan import plan_of
from pipelines.plan.planner.estimate import estimate
from pipelines.plan.planner.machine import read_rates, this_machine
from studio.engine import build_request, make_clip

SMALL = {"base_model": "demo", "prompt": "a red circle", "num_frames": 4, "num_inference_steps": 4, "seed": 1}


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, tmp_path, environment):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    environment(STUDIO_DTYPE="float32", STUDIO_THREADS="1")


@pytest.mark.parametrize(
    "more", [{"hires_scale": 1.5, "hires_method": "pixel"}, {"num_frames": 20, "closed_loop": "full"}]
)
def test_a_clip_is_recorded_with_the_windows_it_had(more, tmp_path):
    request = build_request(**SMALL | {"width": 64, "height": 64} | more)
    assert estimate(request).is_rough
    events = list(make_clip(request, tmp_path))
    told = [
        event
        for event in events
        if isinstance(event, Progress) and event.stage is Stage.DENOISE and event.share is None
    ]
    assert plan_of(request).windows == len(told) == told[-1].total
    assert isinstance(events[-1], Clip)
    assert {"load demo", "unet demo", "vae demo", "write MP4"} <= read_rates(this_machine()).keys()
    found = estimate(request.model_copy(update={"seed": 2}))
    assert not found.is_rough
    assert found.stages[Stage.LOAD] == 0  # they are in memory
    another_seed = list(make_clip(request.model_copy(update={"seed": 2}), tmp_path))
    assert found.seconds == pytest.approx(another_seed[-1].seconds, rel=0.5, abs=0.5)


def test_the_time_left_ends_at_nothing(tmp_path):
    *told, _ = make_clip(build_request(**SMALL | {"width": 64, "height": 64}), tmp_path)
    assert all(event.eta_s is not None and event.eta_s >= 0 for event in told)
    assert told[0].eta_s > told[-1].eta_s
    assert told[-1].eta_s < 0.5


def test_what_comes_behind_the_engine_is_told_measured_and_stopped(tmp_path):
    finishing = {"interpolation": "flow", "interpolation_frames": 3, "upscale_by": 2, "color_match": "first"}
    files = {"formats": ("MP4", "GIF"), "max_file_mb": 0.02}
    request = build_request(**SMALL | {"width": 64, "height": 64} | finishing | files)
    *told, clip = make_clip(request, tmp_path)
    drawn = [event for event in told if event.stage is Stage.DECODE]
    assert [(event.step, event.total) for event in drawn] == [(number, 16) for number in range(1, 17)]
    assert clip.num_frames == 16  # 13, and the last held: the clip lasts as long as without frames between
    notes = [event.note for event in told if event.stage is Stage.WRITE]
    assert notes[:2] == ["Finishing the MP4", "Finishing the GIF"]
    assert "Making the GIF smaller, frame 16 of 16" in notes
    rates = read_rates(this_machine())
    assert set(rates) >= {"match colours", "between flow", "enlarge lanczos", "write MP4", "write GIF"}
    assert all(rate > 0 for rate in rates.values())
    found = estimate(request)
    assert found.stages[Stage.WRITE] > 0.05

    events = make_clip(request, tmp_path / "stopped")
    next(event for event in events if isinstance(event, Progress) and event.note.startswith("Making the"))
    events.close()
    assert not list((tmp_path / "stopped").rglob("*"))


def test_a_draft_can_be_made(tmp_path):
    draft = draft_of(build_request(**SMALL)).model_copy(update={"draft": 2, "width": 64, "height": 64})
    assert draft.num_inference_steps == 4
    *_, clip = make_clip(draft, tmp_path)
    assert clip.files[0].stat().st_size > 0
