"""Bodies of AUTOMATIC1111's API become requests of ours; what can't is refused by its key."""

import io
import json
import re
from base64 import b64encode
from pathlib import Path

import pytest
from PIL import Image
from pydantic import ValidationError

import api.sdapi.files as sdapi_files
from api.recipes.infotext import fields_of_infotext
from api.recipes.webui_args import _RULES
from api.recipes.webui_names import CONTROL_MODULES, CONTROL_THRESHOLDS
from api.sdapi.answers import infotext_of
from api.sdapi.faults import KeyFaultError, detail_of, details_of_body
from api.sdapi.mapping import chosen_model, read_call
from api.sdapi.models import Img2Img, Options, Txt2Img
from controlnet.preprocessors import get_preprocessor
from pipelines.plan.choices import ClosedLoop, HiresMethod, OutputFormat, Reverse, Scheduler
from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.image_fit import ImageFit
from pipelines.plan.request import GenerationRequest, field_label
from studio.request_inputs import source_facts
from studio.stored_inputs import keep

CANNY = {"model": "control_v11p_sd15_canny [d14c016b]", "module": "canny"}


def picture(color: str = "red", kind: str = "PNG") -> str:
    data = io.BytesIO()
    Image.new("RGB", (64, 64), color).save(data, kind)
    return b64encode(data.getvalue()).decode()


def stored_picture(color: str, folder) -> str:
    path = folder / f"{color}.png"
    Image.new("RGB", (64, 64), color).save(path)
    return keep([path], field="file")


def animatediff(**args) -> dict:
    return {"AnimateDiff": {"args": [{"enable": True, **args}]}}


def txt2img(scripts: dict | None = None, **body):
    return read_call(Txt2Img(alwayson_scripts=scripts or {}, **body), base_model="demo")


def img2img(scripts: dict | None = None, **body):
    return read_call(Img2Img(alwayson_scripts=scripts or {}, **body), base_model="demo")


@pytest.fixture
def files(tmp_path, configure):
    """The operator's folder, with a folder `clip` of 3 pictures, `clip.gif` of 4, and a secret beside it."""
    folder = tmp_path / "files"
    (folder / "clip").mkdir(parents=True)
    shades = [Image.new("RGB", (64, 64), (index * 40, 0, 0)) for index in range(4)]
    for index, shade in enumerate(shades[:3]):
        shade.save(folder / "clip" / f"{index}.png")
    shades[0].save(folder / "clip.gif", save_all=True, append_images=shades[1:], duration=100)
    (tmp_path / "outside").mkdir()
    shades[0].save(tmp_path / "outside" / "secret.png")
    (folder / "link").symlink_to(tmp_path / "outside")
    (folder / "link.png").symlink_to(tmp_path / "outside" / "secret.png")
    configure(sdapi_files_dir=folder)
    return folder


def test_without_animatediff_a_call_is_a_single_picture_that_nothing_moves():
    call = txt2img(prompt="x", seed=5, steps=3, cfg_scale=4, width=64, height=72, sampler_name="DPM++ 2M")
    (request,) = call.requests
    assert (request.num_frames, request.motion_effect, request.formats) == (1, ((0, 0.0),), (OutputFormat.PNG,))
    assert (request.seed, request.num_inference_steps, request.guidance_scale) == (5, 3, 4)
    assert (request.width, request.height, request.scheduler) == (64, 72, Scheduler.DPMPP_2M)
    assert not call.is_clip
    assert call.with_frames


@pytest.mark.usefixtures("files")
def test_every_argument_of_every_version_is_taken():
    """Those about files and of the program's own state have tests of their own, or mean nothing."""
    args = {
        "model": "demo",
        "video_length": 20,
        "fps": 12.5,
        "loop_number": 2,
        "closed_loop": "A",
        "batch_size": 12,
        "stride": 2,
        "overlap": 3,
        "format": ["WEBM", "MP4", "TXT", "GIF"],
        "interp": "FILM",
        "interp_x": 3,
        "reverse": [0, 2],
        "freeinit_enable": True,
        "freeinit_filter": "gaussian",
        "freeinit_ds": 0.5,
        "freeinit_dt": 0.5,
        "freeinit_iters": 2,
        "latent_power": 2,
        "latent_scale": 16,
        "latent_power_last": 3,
        "latent_scale_last": 8,
        "request_id": "mine",
        "video_source": None,
        "video_path": "",
        "mask_path": "",
        "last_frame": None,
        "is_i2i_batch": False,
        "video_default": False,
        "prompt_scheduler": None,
        "mm_hash": "ab",
        "version": "v2",
    }
    assert {"enable", *args} == set(_RULES)
    call = txt2img(animatediff(**args))
    (request,) = call.requests
    assert (request.num_frames, float(request.fps), request.loop_count) == (20, 12.5, 2)
    assert (request.context_length, request.context_stride, request.context_overlap) == (12, 2, 3)
    assert request.formats == (OutputFormat.GIF, OutputFormat.MP4, OutputFormat.WEBM)
    assert (request.closed_loop, request.reverse) == (ClosedLoop.FULL, Reverse.DROP_TAIL)
    assert (request.free_init_iterations, request.free_init_filter) == (2, "gaussian")
    assert (request.latent_power, request.latent_scale_last) == (2, 8)
    assert call.notes == ["request_id has no counterpart."]


