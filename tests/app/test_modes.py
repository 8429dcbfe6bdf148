"""What the page's values become: the open tab's inputs count, the others' don't."""

import json
import zipfile
from fractions import Fraction

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from controlnet.preprocessors import PREPROCESSORS
from media.write import open_clip
from pipelines.plan import catalog
from pipelines.plan.choices import OutputFormat
from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.request import GenerationRequest
from studio.control_preview import preview_clip
from studio.engine import build_request, make_clip
from studio.stored_inputs import input_store, keep, keep_source
from tests.app.conftest import page_of
from tests.app.fake_engine import FakeEngine
from tests.app.test_wiring import answer, generate_event, on_the_page, updates
from ui.charts.falloff_chart import hold_html
from ui.inputs.control_units import MOST_OPTIONS, UNITS, control_fields, part, preprocessor_choices
from ui.inputs.modes import preview_fields, request_fields
from ui.inputs.source_size import size_like
from ui.inputs.vid2vid import describe_source
from ui.parts.page_request import PageRequest
from ui.parts.page_values import PageValues


@pytest.fixture(scope="module")
def at_first():
    event = generate_event(page_of(FakeEngine().make_clip))
    names = [control.elem_id for control in event.inputs]
    return lambda **values: dict(zip(names, on_the_page(event, **{"seed": "7"} | values), strict=True))


@pytest.fixture
def uploads(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    return tmp_path


def picture(folder, level=80, name="picture.png") -> dict:
    Image.fromarray(np.full((48, 64, 3), level, np.uint8)).save(folder / name)
    return {"path": str(folder / name)}


def clip(folder, num_frames=10, fps=Fraction(25, 2)) -> dict:
    with open_clip(folder, stem="clip", formats=(OutputFormat.MP4,), fps=fps, width=64, height=48, recipe="") as writer:
        writer.write(np.full((num_frames, 48, 64, 3), 90, np.uint8))
    return {"path": str(folder / "clip.mp4")}


def test_the_first_tab_makes_a_request_of_words_whatever_the_others_hold(at_first, uploads):
    values = at_first(prompt="a star", first_frame=picture(uploads), control_1_enabled=True, strength=0.3)
    request = build_request(**request_fields(PageValues(values)))
    assert request == build_request(**request_fields(PageValues(at_first(prompt="a star"))))
    assert (request.first_frame, request.controls, request.strength) == ("", (), 0.8)


def test_pictures_of_the_second_tab_are_kept_by_their_content(at_first, uploads):
    first, last = picture(uploads), picture(uploads, 200, "last.png")
    values = at_first(
        mode="img2vid", first_frame=first, last_frame=last, latent_scale=12, strength=0.5, exact_ends=False
    )
    request = build_request(**request_fields(PageValues(values)))
    assert request.first_frame != request.last_frame
    assert input_store().probe(request.first_frame).width == 64
    assert (request.latent_scale, request.strength, request.exact_ends) == (12, 0.5, False)
    other = build_request(**request_fields(PageValues(values | {"mode": "vid2vid", "source_video": clip(uploads)})))
    assert (other.first_frame, other.latent_scale) == ("", 32)
    assert other.source_video


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("img2vid", "first_frame must be given in 'Image to video', got none."),
        ("vid2vid", "source_video must be given in 'Video to video', got none."),
        ("else", "mode must be one of txt2vid, img2vid, vid2vid, got else."),
    ],
)
def test_a_tab_without_what_it_needs_is_refused(at_first, mode, words):
    with pytest.raises(InvalidRequestError) as refused:
        request_fields(PageValues(at_first(mode=mode)))
    assert str(refused.value).startswith(words)


def test_a_path_that_was_not_uploaded_is_refused_by_the_name_of_its_field(at_first, uploads):
    for values, field in (
        ({"mode": "img2vid", "first_frame": "/etc/passwd"}, "first_frame"),
        ({"mode": "vid2vid", "source_video": {"path": "/etc/passwd"}}, "source_video"),
        ({"mode": "vid2vid", "source_video": clip(uploads), "mask": [{"path": "/etc/passwd"}]}, "mask"),
        ({"mode": "img2vid", "control_2_enabled": True, "control_2_clip": [{"path": "/etc/passwd"}]}, "Unit 2"),
        ({"image_prompt_model": "x", "image_prompt_picture": {"path": "/etc/passwd"}}, "image_prompts"),
    ):
        with pytest.raises(InvalidRequestError, match=rf"^{field} must be an uploaded file, got something else\."):
            request_fields(PageValues(at_first(**values)))


