"""The infotext of the host and of every version of sd-webui-animatediff, and what tries to break its reader."""

import json
import time

import pytest

from api.recipes.infotext import fields_of_infotext, is_infotext
from api.recipes.infotext_parts import MAX_CHARACTERS, parse_infotext
from api.recipes.model_names import model_named
from api.recipes.webui_args import faults_of_args, fields_of_args
from pipelines.plan.choices import ClosedLoop, HiresMethod, Interpolation, Reverse, Scheduler
from pipelines.plan.errors import InvalidRequestError, UserError
from studio.modes import Mode

HOST = (
    "a cat, (best quality:1.2)\n0: spring <lora:fur:0.8>\n8: summer\n"
    "Negative prompt: ugly,\nblurry\n"
    "Steps: 20, Sampler: DDIM, CFG scale: 7.5, Seed: 7, Size: 512x768, Model hash: cc6cb27103, "
    "Model: v1-5-pruned-emaonly, Clip skip: 2"
)
V2 = (
    "model: mm_sd15_v3.safetensors, video_length: 32, fps: 12, loop_number: 1, closed_loop: R+P, batch_size: 16, "
    "stride: 2, overlap: 4, interp: Off, interp_x: 10, freeinit_enable: False, mm_hash: fcc6d9c8, version: v2.0.1-a"
)
QUOTED = f"AnimateDiff: {json.dumps(V2)}"
OLD_ARGS = {
    "enable": True,
    "model": "mm_sd_v15_v2.ckpt",
    "video_length": 32,
    "fps": 12,
    "loop_number": 1,
    "closed_loop": "R+P",
    "batch_size": 16,
    "stride": 2,
    "overlap": 4,
}
SAMPLES = {
    "2.0 quoted": f"{HOST}, {QUOTED}, Version: v1.9.4",
    "not quoted by a copy": f'{HOST}, Version: v1.9.4, AnimateDiff: "{V2}"',
    "a JSON object": f"{HOST}, AnimateDiff: {json.dumps(OLD_ARGS)}, Version: v1.7.0",
    "a Python dict": f"{HOST}, AnimateDiff: {OLD_ARGS}, Version: v1.7.0",
    "a quoted Python dict": f"{HOST}, AnimateDiff: {json.dumps(str(OLD_ARGS))}, Version: v1.7.0",
    "CR LF": f"{HOST}, {QUOTED}".replace("\n", "\r\n"),
    "a template below": f"{HOST}, {QUOTED}\nTemplate: a __pet__",
}


@pytest.mark.parametrize("text", SAMPLES.values(), ids=SAMPLES)
def test_every_version_says_the_same(text):
    fields, notes, mode = fields_of_infotext(text)
    assert fields["prompt"] == "a cat, (best quality:1.2)\n0: spring <lora:fur:0.8>\n8: summer"
    assert fields["negative_prompt"] == "ugly,\nblurry"
    assert {name: fields[name] for name in ("num_inference_steps", "guidance_scale", "seed", "clip_skip")} == {
        "num_inference_steps": "20",
        "guidance_scale": "7.5",
        "seed": "7",
        "clip_skip": 1,
    }
    assert (fields["width"], fields["height"], fields["scheduler"]) == (512, 768, Scheduler.DDIM)
    assert fields["base_model"] == "stable-diffusion-v1-5/stable-diffusion-v1-5"
    assert fields["motion_module"].startswith("guoyww/animatediff/")
    assert (fields["num_frames"], fields["fps"], fields["loop_count"]) == (32, 12, 1)
    assert (fields["context_length"], fields["context_stride"], fields["context_overlap"]) == (16, 2, 4)
    assert fields["closed_loop"] is ClosedLoop.PROMPTS
    assert notes == []
    assert mode is Mode.TXT2VID


def test_the_txt_of_version_1_is_a_python_dict():
    settings = {"parameters": f"{HOST}, Version: v1.6.0", "motion_module": "mm_sd_v15_v2.ckpt", "video_length": 24}
    fields, notes, _ = fields_of_infotext(str(settings | {"fps": 6, "loop_number": 2}))
    assert fields["prompt"].endswith("8: summer")
    assert (fields["num_frames"], fields["fps"], fields["loop_count"], notes) == (24, 6, 2, [])
    assert fields["motion_module"] == "guoyww/animatediff/mm_sd_v15_v2.ckpt"