@pytest.mark.parametrize("args", [[], [False], [None], [{"enable": False, "video_length": 4}], [{"video_length": 4}]])
def test_animatediff_is_off_unless_it_is_enabled(args):
    assert txt2img({"animatediff": {"args": args}}).requests[0].num_frames == 1


@pytest.mark.parametrize(
    ("arguments", "formats", "with_frames"),
    [
        ("MP4", ["MP4"], False),
        (["MP4", "Frame"], ["MP4", "PNG"], True),
        (["PNG", "GIF"], ["GIF"], False),  # PNGs stay on the server's disk there
        (["PNG"], ["PNG"], True),
        (["Frame", "TXT"], ["PNG"], True),
    ],
)
def test_the_formats_that_are_answered_are_made_and_no_others(arguments, formats, with_frames):
    call = txt2img(animatediff(format=arguments))
    assert list(call.requests[0].formats) == formats
    assert call.with_frames is with_frames


def test_several_clips_have_the_next_seeds():
    assert [request.seed for request in txt2img(animatediff(), seed=7, n_iter=3).requests] == [7, 8, 9]
    assert [request.seed for request in txt2img(seed=7, n_iter=2, batch_size=2).requests] == [7, 8, 9, 10]


def test_a_second_pass_and_settings_of_the_host_are_understood():
    settings = {"sd_model_checkpoint": "demo", "sd_vae": "Automatic", "CLIP_stop_at_last_layers": 2}
    (request,) = txt2img(
        enable_hr=True, hr_scale=1.5, hr_upscaler="Lanczos", denoising_strength=0.4, override_settings=settings
    ).requests
    assert (request.hires_scale, request.hires_strength, request.hires_method) == (1.5, 0.4, HiresMethod.PIXEL)
    assert request.clip_skip == 1


def test_a_picture_begins_a_clip_and_another_ends_it_as_the_seed_has_it(tmp_path):
    call = img2img(
        animatediff(last_frame=picture("blue"), latent_power=2),
        init_images=["data:image/png;base64," + picture()],
        denoising_strength=0.6,
        resize_mode=2,
    )
    (request,) = call.requests
    assert (request.first_frame, request.last_frame) == (
        stored_picture("red", tmp_path),
        stored_picture("blue", tmp_path),
    )
    assert (request.strength, request.image_fit, request.latent_power) == (0.6, ImageFit.PAD, 2)
    assert (request.exact_ends, request.noise_floor) == (False, 0)


def test_a_picture_alone_is_made_anew_in_part_also_inside_a_mask(tmp_path):
    (request,) = img2img(init_images=[picture()], mask=picture("white"), mask_blur=7).requests
    assert (request.source_video, request.mask) == (stored_picture("red", tmp_path), stored_picture("white", tmp_path))
    assert (request.num_frames, request.strength, request.mask_feather) == (1, 0.75, 7)


def test_a_unit_keeps_everything_that_has_a_meaning_here(tmp_path):
    unit = CANNY | {
        "input_image": picture(),
        "weight": 0.5,
        "guidance_start": 0.1,
        "guidance_end": 0.6,
        "resize_mode": 0,
        "threshold_a": 64,
        "threshold_b": 300,
        "control_mode": "ControlNet is more important",
        "lowvram": True,
    }
    off = {"enabled": False, "module": "none", "model": "None", "image": ""}
    call = txt2img({"controlnet": {"args": [off, unit]}, **animatediff()})
    (actual,) = call.requests[0].controls
    assert (actual.model, actual.preprocessor) == ("lllyasviel/control_v11p_sd15_canny", "canny")
    assert actual.options == {"low": 64}  # 300 is out of range: its default counts
    assert (actual.weight, actual.start, actual.end) == (((0, 0.5),), 0.1, 0.6)
    assert (actual.fit, actual.guess_mode, actual.clip) == (ImageFit.STRETCH, True, stored_picture("red", tmp_path))
    assert call.notes == ["ControlNet low_vram has no meaning here."]


def test_pixel_perfect_looks_at_the_clips_shorter_side():
    unit = CANNY | {"module": "softedge_hed", "image": picture(), "processor_res": 512, "pixel_perfect": True}
    call = txt2img({"ControlNet": {"args": [unit]}}, width=256, height=320)
    assert call.requests[0].controls[0].options == {"resolution": 256}


def test_every_preprocessor_of_the_dialect_is_one_of_ours_with_its_options():
    for ours, options in CONTROL_MODULES.values():
        assert options.keys() <= {option.name for option in get_preprocessor(ours).options}
    for ours, options in CONTROL_THRESHOLDS.items():
        assert set(options) <= {option.name for option in get_preprocessor(ours).options}


@pytest.mark.usefixtures("files")
def test_units_without_a_picture_follow_the_video_and_nothing_of_it_stays():
    call = txt2img({"ControlNet": {"args": [CANNY]}, **animatediff(video_path="clip", fps=8)})
    (request,) = call.requests
    assert (request.num_frames, request.strength, request.controls[0].clip) == (3, 1, "")
    assert source_facts(request.source_video).num_frames == 3