def test_a_clip_and_pictures_are_not_one_source(at_first, uploads):
    values = at_first(mode="vid2vid", source_video=clip(uploads), source_files=[picture(uploads)])
    with pytest.raises(InvalidRequestError, match=r"^source_video must be one clip, got a clip and other files\."):
        request_fields(PageValues(values))


def test_a_zip_of_pictures_and_masks_brings_both_and_a_mask_of_its_own_wins(at_first, uploads):
    picture(uploads), picture(uploads, 255, "white.png")
    with zipfile.ZipFile(uploads / "both.zip", "w") as packed:
        for index in range(3):
            packed.write(uploads / "picture.png", f"image/{index}.png")
            packed.write(uploads / "white.png", f"mask/{index}.png")
    assert all(keep_source([uploads / "both.zip"]))
    values = at_first(mode="vid2vid", source_files=[{"path": str(uploads / "both.zip")}])
    request = build_request(**request_fields(PageValues(values)))
    assert input_store().probe(request.mask).num_frames == input_store().probe(request.source_video).num_frames == 3
    page, files = page_of(FakeEngine().make_clip), values["source_files"]
    held = answer(page, "source_files", "upload", source_files=files)["stored_uploads"]
    assert build_request(**request_fields(PageValues(values | {"stored_uploads": held}))) == request
    for name, field in (("mask", "mask"), ("control_1_clip", "Unit 1")):  # the same file, as something else
        chosen = values | {name: files, "control_1_enabled": True, "stored_uploads": held}
        with pytest.raises(InvalidRequestError, match=rf"^{field} must be .* got folders image and mask"):
            request_fields(PageValues(chosen))
    own = build_request(**request_fields(PageValues(values | {"mask": [{"path": str(uploads / "white.png")}]})))
    assert own.source_video == request.source_video
    assert own.mask == keep([uploads / "white.png"], field="mask")


def test_a_source_tells_its_length_and_rate_to_the_shared_controls(uploads):
    def described(**values) -> dict:
        return describe_source(PageValues({"source_start": 0, "source_every": 1} | values))

    source = described(source_video=clip(uploads), source_start=1, source_every=2)
    told = "64 × 48 pixels, 10 frames, 12.5 frames per second, 0.8\N{NO-BREAK SPACE}s. 5 of them are used."
    assert told in source["source_told"]
    assert (source["num_frames"], source["fps"]) == (5, 6.25)
    assert source["mask_painting"]["background"].shape == (48, 64, 3)
    assert GenerationRequest.build(fps=float(Fraction(30000, 1001))).fps == Fraction(30000, 1001)
    refused = described(source_video=clip(uploads), source_start=99)
    assert "source_start must be below the length of the clip (10 frames), got 99." in refused.pop("source_told")
    assert refused == {}
    assert described(source_video=clip(uploads, 4, Fraction(240)))["fps"] == 120


def test_an_upload_is_stored_once_and_the_page_holds_its_hash(at_first, uploads, monkeypatch):
    page, chosen = (
        page_of(FakeEngine().make_clip),
        {"mask": [picture(uploads)], "first_frame": picture(uploads, 200)},
    )
    chosen |= {"source_video": clip(uploads)}
    held = ""
    for name, kind in (("mask", "upload"), ("first_frame", "input"), ("source_video", "upload")):
        held = answer(page, name, kind, **chosen, stored_uploads=held)["stored_uploads"]
    assert len(json.loads(held)) == 2  # the mask's file is the picture's, which is named as it
    monkeypatch.setattr("studio.stored_inputs.InputStore.add", None)  # nothing is stored again
    for mode in ("img2vid", "vid2vid"):
        values = at_first(mode=mode, **chosen, stored_uploads=held)
        request = build_request(**request_fields(PageValues(values)))
        assert (len(request.first_frame), len(request.source_video)) == ((64, 0) if mode == "img2vid" else (0, 64))
    gone = answer(page, "source_video", "clear", stored_uploads=held)["stored_uploads"]
    assert json.loads(gone) == {}


def test_an_upload_writes_no_hash_of_a_restored_file(uploads):
    page, kept = page_of(FakeEngine().make_clip), json.dumps({"mask": "ab" * 32})
    chosen = {"first_frame": picture(uploads), "source_video": clip(uploads)}
    for name, kind in (("first_frame", "input"), ("source_video", "upload"), ("source_start", "input")):
        shown = answer(page, name, kind, **chosen, kept_inputs=kept)
        assert "kept_inputs" not in shown  # "Forget" was pressed meanwhile, or a recipe was dropped
        assert "ab" * 32 not in shown["stored_uploads"]