def test_what_has_no_counterpart_is_told_by_name():
    text = (
        "x\nSteps: 20, Sampler: UniPC, Schedule type: Karras, Model: my mix, ENSD: 31337, VAE: own.pt, Size: big, "
        'ControlNet 0: "Module: canny, Model: control_v11p", Denoising strength: 0.6, AnimateDiff: "'
        'model: mine.ckpt, fps: eight, request_id: a, b, new_key: 1, video_path: /home/me"'
    )
    fields, notes, mode = fields_of_infotext(text)
    message = " ".join(notes)
    for name in ("Sampler", "Schedule type (Karras)", "my mix", "ENSD (31337)", "own.pt", "Size", "ControlNet 0"):
        assert name in message
    for name in ("mine.ckpt", "AnimateDiff fps must be a number above 0, got eight.", "request_id", "new_key"):
        assert name in message
    assert "Choose again, since the files are not named by content: Source clip." in notes
    assert mode is Mode.IMG2VID
    assert "Choose again: First frame" in message
    assert fields == {"prompt": "x", "negative_prompt": "", "num_inference_steps": "20", "strength": "0.6"}


def test_a_denoising_strength_belongs_to_the_second_pass_if_there_is_one():
    end = "Denoising strength: 0.6, Hires upscale: 2, Hires upscaler:"
    fields, notes, mode = fields_of_infotext(f"x\nSteps: 20, {end} Latent (bicubic)")
    assert (fields["hires_scale"], fields["hires_strength"], fields["hires_method"]) == ("2", "0.6", HiresMethod.LATENT)
    assert (mode, notes) == (Mode.TXT2VID, [])
    fields, notes, _ = fields_of_infotext(f"x\nSteps: 20, {end} R-ESRGAN 4x+")
    assert fields["hires_method"] is HiresMethod.PIXEL
    assert "R-ESRGAN 4x+" in notes[0]


def test_a_base_model_that_fits_the_motion_module_stands_in_for_one_that_is_not_here():
    fields, _, _ = fields_of_infotext('x\nSteps: 9, Model: my mix, AnimateDiff: "model: mm_sd15_v3.safetensors"')
    assert fields["base_model"] == "stable-diffusion-v1-5/stable-diffusion-v1-5"


@pytest.mark.parametrize(
    ("written", "means"),
    [
        ("[0, 2]", Reverse.DROP_TAIL),
        ("['Add Reverse Frame']", Reverse.APPEND),
        ("[Add Reverse Frame, Remove head]", Reverse.DROP_HEAD),
        ("[]", Reverse.OFF),
    ],
)
def test_a_list_among_the_arguments_is_read_to_its_end(written: str, means: Reverse):
    module = "model: mm_sd15_v3.safetensors"
    fields, _, _ = fields_of_infotext(f'x\nSteps: 9, AnimateDiff: "{module}, reverse: {written}, fps: 9"')
    assert (fields["reverse"], fields["fps"]) == (means, 9)