def test_beside_a_first_picture_units_follow_the_video_by_themselves(files, tmp_path):
    scripts = {"ControlNet": {"args": [CANNY]}, **animatediff(video_source=str(files / "clip.gif"))}
    (request,) = img2img(scripts, init_images=[picture()]).requests
    assert (request.first_frame, request.source_video) == (stored_picture("red", tmp_path), "")
    assert source_facts(request.controls[0].clip).num_frames == 4 == request.num_frames


@pytest.mark.usefixtures("files")
def test_a_clip_is_made_anew_inside_masks_of_the_operators_folder():
    (request,) = img2img(animatediff(video_path="clip", mask_path="clip"), denoising_strength=0.5).requests
    assert request.mask == request.source_video != ""
    assert request.strength == 0.5


@pytest.mark.parametrize(
    "path",
    ["../outside", "../outside/secret.png", "link", "link.png", "link/secret.png", "/etc/passwd", "nothing", ".", "\0"],
)
@pytest.mark.parametrize("key", ["video_path", "video_source", "mask_path"])
def test_no_path_leads_out_of_the_operators_folder(files, key, path):
    with pytest.raises(KeyFaultError, match=rf"^{key} must be a path below the operator's folder") as caught:
        img2img(animatediff(**{key: path}), init_images=[picture()])
    assert str(files) not in str(caught.value)


def test_without_a_folder_no_path_is_taken(configure):
    configure(sdapi_files_dir=None)
    with pytest.raises(KeyFaultError, match=r"^video_path must be empty on this server"):
        txt2img(animatediff(video_path="clip"))


