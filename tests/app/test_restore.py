"""A dropped file restores the page: what Generate sends afterwards is the request the file carries."""

import json
from fractions import Fraction

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from api.command_line.main import main
from media.write import open_clip
from pipelines.plan.choices import OutputFormat
from pipelines.plan.request import GenerationRequest
from studio.engine import build_request
from studio.jobs import Jobs
from studio.stored_inputs import keep
from tests.app.conftest import page_of
from tests.app.fake_engine import FakeEngine
from tests.app.test_page import wait_until
from tests.app.test_wiring import answer, generate_event, on_the_page
from ui.inputs.control_units import UNITS, part
from ui.inputs.modes import request_fields
from ui.parts.page_values import PageValues

UPDATE = "__type__"


@pytest.fixture(scope="module")
def page() -> gr.Blocks:
    return page_of(FakeEngine().make_clip)


@pytest.fixture
def uploads(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def hashes(tmp_path) -> list[str]:
    """Files that were uploaded before, by their hashes."""
    found = []
    for level in (40, 90, 200):
        path = tmp_path / f"{level}.png"
        Image.fromarray(np.full((48, 64, 3), level, np.uint8)).save(path)
        found.append(keep([path], field="first_frame"))
    return found


def event_named(page, name):
    (found,) = (event for event in page.fns.values() if event.name == name)
    return found


def drop(page, folder, text, name="recipe.json") -> dict:
    (folder / name).write_text(text, encoding="utf-8")
    return by_id(event_named(page, "dropped").fn({"path": str(folder / name), "orig_name": name}))


def by_id(told) -> dict:
    return {block.elem_id: value for block, value in told.items()}


def value_of(shown):
    return shown.get("value") if isinstance(shown, dict) and UPDATE in shown else shown


def pressed(page, shown) -> GenerationRequest:
    """What Generate makes of the page afterwards."""
    event = generate_event(page)
    names = [control.elem_id for control in event.inputs]
    sent = dict(zip(names, on_the_page(event), strict=True))
    assert set(sent) - {"visitor"} <= set(shown)
    sent |= {name: value_of(shown[name]) for name in names if name in shown}
    return build_request(**request_fields(PageValues(sent)))


def test_every_control_shows_what_the_recipe_says(page, uploads):
    other = {
        "prompt": "0: a\n8: b",
        "seed": 7,
        "fps": Fraction(24000, 1001),
        "motion_scale": "0: 0.5, 15: 1.5",
        "extended_from": (14,),
        "formats": ["GIF", "MP4"],
        "motion_module": "demo-lcm",
        "webp_lossless": True,
        "guidance_scale": 3.3,
    }
    request = GenerationRequest.build(**other)
    shown = drop(page, uploads, request.to_json())
    assert pressed(page, shown) == request
    assert (shown["fps"], shown["motion_scale"], shown["extended_from"]) == (23.976, "0: 0.5, 15: 1.5", "14")
    assert shown["restore"] is None
    assert "Restored from recipe.json." in shown["restore_told"]["value"]
    assert "<li>" not in shown["restore_told"]["value"]
    assert not shown["kept"]["visible"]


def test_the_lists_of_models_fit_the_base_model(page, uploads):
    request = build_request(prompt="x", seed=1, base_model="stabilityai/stable-diffusion-xl-base-1.0")
    shown = drop(page, uploads, request.to_json())
    assert shown["base_model"]["value"] == request.base_model
    offered = [model for _, model in shown["motion_module"]["choices"]]
    assert request.motion_module in offered
    assert "demo" not in offered
    assert "Stable Diffusion XL" in shown["model_line"]
    assert pressed(page, shown) == request


def test_pictures_and_units_come_back_by_their_hashes(page, uploads, hashes):
    first, last, third = hashes
    units = [
        {
            "model": "demo-canny",
            "preprocessor": "canny",
            "options": {"low": 50, "high": 160},
            "clip": third,
            "weight": "0: 1, 8: 0.2",
            "end": 0.5,
            "fit": "pad",
            "key_frames": [0, -1],
            "falloff": [0.5],
            "guess_mode": True,
        }
    ]
    request = GenerationRequest.build(
        seed=1, first_frame=first, last_frame=last, latent_scale=12, exact_ends=False, strength=0.5, controls=units
    )
    shown = drop(page, uploads, request.to_json())
    assert pressed(page, shown) == request
    assert (shown["mode"], shown["modes"].selected, shown["steering"]["visible"]) == ("img2vid", "img2vid", True)
    assert (shown["control_1_enabled"], shown["control_2_enabled"]) == (True, False)
    assert shown["kept"]["visible"]
    assert shown["kept_told"].count("<img") == 3
    assert "First frame" in shown["kept_told"]
    gone = by_id(event_named(page, "forgotten").fn())
    assert gone["kept_inputs"] == ""


def test_a_file_chosen_now_goes_before_one_that_was_kept(page, uploads, hashes):
    shown = drop(page, uploads, GenerationRequest.build(seed=1, first_frame=hashes[0]).to_json())
    assert pressed(page, shown | {"first_frame": {"path": str(uploads / "200.png")}}).first_frame == hashes[2]


def test_a_source_and_its_mask_come_back_with_the_length_of_the_recipe(page, uploads, hashes):
    with open_clip(
        uploads, stem="clip", formats=(OutputFormat.MP4,), fps=Fraction(25), width=64, height=48, recipe=""
    ) as writer:
        writer.write(np.full((10, 48, 64, 3), 90, np.uint8))
    source = keep(writer.files, field="source_video")
    request = GenerationRequest.build(
        seed=1, source_video=source, mask=hashes[0], num_frames=4, fps=8, source_every=2, mask_feather=9
    )
    shown = drop(page, uploads, request.to_json())
    assert pressed(page, shown) == request
    assert shown["mode"] == "vid2vid"
    assert "64 × 48 pixels, 10 frames" in shown["source_told"]
    assert shown["mask_painting"]["background"].shape == (48, 64, 3)


def test_image_prompts_come_back_and_what_has_no_place_is_told(page, uploads, hashes):
    unit = {"model": "h94/IP-Adapter/ip-adapter_sd15", "pictures": [[0, hashes[0]], [15, hashes[1]]], "weight": 0.7}
    request = build_request(seed=1, base_model="Lykon/DreamShaper", image_prompts=[unit])
    shown = drop(page, uploads, request.to_json())
    adapters = [model for _, model in shown["image_prompt_model"]["choices"]]
    assert request.image_prompts[0].model in adapters
    assert pressed(page, shown) == request
    units = [{"model": "demo-canny", "preprocessor": "canny", "clip": hashes[2]}] * 4
    many = GenerationRequest.build(seed=1, controls=units, image_prompts=[unit, unit | {"pictures": [[3, hashes[0]]]}])
    shown = drop(page, uploads, many.to_json())
    assert [value_of(shown[part(number, "model")]) for number in range(1, UNITS + 1)] == ["demo-canny"] * 4
    assert "Image prompt 2 has no place on the page." in shown["restore_told"]["value"]


def test_files_that_are_not_here_are_asked_for_and_nothing_is_made_without_them(page, uploads):
    shown = drop(page, uploads, GenerationRequest.build(seed=1, first_frame="ab" * 32).to_json())
    assert "<li>Choose again: First frame (abababababab…).</li>" in shown["restore_told"]["value"]
    assert pressed(page, shown).first_frame == "ab" * 32


def test_what_a_file_says_is_shown_as_text(page, uploads):
    told = '{"made_with": {}, "seed": 1, "<img src=x onerror=1>": 1, "vae": "<b>", "prompt": "<lora:<i>:1>"}'
    shown = drop(page, uploads, told, name="<img src=y>.json")
    line = shown["restore_told"]["value"]
    for markup in ("<img", "<b>", "<i>"):
        assert markup not in line
    assert "Restored from &lt;img src=y&gt;.json." in line


def test_a_file_that_says_nothing_changes_nothing(page, uploads):
    shown = drop(page, uploads, "a cat")
    assert set(shown) == {"restore", "restore_told"}
    assert "file must carry a recipe or an infotext" in shown["restore_told"]["value"]
    refused = by_id(event_named(page, "dropped").fn({"path": "/etc/passwd", "orig_name": "x"}))
    assert "restore must be an uploaded file" in refused["restore_told"]["value"]


@pytest.mark.parametrize(
    ("event", "which"), [("reused", "the clip on show"), ("reused_from_gallery", "the chosen clip")]
)
def test_a_clip_gives_its_settings_back(page, event, which):
    request = GenerationRequest.build(prompt="a star", seed=7, num_frames=9)
    shown = by_id(event_named(page, event).fn(json.dumps(json.loads(request.to_json()), indent=2)))
    assert pressed(page, shown) == request
    assert f"Restored from {which}." in shown["restore_told"]["value"]


@pytest.mark.parametrize("kept", ["[]", "{", '{"first_frame": 7}', '{"first_frame": "../x"}', "[" * 100_000])
def test_what_the_page_never_sends_is_refused(page, kept):
    event = generate_event(page)
    names = [control.elem_id for control in event.inputs]
    sent = dict(zip(names, on_the_page(event, mode="img2vid", kept_inputs=kept), strict=True))
    with pytest.raises(ValueError, match=r"^(kept_inputs|first_frame) must be"):
        build_request(**request_fields(PageValues(sent)))


def test_hashes_of_uploads_that_the_page_never_sends_are_refused(page, uploads):
    values = {"mode": "img2vid", "first_frame": {"path": str(uploads / "200.png")}, "stored_uploads": "["}
    event = generate_event(page)
    sent = dict(zip([control.elem_id for control in event.inputs], on_the_page(event, **values), strict=True))
    with pytest.raises(ValueError, match=r"^stored_uploads must be"):
        request_fields(PageValues(sent))


def test_the_hold_is_drawn_for_a_kept_last_frame(page):
    def hold(**values) -> str:
        return answer(page, "latent_scale", "input", **values)["hold"]

    assert hold(kept_inputs='{"last_frame": "5eed"}') == hold(last_frame={"path": "x"})
    assert hold() != hold(last_frame={"path": "x"})


def test_the_command_line_takes_an_infotext_and_says_what_it_left_out(tmp_path, capsys):
    engine = FakeEngine(step_s=0)
    told = 'a star\nSteps: 2, Sampler: UniPC, Seed: 7, Size: 64x64, Model: demo, AnimateDiff: "video_length: 4"'
    (tmp_path / "told").write_text(told)
    code = main(["--recipe", str(tmp_path / "told"), "-o", str(tmp_path / "clip.mp4")], engine=engine.make_clip)
    (request,) = engine.requests
    assert code == 0
    assert (request.prompt, request.seed, request.num_frames, request.width) == ("a star", 7, 4, 64)
    assert capsys.readouterr().err == "Sampler: 'UniPC' has no counterpart here. Choose one.\n"


def test_the_command_line_goes_by_content(tmp_path, capsys):
    engine = FakeEngine(step_s=0)
    request = GenerationRequest.build(prompt="a star", seed=7, width=64, height=64)
    with open_clip(
        tmp_path,
        stem="clip",
        formats=(OutputFormat.GIF,),
        fps=Fraction(8),
        width=16,
        height=16,
        recipe=request.to_json(),
    ) as writer:
        writer.write(np.zeros((2, 16, 16, 3), np.uint8))
    named_wrongly = writer.files[0].rename(tmp_path / "clip.txt")
    assert main(["--recipe", str(named_wrongly), "-o", str(tmp_path / "a.mp4")], engine=engine.make_clip) == 0
    assert engine.requests == [request]
    assert main(["--recipe", "x" * 5_000, "-o", str(tmp_path / "a.mp4")], engine=engine.make_clip) == 2
    assert "recipe must be JSON or a file" in capsys.readouterr().err


def test_a_page_that_is_loaded_again_shows_what_its_job_was_asked_for_with_the_seeds_as_typed(hashes):
    jobs = Jobs()
    page = page_of(FakeEngine(step_s=0).make_clip, jobs=jobs)
    press, again = generate_event(page), event_named(page, "found_again")
    values = {"prompt": "a star", "seed": "-1", "batch_count": 2, "num_frames": 9, "num_inference_steps": 1}
    kept = json.dumps({"first_frame": hashes[0]})
    job_id = press.fn(*on_the_page(press, mode="img2vid", kept_inputs=kept, **values))
    assert wait_until(lambda: jobs.find(job_id).view.ended)
    shown = by_id(again.fn(job_id))
    assert {name: value_of(shown[name]) for name in values} == values
    assert (shown["mode"], json.loads(shown["kept_inputs"])) == ("img2vid", {"first_frame": hashes[0]})
    for other in ("", None, job_id[:-1]):
        assert by_id(again.fn(other)) == {"restore_told": gr.skip()}