HOSTILE = {
    "long": "Steps: 1, " + "a: b, " * 200_000,
    "one long word": "Steps: 1, " + "a" * 1_000_000,
    "a quote that never ends": 'x\nSteps: 1, A: "' + "b, " * 300_000,
    "quotes": "x\nSteps: 1, " + 'A: "b, ' * 140_000,
    "backslashes": 'x\nSteps: 1, A: "' + "\\" * 900_000,
    "braces": "x\nSteps: 1, " + "A: {b, " * 140_000,
    "colons": "x\nSteps: 1, " + ":" * 900_000,
    "spaces": "x\nSteps: 1, " + " " * 900_000 + "a",
    "lines": "Negative prompt:\n" * 60_000 + "Steps: 1",
    "a dict": "x\nSteps: 1, AnimateDiff: {" + "'a': '" * 150_000 + "}",
    "arguments": 'x\nSteps: 1, AnimateDiff: "' + "a: b, " * 150_000 + '"',
    "nested": "{" * 500_000,
    "nested lists": '{"parameters": ' + "[" * 500_000,
    "NUL": 'x\0\nSteps: 1, A\0: \0, AnimateDiff: "fps: \0"',
    "numbers": f'x\nSteps: 1, Clip skip: {"9" * 9_000}, Size: {"9" * 9_000}x1, AnimateDiff: "fps: {"9" * 9_000}"',
    "surrogates": "\ud800\nSteps: 1, \ud800: \ud800",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_nothing_breaks_the_reader_or_makes_it_slow(text):
    start = time.perf_counter()
    if is_infotext(text):
        fields, notes, _ = fields_of_infotext(text)
        assert set(fields) <= {"prompt", "negative_prompt", "num_inference_steps"}
        assert sum(map(len, notes)) < 10_000
    else:
        with pytest.raises(UserError) as refused:
            fields_of_infotext(text)
        assert len(str(refused.value)) < 400
    assert time.perf_counter() - start < 5  # quadratic time would be minutes


def test_too_long_a_text_and_words_alone_are_refused():
    with pytest.raises(UserError, match=r"^infotext must have at most"):
        parse_infotext("x" * (MAX_CHARACTERS + 1))
    with pytest.raises(UserError, match=r"^file must carry a recipe or an infotext with 'Steps: …', got 'a cat'\."):
        parse_infotext("a cat")
    assert not is_infotext('{"prompt": "a cat"}')
    assert is_infotext(HOST)


def test_arguments_become_fields():
    args = {
        "video_length": 16,
        "reverse": [0, 1, 2],
        "interp": "FILM",
        "interp_x": 3,
        "closed_loop": True,
        "format": ["GIF", "PNG", "Frame", "GIF"],
        "freeinit_enable": True,
        "freeinit_filter": "gaussian",
        "freeinit_ds": 0.5,
        "latent_power": 2,
        "latent_scale_last": 16.5,
    }
    fields, notes = fields_of_args(args)
    assert fields["reverse"] is Reverse.DROP_BOTH
    assert fields["interpolation"] is Interpolation.FILM
    assert (fields["interpolation_frames"], fields["keep_duration"]) == (round((30 * 3 - 30) / 29), False)
    assert fields["closed_loop"] is ClosedLoop.WINDOWS
    assert fields["formats"] == ["GIF", "PNG"]
    assert (fields["free_init_iterations"], fields["free_init_filter"]) == (3, "gaussian")
    assert fields["free_init_spatial_stop"] == 0.5
    assert (fields["latent_power"], fields["latent_scale_last"]) == (2, 16.5)
    assert notes == ["The format Frame has no counterpart."]


@pytest.mark.parametrize(
    ("args", "frames"),
    [
        ({"video_length": 24}, 24),
        ({"video_length": 0, "batch_size": 12}, 12),
        ({"video_length": 0}, 16),
        ({"video_length": 0, "video_path": "x"}, None),
        ({}, None),
    ],
)
def test_no_frames_mean_a_window_or_the_source(args, frames):
    assert fields_of_args(args)[0].get("num_frames") == frames


@pytest.mark.parametrize(("times", "between"), [(2, 1), (3, 2), (4, 3), (5, 4), (8, 7), (10, 10)])
def test_frames_between_are_counted_as_the_host_counts(times, between):
    fields, _ = fields_of_args({"video_length": 16, "interp": "FILM", "interp_x": times})
    assert fields["interpolation_frames"] == between


def test_no_frames_between_where_the_host_adds_none():
    for args in ({"interp_x": 1}, {"video_length": 1}):
        assert fields_of_args({"video_length": 16, "interp": "FILM"} | args)[0]["interpolation"] is Interpolation.OFF


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("fps", 0),
        ("fps", True),
        ("fps", float("inf")),
        ("video_length", -1),
        ("video_length", 1.5),
        ("closed_loop", "X"),
        ("closed_loop", []),
        ("format", []),
        ("format", [[]]),
        ("format", {"GIF": 1}),
        ("reverse", [3]),
        ("reverse", "x"),
        ("interp", []),
        ("interp", "RIFE"),
        ("enable", 2),
        ("enable", "maybe"),
        ("model", 3),
        ("batch_size", "16 frames"),
        ("nothing", 1),
    ],
)
def test_a_wrong_argument_is_named(key, value):
    assert list(faults_of_args({key: value, "stride": 1})) == [key]
    with pytest.raises(InvalidRequestError, match=rf"^AnimateDiff {key} must "):
        fields_of_args({key: value})


@pytest.mark.parametrize(
    ("field", "name", "model_id"),
    [
        ("motion_module", "v3_sd15_mm.ckpt", "guoyww/animatediff/v3_sd15_mm.ckpt"),
        ("motion_module", "mm_sd15_v2.safetensors [abcdef12]", "guoyww/animatediff/mm_sd_v15_v2.ckpt"),
        (
            "motion_module",
            "sub/folder\\mm_sd15_AnimateLCM.safetensors",
            "wangfuyun/AnimateLCM/AnimateLCM_sd15_t2v.ckpt",
        ),
        ("base_model", "Stable Diffusion 1.5", "stable-diffusion-v1-5/stable-diffusion-v1-5"),
        ("base_model", "sd_xl_base_1.0", "stabilityai/stable-diffusion-xl-base-1.0"),
        ("base_model", "", None),
        ("base_model", "…", None),
        ("vae", "unknown.pt", None),
    ],
)
def test_models_are_found_by_the_names_others_give_them(field, name, model_id):
    assert model_named(field, name) == model_id


@pytest.mark.parametrize("end", ["\x1a", "\0", "\r\n\x1a", "\ufeff"])
def test_signs_that_end_a_file_are_no_part_of_its_last_setting(end):
    fields, notes, _ = fields_of_infotext(f"x\nSteps: 20, Sampler: Automatic, Size: 512x384{end}")
    assert (fields["width"], fields["height"], notes) == (512, 384, [])
    assert "scheduler" not in fields