def test_long_texts_are_not_decoded(monkeypatch):
    monkeypatch.setattr(sdapi_files, "b64decode", lambda *_, **__: pytest.fail("decoded"))
    bomb = "A" * (sdapi_files.MAX_PICTURE_BYTES // 3 * 4 + 5)
    with pytest.raises(KeyFaultError, match="must have at most 32 MiB"):
        img2img(init_images=[bomb])


def test_a_small_file_that_claims_a_huge_picture_is_refused_by_its_header():
    data = io.BytesIO()
    Image.new("1", (16384, 16384)).save(data, "PNG")
    with pytest.raises(KeyFaultError, match="must have at most") as caught:
        img2img(init_images=[b64encode(data.getvalue()).decode()])
    assert caught.value.place == ("init_images", 0)


IMAGE = "iVBORw0KGgo="  # a PNG's first bytes alone
ANIMATEDIFF, UNITS = ("alwayson_scripts", "AnimateDiff", "args", 0), ("alwayson_scripts", "ControlNet", "args", 0)


@pytest.mark.parametrize(
    ("call", "body", "place"),
    [
        (txt2img, {"promt": "x"}, ("promt",)),
        (txt2img, {"steps": "many"}, ("steps",)),
        (txt2img, {"steps": 0}, ("steps",)),
        (txt2img, {"cfg_scale": 0.5}, ("cfg_scale",)),
        (txt2img, {"cfg_scale": float("nan")}, ("cfg_scale",)),
        (txt2img, {"width": 63}, ("width",)),
        (txt2img, {"seed": -2}, ("seed",)),
        (txt2img, {"n_iter": 17}, ("n_iter",)),
        (txt2img, {"n_iter": 5, "batch_size": 5}, ("n_iter",)),
        (txt2img, {"n_iter": 16, "batch_size": 16}, ("n_iter",)),
        (txt2img, {"sampler_name": "Heun"}, ("sampler_name",)),
        (txt2img, {"sampler_index": "Heun"}, ("sampler_index",)),
        (txt2img, {"scheduler": "Karas"}, ("scheduler",)),
        (txt2img, {"restore_faces": True}, ("restore_faces",)),
        (txt2img, {"styles": ["x"]}, ("styles",)),
        (txt2img, {"subseed_strength": 0.5}, ("subseed_strength",)),
        (txt2img, {"script_name": "x/y/z plot"}, ("script_name",)),
        (txt2img, {"enable_hr": True, "hr_upscaler": "LDSR"}, ("hr_upscaler",)),
        (txt2img, {"enable_hr": True, "hr_scale": 9}, ("hr_scale",)),
        (txt2img, {"init_images": []}, ("init_images",)),
        (txt2img, {"override_settings": {"sd_model_checkpoint": "x"}}, ("override_settings", "sd_model_checkpoint")),
        (txt2img, {"override_settings": {"eta_ddim": 1}}, ("override_settings", "eta_ddim")),
        (
            txt2img,
            {"scripts": {"ADetailer": {"args": [True, {"ad_model": "face"}]}}},
            ("alwayson_scripts", "ADetailer"),
        ),
        (txt2img, {"scripts": {"ReActor": {"args": [None, True, "0"]}}}, ("alwayson_scripts", "ReActor")),
        (
            txt2img,
            {"scripts": {"Dynamic Prompts v2": {"args": [True, True]}}},
            ("alwayson_scripts", "Dynamic Prompts v2"),
        ),
        (txt2img, {"steps": True}, ("steps",)),
        (txt2img, {"seed": True}, ("seed",)),
        (txt2img, {"enable_hr": True, "hr_resize_x": 9999}, ("hr_resize_x",)),
        (txt2img, {"enable_hr": True, "hr_resize_y": -1}, ("hr_resize_y",)),
        (txt2img, {"enable_hr": True, "hr_second_pass_steps": 10}, ("hr_second_pass_steps",)),
        (txt2img, {"enable_hr": True, "hr_checkpoint_name": "x"}, ("hr_checkpoint_name",)),
        (txt2img, {"clip_skip": 0}, ("clip_skip",)),
        (
            txt2img,
            {"override_settings": {"eta_noise_seed_delta": 31337}},
            ("override_settings", "eta_noise_seed_delta"),
        ),
        (txt2img, {"scripts": {"AnimateDiff": {"args": [3]}}}, ANIMATEDIFF),
        (txt2img, {"scripts": animatediff(), "batch_size": 2}, ("batch_size",)),
        (txt2img, {"scripts": animatediff(vido=1)}, (*ANIMATEDIFF, "vido")),
        (txt2img, {"scripts": animatediff(stride=0)}, (*ANIMATEDIFF, "stride")),
        (txt2img, {"scripts": animatediff(batch_size=4, overlap=4)}, (*ANIMATEDIFF, "overlap")),
        (txt2img, {"scripts": animatediff(batch_size=1000)}, (*ANIMATEDIFF, "batch_size")),
        (txt2img, {"scripts": animatediff(freeinit_enable=True, freeinit_iters=99)}, (*ANIMATEDIFF, "freeinit_iters")),
        (txt2img, {"scripts": animatediff(format="AVI")}, (*ANIMATEDIFF, "format")),
        (txt2img, {"scripts": animatediff(format="TXT")}, (*ANIMATEDIFF, "format")),
        (txt2img, {"scripts": animatediff(model="mine.ckpt")}, (*ANIMATEDIFF, "model")),
        (txt2img, {"scripts": animatediff(last_frame="x")}, (*ANIMATEDIFF, "last_frame")),
        (txt2img, {"scripts": animatediff(video_source="a", video_path="b")}, (*ANIMATEDIFF, "video_source")),
        (txt2img, {"scripts": {"ControlNet": {"args": [3]}}}, UNITS),
        (txt2img, {"scripts": {"ControlNet": {"args": [CANNY | {"strength": 1}]}}}, (*UNITS, "strength")),
        (txt2img, {"scripts": {"ControlNet": {"args": [CANNY | {"model": "None"}]}}}, (*UNITS, "model")),
        (txt2img, {"scripts": {"ControlNet": {"args": [CANNY | {"module": "clip_vision"}]}}}, (*UNITS, "module")),
        (txt2img, {"scripts": {"ControlNet": {"args": [CANNY | {"control_mode": 1}]}}}, (*UNITS, "control_mode")),
        (txt2img, {"scripts": {"ControlNet": {"args": [CANNY | {"resize_mode": 4}]}}}, (*UNITS, "resize_mode")),
        (txt2img, {"scripts": {"ControlNet": {"args": [CANNY | {"weight": "much"}]}}}, (*UNITS, "weight")),
        (txt2img, {"scripts": {"ControlNet": {"args": [CANNY | {"image": IMAGE}]}}}, (*UNITS, "image")),
        (txt2img, {"scripts": {"ControlNet": {"args": [CANNY | {"mask": "x"}]}}}, (*UNITS, "mask")),
        (img2img, {}, ("init_images",)),
        (img2img, {"init_images": ["", None]}, ("init_images",)),
        (img2img, {"init_images": ["not base64"]}, ("init_images", 0)),
        (img2img, {"init_images": ["http://localhost/a.png"]}, ("init_images", 0)),
        (img2img, {"init_images": [b64encode(b"PK\x03\x04" + bytes(60)).decode()]}, ("init_images", 0)),
        (img2img, {"init_images": [IMAGE]}, ("init_images", 0)),
        (img2img, {"init_images": [picture()], "mask": "x"}, ("mask",)),
        (img2img, {"init_images": [picture()], "resize_mode": 4}, ("resize_mode",)),
        (img2img, {"init_images": [picture()], "denoising_strength": 2}, ("denoising_strength",)),
        (img2img, {"init_images": [picture()], "denoising_strength": 0}, ("denoising_strength",)),
        (
            img2img,
            {"init_images": [picture()], "mask": picture(), "inpainting_mask_invert": 1},
            ("inpainting_mask_invert",),
        ),
    ],
)
def test_what_cannot_be_used_is_refused_by_its_key(call, body, place):
    try:
        call(**body)
    except ValidationError as err:
        errors = [error | {"loc": ("body", *error["loc"])} for error in err.errors()]
        (detail,) = details_of_body(errors)
    except InvalidRequestError as err:
        detail = detail_of(err)
    else:
        pytest.fail("it was taken")
    assert detail["loc"] == ["body", *place]
    assert " must " in detail["msg"]
    assert len(detail["msg"]) < 1500


def test_the_infotext_of_an_answer_can_be_read_back():
    settings = {"CLIP_stop_at_last_layers": 2}
    args = {"model": "demo", "video_length": 9, "closed_loop": "R+P", "fps": 12}
    (request,) = txt2img(
        animatediff(**args), prompt='a "b", c', negative_prompt="d", seed=3, override_settings=settings
    ).requests
    fields, notes, _ = fields_of_infotext(infotext_of(request, is_clip=True))
    assert notes == []
    assert fields["context_overlap"] == 4  # what -1 comes to
    assert request.build(**{**request.model_dump(), **fields, "context_overlap": -1}) == request


PAYLOADS = Path(__file__).resolve().parents[1] / "museum" / "payloads"


@pytest.mark.parametrize("name", sorted(path.stem for path in PAYLOADS.glob("*.json")))
def test_payloads_of_the_field_are_taken(name):
    call = read_call(Txt2Img(**json.loads((PAYLOADS / f"{name}.json").read_text())), base_model="demo")
    (request,) = call.requests
    assert request.prompt == "a red circle"
    assert request.num_frames == (1 if name == "swagger-txt2img" else 24)
    notes = ["scheduler: the schedule Beta has no counterpart here; the sampler's own steps are used."]
    assert call.notes == (notes if name == "forge" else [])


@pytest.mark.parametrize(
    ("body", "notes"),
    [
        ({"eta": 1.0, "s_churn": 0, "s_tmax": None, "s_noise": 1, "seed_resize_from_h": -1}, []),
        ({"eta": 0.3}, ["eta: the sampler's own share of noise is used."]),
        ({"s_tmax": "inf", "s_churn": "2"}, ["s_churn: the sampler adds noise as by default."]),
        ({"hr_cfg": 5, "cfg_scale": 7}, []),
        ({"enable_hr": True, "hr_cfg": 7, "cfg_scale": 7, "hr_additional_modules": ["Use same choices"]}, []),
        ({"enable_hr": True, "hr_cfg": 5, "cfg_scale": 7}, ["hr_cfg: the second pass has the cfg_scale of the call."]),
        (
            {"enable_hr": True, "hr_additional_modules": ["a.safetensors"]},
            ["hr_additional_modules: the second pass has the VAE of the call."],
        ),
    ],
)
def test_keys_that_change_no_picture_here_are_told(body, notes):
    assert read_call(Txt2Img(prompt="x", **body), base_model="demo").notes == notes


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ([True], {"num_frames": 16}),
        ([True, 8, 6, "demo"], {"num_frames": 8, "fps": 6}),
        ([True, 2, 8, 6, "demo"], {"num_frames": 8, "fps": 6, "loop_count": 2}),
        ([True, 0, 8, 6, "demo", ["MP4"], [0], 1, 32, None, 1, 32], {"formats": ("MP4",), "reverse": Reverse.APPEND}),
        (["demo", True, 8, 6, 0, "A", 12, 2, 3, ["GIF"], "FILM", 2], {"context_length": 12, "interpolation": "film"}),
        (
            ["demo", True, 8, 6, 0, False, 16, 1, -1, ["GIF"], "Off", 10, [0, 1], None, "", 1, 32],
            {"reverse": "drop_head"},
        ),
        (
            ["demo", True, 8, 6, 0, "N", 16, 1, -1, ["GIF"], "Off", 10, None, "", "", True, "box", 0.5, 0.5, 2],
            {"free_init_iterations": 2, "free_init_filter": "box"},
        ),
        (["", True, 8, 6], {"num_frames": 8, "motion_module": "demo"}),
        ([None, "true", "8", "6"], {"num_frames": 8, "motion_module": "demo"}),
        ([1, 0, 8, 6, "demo"], {"num_frames": 8, "loop_count": 0}),
    ],
)
def test_arguments_by_position_are_those_of_their_version(args, expected):
    (request,) = txt2img({"AnimateDiff": {"args": args}}).requests
    assert {name: getattr(request, name) for name in expected} == expected