def test_what_was_stored_of_other_paths_is_left_out_by_any_system(uploads):
    page, first = page_of(FakeEngine().make_clip), picture(uploads)
    other = json.dumps({"C:\\uploads\\other.png": "ab" * 32})
    stored = answer(page, "first_frame", "input", first_frame=first, stored_uploads=other)["stored_uploads"]
    assert list(json.loads(stored)) == [first["path"]]


def test_an_upload_that_can_not_be_used_is_refused_once(uploads):
    (uploads / "notes.png").write_text("no picture")
    page, chosen = page_of(FakeEngine().make_clip), {"first_frame": {"path": str(uploads / "notes.png")}}
    with pytest.raises(gr.Error, match="first_frame must be a picture"):
        answer(page, "first_frame", "input", **chosen)
    assert "estimate" in answer(page, "width", "input", **chosen)


def test_the_size_of_the_source_or_the_first_frame_is_taken_with_the_area_there_was(uploads, monkeypatch):
    monkeypatch.setattr(gr, "Info", lambda *_, **__: None)  # there is no visitor to be told
    page = page_of(FakeEngine().make_clip)

    def size(button: str, **values) -> tuple[int, int]:
        told = answer(page, button, "click", **values)
        return told["width"], told["height"]

    source, first = clip(uploads), picture(uploads)
    assert size("source_size", source_video=source, width=512, height=512) == (592, 440)  # of 64 x 48
    assert size("source_size", source_files=[first], width=256, height=512) == (416, 312)
    assert size("first_frame_size", first_frame=first, width=64, height=64) == (88, 64)
    for button, given, words in (
        ("source_size", {}, "source_video must be given, got none."),
        ("first_frame_size", {}, "first_frame must be given, got none."),
        ("first_frame_size", {"first_frame": first, "height": None}, "height must be"),
    ):
        with pytest.raises(gr.Error) as refused:
            answer(page, button, "click", **given)
        assert refused.value.message.startswith(words)


@pytest.mark.parametrize("shape", [(16, 9), (1, 1), (1, 16), (4000, 250), (4096, 4096), (999, 500), (1, 3)])
@pytest.mark.parametrize("area", [64 * 64, 512 * 512, 768 * 512, 1024 * 1024])
def test_a_taken_size_is_one_that_a_request_may_have_and_stays_when_it_is_taken_again(shape, area):
    width, height = size_like(*shape, area=area)
    request = GenerationRequest.build(seed=0, width=width, height=height)
    assert (request.width, request.height) == (width, height)
    assert abs(width / height * shape[1] / shape[0] - 1) < 0.07  # 4 pixels of 64
    assert width * height < max(1.04 * area, 64 * 64 * 1.03 * max(shape) / min(shape))
    again = size_like(*shape, area=width * height)
    assert size_like(*shape, area=again[0] * again[1]) == again


def test_a_control_unit_says_all_that_its_accordion_shows(at_first, uploads):
    values = at_first(
        mode="img2vid",
        control_1_enabled=True,
        control_1_preprocessor="canny",
        control_1_option_1=50,
        control_1_clip=[picture(uploads)],
        control_1_weight="0: 1, 8: 0.2",
        control_1_end=0.5,
        control_1_key_frames="0, 8,-1",
        control_1_falloff="0.5,",
        control_1_guess_mode=True,
    )
    (unit,) = build_request(**request_fields(PageValues(values))).controls
    assert (unit.model, unit.preprocessor, unit.options) == ("demo-canny", "canny", {"low": 50, "high": 200})
    assert (unit.weight, unit.end, unit.guess_mode) == (((0, 1.0), (8, 0.2)), 0.5, True)
    assert (unit.key_frames, unit.falloff) == ((0, 8, -1), (0.5,))
    assert input_store().probe(unit.clip).num_frames == 1


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("key_frames", "0, x", "Unit 2 key_frames must be whole numbers with commas between, got 0, x."),
        ("falloff", "a", "Unit 2 falloff must be numbers with commas between, got a."),
        ("model", None, "Unit 2 must have a model, got none."),
    ],
)
def test_a_unit_s_refusal_says_which_unit(at_first, name, value, words):
    with pytest.raises(InvalidRequestError) as refused:
        control_fields(PageValues(at_first(control_2_enabled=True, **{part(2, name): value})))
    assert str(refused.value).startswith(words)


