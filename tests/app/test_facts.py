"""Presets in calls, and the endpoints that make nothing."""

import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from pipelines.plan.presets import PRESETS
from pipelines.plan.request import INPUT_FIELDS
from studio.fields import FIELDS
from tests.app.conftest import served, studio_of

QUICK = {"base_model": "demo", "num_inference_steps": 1}


def test_a_preset_fills_what_a_call_leaves_at_its_default(client, engine):
    client.predict(prompt="x", preset="long", num_frames=16, **QUICK, api_name="/txt2vid")  # 16 is the default
    made = engine.requests[-1]
    assert (made.num_frames, made.noise_layout, made.num_inference_steps) == (64, "shuffle", 1)
    client.predict(prompt="x", preset="long", num_frames=8, **QUICK, api_name="/txt2vid")
    assert engine.requests[-1].num_frames == 8
    client.predict(prompt="x", preset="lcm", base_model="demo", api_name="/txt2vid")
    assert engine.requests[-1].motion_module == "demo-lcm"


@pytest.mark.parametrize("api_name", ["/txt2vid", "/estimate"])
def test_an_unknown_preset_is_refused_by_name(client, engine, api_name):
    before = len(engine.requests)
    with pytest.raises(AppError, match=r"^preset must be one of draft, .* with the base model 'demo', got lightning"):
        client.predict(prompt="x", preset="lightning", base_model="demo", api_name=api_name)
    assert len(engine.requests) == before


def test_an_estimate_counts_all_clips_and_says_what_would_fit(client, engine):
    before = len(engine.requests)
    one, three = (
        client.predict(num_frames=32, base_model="demo", batch_count=count, api_name="/estimate") for count in (1, 3)
    )
    assert one["seconds"] < three["seconds"] <= 3 * one["seconds"] + 0.2  # each is rounded to a tenth
    assert (one["memory_gb"], one["fits"], one["changes"], one["advice"]) == (three["memory_gb"], True, {}, "")
    quick = client.predict(num_frames=32, base_model="demo", preset="draft", api_name="/estimate")
    assert quick["seconds"] < one["seconds"]
    with pytest.raises(AppError, match=r"^num_frames must be"):
        client.predict(num_frames=-1, api_name="/estimate")
    assert len(engine.requests) == before


def test_an_estimate_takes_what_every_endpoint_takes(client, engine, tmp_path):
    for number in range(5):
        Image.new("RGB", (64, 64), (number, 0, 0)).save(tmp_path / f"{number}.png")
    frames = [handle_file(path) for path in sorted(tmp_path.glob("*.png"))]
    unit = {"model": "demo-canny", "preprocessor": "canny"}
    small = {"base_model": "demo", "num_inference_steps": 2, "api_name": "/estimate"}
    plain = client.predict(num_frames=5, **small)["seconds"]
    assert client.predict(source_frames=frames, strength=1, controls=[unit], **small)["seconds"] > plain
    assert client.predict(first_frame=frames[0], num_frames=0, **small)["fits"]
    long = client.predict(source_frames=frames, num_frames=0, **small | {"num_inference_steps": 20})["seconds"]
    assert long < client.predict(num_frames=16, **small | {"num_inference_steps": 20})["seconds"]
    assert not engine.requests[-1].controls


def test_what_will_not_fit_comes_with_changes(client, monkeypatch):
    monkeypatch.setattr("pipelines.plan.planner.estimate.ram_bytes", lambda: 1.2e9)
    large = {"base_model": "demo", "width": 1024, "height": 1024, "hires_scale": 2}
    told = client.predict(**large, api_name="/estimate")
    assert told["fits"] is False
    assert told["changes"]
    assert told["advice"].endswith(".")
    assert client.predict(**large | told["changes"], api_name="/estimate")["fits"] is True


def test_models_are_listed_by_the_names_that_calls_use(client):
    models = client.predict(api_name="/models")
    assert set(models) == {
        *("base_models", "motion_modules", "vaes", "loras", "controlnets", "ip_adapters", "upscalers", "presets")
    }
    assert "demo" in models["base_models"]
    assert "demo-canny" in models["controlnets"]
    assert "demo-zoom-in" in models["loras"]
    assert list(models["presets"]) == [preset.id for preset in PRESETS]
    assert all(text for entries in models.values() for text in entries.values())


def test_every_field_is_listed_once_with_the_ranges_that_hold_here(engine):
    with served(studio_of(engine.make_clip, max_frames=32)) as url:
        client = Client(url, verbose=False)
        listed = [pair for names in client.predict(api_name="/fields").values() for pair in names.items()]
        client.close()
    assert sorted(name for name, _ in listed) == sorted([*FIELDS, *INPUT_FIELDS])
    facts = dict(listed)
    assert facts["num_frames"]["allowed"] == "1 to 32"
    assert facts["scheduler"]["allowed"].startswith("ddim, ")
    assert facts["first_frame"]["kind"] == "file"