@pytest.mark.parametrize(
    "scripts",
    [
        {"ADetailer": {"args": [False, False, {"ad_model": "face_yolov8n.pt"}]}},
        {"ADetailer": {"args": [{"ad_model": "None"}]}},
        {"ADetailer": {"args": [True, False, {"ad_model": "None"}, {"ad_model": "None"}]}},
        {"Tiled VAE": {"args": ["False", 1536]}},
        {"Dynamic Prompts v2.17.1": {"args": [True, False, 1, False, False, False, 1.1, 1.5]}},
        {"LoRA Block Weight": {"args": ["NONE:0,0", True, 1]}},
        {"Soft Inpainting": {"args": [{"Soft inpainting": False, "Schedule bias": 1}]}},
        {"ReActor": {"args": [None, False, "0"]}},
        {"ControlNet": {"args": [False, "canny", "None", 1, None, "Crop and Resize"]}},
        {"ControlNet": {"args": [False, True, False, "none", "None", 1, None, False, "Envelope (Outer Fit)", False]}},
        {"Seed": {"args": [1, True, 5, 0]}},
        {"AnimateDiff": {"args": [{"enable": False, "nothing": [], "video_length": "many"}]}},
        {"AnimateDiff": {"args": [{"enable": "false"}]}, "ControlNet": {"args": None}},
        {"ControlNet": {"args": [None, {"enabled": 0, "model": 7, "nothing": 1}, {"enabled": "False"}]}},
    ],
)
def test_what_is_off_is_not_judged(scripts):
    (request,) = txt2img(scripts, enable_hr=False, hr_scale="x", hr_prompt="y", hr_upscaler="LDSR").requests
    assert (request.num_frames, request.controls, request.hires_scale) == (1, (), 1)