@pytest.mark.parametrize(
    ("unit", "words"),
    [
        ({"weight": "9"}, "Unit 3 weight must be from 0 to 4"),
        ({"option_1": 999}, "controls must have 'low' from 1 to 255 in unit 3, got 999."),
        ({"key_frames": "x"}, "Unit 3 key_frames must be whole numbers"),
        ({}, "Unit 3 must have a clip to follow, got none."),
    ],
)
def test_a_refusal_names_the_unit_that_is_seen_though_the_request_has_no_other(uploads, unit, words):
    page = page_of(make_clip)
    event = generate_event(page)
    values = {"mode": "img2vid", "first_frame": picture(uploads), "control_3_enabled": True}
    sent = on_the_page(event, **values | {part(3, name): value for name, value in unit.items()})
    with pytest.raises(gr.Error) as refused:
        updates(page, event, *sent)
    assert refused.value.message.startswith(words)


def test_the_page_shows_as_many_units_as_a_request_may_have():
    units = [{"model": "demo-canny"}] * UNITS
    assert len(build_request(seed=0, controls=units).controls) == UNITS
    with pytest.raises(InvalidRequestError, match="controls"):
        build_request(seed=0, controls=[*units, *units[:1]])


def test_another_base_model_brings_its_own_models_to_every_unit():
    page = page_of(FakeEngine().make_clip)
    by_name = answer(page, "base_model", "input", base_model=catalog.STABLE_DIFFUSION)
    assert {part(number, f"option_{MOST_OPTIONS}") for number in range(1, UNITS + 1)} <= by_name.keys()
    chosen = {by_name[part(number, "model")]["value"] for number in range(1, UNITS + 1)}
    assert len(chosen) == 1
    assert chosen != {"demo-canny"}


def test_there_are_sliders_for_every_preprocessor_and_unavailable_ones_are_not_offered():
    assert max(len(one.options) for one in PREPROCESSORS.values()) == MOST_OPTIONS
    offered = [name for _, name in preprocessor_choices("")]
    assert set(offered) == {one.id for one in PREPROCESSORS.values() if not one.unavailable}
    assert preprocessor_choices("lllyasviel/control_v11f1p_sd15_depth")[0][1] == "depth_anything"


def test_an_image_prompt_travels_from_its_first_picture_to_its_last(at_first, uploads):
    first, last = picture(uploads), picture(uploads, 200, "last.png")
    values = at_first(image_prompt_model="x", image_prompt_picture=first, image_prompt_last_picture=last, num_frames=24)
    (unit,) = build_request(**request_fields(PageValues(values))).image_prompts
    assert [frame for frame, _ in unit.pictures] == [0, 23]
    for missing, words in (("model", "a model, got none"), ("picture", "a picture for the first frame, got none")):
        with pytest.raises(InvalidRequestError, match=rf"^image_prompts must have {words}\."):
            request_fields(PageValues(values | {f"image_prompt_{missing}": None}))


def test_a_preview_is_a_video_of_what_the_unit_follows(at_first, uploads, tmp_path):
    values = at_first(mode="vid2vid", source_video=clip(uploads), control_2_preprocessor="invert", width=64, height=64)
    request = build_request(**preview_fields(PageValues(values), 2))
    assert [unit.preprocessor for unit in request.controls] == ["invert"]
    *_, made = preview_clip(request, tmp_path / "run")
    assert made.read_bytes()[4:8] == b"ftyp"
    with pytest.raises(InvalidRequestError, match="controls 1 must have a clip to follow, got none"):
        list(preview_clip(build_request(**preview_fields(PageValues(values | {"mode": "img2vid"}), 2)), tmp_path))


def test_the_hold_is_drawn_for_each_picture_and_says_what_breaks_a_rule():
    one, both = (hold_html(PageRequest.of({"num_frames": 8}), has_last=has_last) for has_last in (False, True))
    assert "Last frame" not in one
    assert one.count("<rect") == 8
    assert both.count("<rect") == 14
    assert "frame 7: first picture 0%, last picture 100%, noise 0%" in both
    assert hold_html(PageRequest.of({"num_frames": 1000}), has_last=False).count("<rect") <= 128
    assert "latent_scale must be" in hold_html(PageRequest.of({"latent_scale": 0}), has_last=False)