@pytest.mark.parametrize("nothing", [None, "", "None", "null", "undefined"])
def test_words_for_nothing_mean_nothing(nothing):
    keys = (
        "negative_prompt",
        "seed",
        "steps",
        "cfg_scale",
        "sampler_name",
        "scheduler",
        "styles",
        "denoising_strength",
    )
    args = dict.fromkeys(
        ("model", "video_length", "fps", "last_frame", "video_path", "video_source", "mask_path"), nothing
    )
    unit = {"enabled": True, **CANNY, "image": picture(), "mask": nothing, "weight": nothing, "module": nothing}
    scripts = {**animatediff(**args), "ControlNet": {"args": [unit]}}
    call = txt2img(scripts, **dict.fromkeys(keys[1:], nothing), override_settings={"sd_model_checkpoint": nothing})
    assert (call.requests[0].num_frames, call.requests[0].motion_module, call.notes) == (16, "demo", [])
    assert txt2img(animatediff(model="Automatic")).requests[0].motion_module == "demo"


def test_prompts_of_such_words_are_prompts():
    (request,) = txt2img(prompt="none", negative_prompt="null").requests
    assert (request.prompt, request.negative_prompt) == ("none", "null")


@pytest.mark.parametrize(
    "body",
    [
        {"steps": "２０", "cfg_scale": " 7.0 ", "send_images": " True ", "enable_hr": "Off"},
        {"steps": 20.0, "restore_faces": "off", "tiling": "no", "subseed_strength": "0.00", "clip_skip": 1},
        {
            "steps": "20",
            "override_settings": {"s_noise": 1.0, "eta_ancestral": 1, "img2img_background_color": "#FFFFFF"},
        },
        {
            "steps": "20",
            "override_settings": {"CLIP_stop_at_last_layers": "", "upcast_attn": True, "emphasis": "Original"},
        },
    ],
)
def test_numbers_and_switches_may_be_spelt_as_forms_do(body):
    call = txt2img(**body)
    assert (call.requests[0].num_inference_steps, call.requests[0].hires_scale, call.notes) == (20, 1, [])


def test_what_repeats_the_first_pass_is_no_other_second_pass():
    """The host takes as many steps where none are sent, and enlarges by Lanczos where no upscaler is."""
    body = {"prompt": "x", "steps": 20, "sampler_name": "Euler", "override_settings": {"sd_model_checkpoint": "demo"}}
    same = {"hr_prompt": "x", "hr_second_pass_steps": "20", "hr_sampler_name": "Euler", "hr_checkpoint_name": "demo"}
    (request,) = txt2img(**body, **same, enable_hr=True, hr_upscaler="None", width=128, hr_resize_x=192).requests
    assert (request.hires_scale, request.hires_method) == (1.5, HiresMethod.PIXEL)
    assert txt2img(**body, enable_hr=True, hr_upscaler="latent (bicubic)").requests[0].hires_method == "latent"


def test_sizes_that_are_no_multiple_of_8_are_made_so_and_told():
    call = txt2img(width=517, height="200")
    assert (call.requests[0].width, call.requests[0].height) == (512, 200)
    assert call.notes == ["width 517 is no multiple of 8; the picture has 512, as the web UI makes it."]


@pytest.mark.parametrize(
    ("body", "sampler", "notes"),
    [
        ({"sampler_name": "DPM++ 2M Karras"}, "dpmpp_2m", "sampler_name: the schedule Karras"),
        ({"sampler_name": "DPM++ 2M", "scheduler": "KARRAS"}, "dpmpp_2m", "scheduler: the schedule Karras"),
        ({"sampler_name": "k_dpmpp_2m_ka", "scheduler": "karras"}, "dpmpp_2m", "sampler_name: the schedule Karras"),
        ({"sampler_index": "Euler a", "scheduler": "SGM Uniform"}, "euler_a", "scheduler: the schedule SGM Uniform"),
        ({"sampler_name": "DDIM", "scheduler": "automatic"}, "ddim", ""),
        ({"sampler_name": "Euler a Automatic"}, "euler_a", ""),
        ({"sampler_name": "DDIM (Uniform)"}, "ddim", ""),
        ({"sampler_name": "DPM++ 2M KL Optimal"}, "dpmpp_2m", "sampler_name: the schedule KL Optimal"),
        ({"sampler_name": "dpmpp_2m_align_your_steps"}, "dpmpp_2m", "sampler_name: the schedule Align Your Steps"),
        ({"sampler_name": "Automatic"}, "ddim", ""),
    ],
)
def test_a_schedule_is_told_wherever_it_stands(body, sampler, notes):
    call = txt2img(**body)
    assert call.requests[0].scheduler == sampler
    assert len(call.notes) == bool(notes)
    assert all(note.startswith(notes) for note in call.notes)


@pytest.mark.usefixtures("files")
def test_a_clip_is_no_longer_than_the_video():
    call = txt2img({"ControlNet": {"args": [CANNY]}, **animatediff(video_path="clip", video_length=8)})
    assert call.requests[0].num_frames == 3
    assert call.notes == ["video_length 8 is beyond the video; the clip has its 3 frames."]


@pytest.mark.parametrize("mode", [3, "3", "Just resize (latent upscale)"])
def test_latents_that_would_be_stretched_are_told(mode):
    call = img2img(init_images=[picture()], resize_mode=mode)
    assert (call.requests[0].image_fit, call.notes) == (
        ImageFit.STRETCH,
        ["resize_mode: pixels are stretched, not latents."],
    )


def test_an_ip_adapter_among_the_units_is_an_image_prompt(tmp_path):
    unit = {"module": "ip-adapter_clip_sd15", "model": "ip-adapter_sd15_plus [836b5c2e]", "image": picture()}
    off = {"enabled": False}
    call = txt2img({"ControlNet": {"args": [off, unit | {"weight": "0.7", "guidance_end": 0.8}]}})
    (actual,) = call.requests[0].image_prompts
    assert (actual.model, actual.pictures) == (
        "h94/IP-Adapter/ip-adapter-plus_sd15",
        ((0, stored_picture("red", tmp_path)),),
    )
    assert (actual.weight, actual.end) == (((0, 0.7),), 0.8)
    with pytest.raises(KeyFaultError, match=r"^model must be the name of an IP-Adapter") as caught:
        txt2img({"ControlNet": {"args": [off, unit | {"model": "ip-adapter-faceid"}]}})
    assert caught.value.place == ("alwayson_scripts", "ControlNet", "args", 1, "model")


def unit_by_position(*behind_image: object, image: object) -> list[object]:
    return [True, "canny", CANNY["model"], 0.5, image, *behind_image]


@pytest.mark.parametrize(
    ("args", "guess"),
    [
        (lambda image: unit_by_position("Resize and Fill", False, 512, 64, 200, 0, 0.6, image=image), False),
        (lambda image: unit_by_position(2, False, 512, 64, 200, 0, 0.6, False, 2, image=image), True),
        (lambda image: unit_by_position(False, 2, False, False, 512, 64, 200, 0, 0.6, True, image=image), True),
        (
            lambda image: [False, True, *unit_by_position(False, 2, False, False, 512, 64, 200, 0, 0.6, image=image)],
            False,
        ),
        (lambda image: [False, *[None] * 13, *unit_by_position(2, False, 512, 64, 200, 0, 0.6, image=image)], False),
    ],
)
def test_units_by_position_are_read_in_both_orders(args, guess, tmp_path):
    call = txt2img({"ControlNet": {"args": args(picture())}}, width=256, height=256)
    (unit,) = call.requests[0].controls
    assert (unit.fit, unit.weight, unit.end, unit.guess_mode) == (ImageFit.PAD, ((0, 0.5),), 0.6, guess)
    assert (unit.options["low"], unit.clip) == (64, stored_picture("red", tmp_path))


def test_what_a_unit_says_of_nothing_is_no_fault():
    idle = {"batch_image_files": [], "batch_keyframe_idx": None, "rgbbgr_mode": False, "advanced_weighting": [1.0] * 13}
    (unit,) = (
        txt2img({"ControlNet": {"args": [CANNY | idle | {"image": {"background": picture()}}]}}).requests[0].controls
    )
    assert unit.clip


@pytest.mark.parametrize(
    ("body", "feather", "notes"),
    [
        ({"mask_blur_x": 8, "mask_blur_y": 8}, 8, []),
        ({"mask_blur": "0", "mask_blur_x": 8}, 0, []),
        ({"inpainting_fill": 1, "inpaint_full_res": False}, 4, []),
        ({"inpainting_fill": "0", "inpaint_full_res": "true"}, 4, ["inpainting_fill:", "inpaint_full_res:"]),
    ],
)
def test_how_a_mask_is_filled_is_told_where_it_is_otherwise_here(body, feather, notes):
    call = img2img(init_images=[picture()], mask=picture("white"), **body)
    assert (call.requests[0].mask_feather, [note.split(" ")[0] for note in call.notes]) == (feather, notes)


@pytest.mark.parametrize(
    "shape",
    [
        "data:image/png;base64,{}",
        "data:image/png,{}",
        'data:image/png;name="a,b.png";base64,{}',
        "data:image/png;base64;{}",
        "image/png;base64,{}",
        "base64:{}",
        "\ufeff{}",
        "b'{}'",
        "data:;base64,{}",
        "data:application/octet-stream;base64,{}",
        "DATA:image/png;charset=utf-8;base64, {}",
        "base64,{}",
        " \n{}\n",
        '"{}"',
    ],
)
@pytest.mark.parametrize(
    "spelling", ["plain", "without padding", "for addresses", "quoted for addresses", "in lines", "from a form"]
)
def test_pictures_are_read_in_every_shape(shape, spelling, tmp_path):
    text = picture()
    text = {
        "plain": text,
        "without padding": text.rstrip("="),
        "for addresses": text.replace("+", "-").replace("/", "_"),
        "quoted for addresses": text.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D"),
        "from a form": text.replace("+", " "),
        "in lines": "\r\n".join(text[at : at + 76] for at in range(0, len(text), 76)),
    }[spelling]
    (request,) = img2img(init_images=[shape.format(text)]).requests
    assert request.source_video == stored_picture("red", tmp_path)


REFUSED = [
    (txt2img, {"scripts": animatediff(batch_size=8, overlap=8)}, "overlap must be below batch_size (8), got 8. "),
    (img2img, {"scripts": animatediff(freeinit_enable=True), "init_images": [picture()]}, "freeinit_iters must be 0 "),
    (txt2img, {"scripts": animatediff(fps=500)}, "fps must be less than or equal to 120, got 500. "),
    (txt2img, {"scripts": animatediff(video_length=8), "prompt": "0: a\n99: b"}, "prompt must have keys at frames"),
    (
        txt2img,
        {"scripts": animatediff(video_length=8, interp="FILM", interp_x=20)},
        "interp_x must bring at most 16 frames between two, got 20. ",
    ),
    (txt2img, {"enable_hr": True, "hr_scale": 9}, "hr_scale must be less than or equal to 4, got 9"),
    (txt2img, {"enable_hr": True, "steps": 1, "denoising_strength": 0.5}, "denoising_strength must leave at least one"),
    (txt2img, {"scripts": {"ControlNet": {"args": [CANNY | {"weight": 9}]}}}, "weight must be from 0 to 4"),
    (
        txt2img,
        {"scripts": {"controlnet": {"args": [CANNY | {"guidance_start": 0.8, "guidance_end": 0.2}]}}},
        "guidance_end must be above guidance_start (0.8), got 0.2. Raise guidance_end.",
    ),
    (txt2img, {"steps": "many"}, "steps must be a whole number, got many. "),
    (txt2img, {"cfg_scale": []}, "cfg_scale must be a number, got []. "),
    (txt2img, {"send_images": "perhaps"}, "send_images must be true or false, got perhaps. "),
    (txt2img, {"scheduler": "Karas"}, "scheduler must be a schedule of the web UI, got Karas. Known: Automatic, "),
    (txt2img, {"scripts": {"AnimateDiff": "x"}}, "AnimateDiff must be an object with args, got x. "),
    (img2img, {"init_images": ["a", "b"]}, "init_images must have at most 1, got 2. "),
    (img2img, {"init_images": [{"a": 1}]}, 'init_images 0 must be text, got {"a": 1}. '),
    (img2img, {"init_images": [IMAGE]}, "init_images 0 must be a whole picture, got "),
    (
        txt2img,
        {"enable_hr": True, "hr_resize_x": 9999, "width": 128},
        "hr_resize_x must be from 128 to 512, got 9999. ",
    ),
    (txt2img, {"scripts": {"AnimateDiff": {"enable": True}}}, "enable must stand in args, got it beside them. "),
    (
        txt2img,
        {"scripts": {"ControlNet": {"args": [CANNY | {"model": ""}]}}},
        "model must be the name of a ControlNet, got none",
    ),
]


@pytest.mark.parametrize(("call", "body", "words"), REFUSED, ids=[words.split(" ")[0] for *_, words in REFUSED])
def test_refusals_speak_of_the_callers_keys_alone(call, body, words):
    with pytest.raises((ValidationError, InvalidRequestError)) as caught:
        call(**body)
    if isinstance(caught.value, ValidationError):
        (detail,) = details_of_body([error | {"loc": ("body", *error["loc"])} for error in caught.value.errors()])
    else:
        detail = detail_of(caught.value)
    assert detail["msg"].startswith(words)
    ours = [name for name in GenerationRequest.model_fields if "_" in name and name not in ("negative_prompt", *_RULES)]
    labels = [f"'{field_label(name)}'" for name in GenerationRequest.model_fields]
    assert [word for word in (*ours, *labels, "(?i)", "validation") if word in detail["msg"]] == []
    assert not re.search(r"\bstart\b|Fraction|None|True|False", detail["msg"])
    scripts = body.get("scripts", {})
    if isinstance(scripts.get(next(iter(scripts), "")), dict):
        assert detail["loc"][1:3] in (["alwayson_scripts", next(iter(scripts))], ["prompt"])


def test_settings_for_all_calls_that_change_nothing_are_taken():
    assert chosen_model(Options(sd_model_checkpoint="demo", CLIP_stop_at_last_layers=1, sd_vae="Automatic")) == "demo"
    assert chosen_model(Options(samples_format="png", eta_noise_seed_delta=0)) is None
    with pytest.raises(
        KeyFaultError, match=r"^CLIP_stop_at_last_layers must be sent in override_settings of each call"
    ):
        chosen_model(Options(CLIP_stop_at_last_layers=2))
    with pytest.raises(KeyFaultError, match=r"^nothing_like_it must be a setting of this server") as caught:
        chosen_model(Options(nothing_like_it=1))
    assert caught.value.place == ("nothing_like_it",)


def test_empty_objects_may_be_written_as_lists():
    body = Txt2Img(prompt="x", override_settings=[], alwayson_scripts=[])
    assert read_call(body, base_model="demo").requests[0].num_frames == 1


def test_syntax_that_the_host_understands_is_told():
    (note,) = txt2img(prompt="a [cat:dog:0.5]").notes
    assert note.startswith("prompt has '[cat:dog:0.5]'")


def test_too_many_pictures_are_counted_over_both_of_the_caller_s_numbers():
    with pytest.raises(InvalidRequestError, match=r"make at most 16 pictures, got 256\b"):
        txt2img(n_iter=16, batch_size=16)
