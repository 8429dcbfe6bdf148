"""The API of AUTOMATIC1111's web UI, used by one of its clients as it comes, beside the page on the same device."""

import inspect
import io
import json
import re
import threading
import time
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import requests
import webuiapi
from fastapi import FastAPI
from gradio.context import LocalContext
from gradio_client import Client
from PIL import Image, ImageDraw, ImageSequence
from pydantic import SecretStr
from spaces.zero.client import _get_headers
from starlette.testclient import TestClient

from api.sdapi.routes import MAX_BODY_BYTES, sdapi_router
from api.web.endpoint import clip_endpoint
from media.pictures import to_rgb
from media.read import probe
from studio.device_leases import RefusedError
from studio.engine import make_clip
from studio.modes import Mode
from studio.stored_inputs import input_store
from tests.app.conftest import free_port, served, studio_of
from tests.app.fake_engine import REFUSAL, FakeEngine

ROOT = Path(__file__).resolve().parents[2]
DEMO = {"sd_model_checkpoint": "demo"}
SMALL = {"width": 64, "height": 64, "steps": 2, "override_settings": DEMO}
RED = Image.new("RGB", (64, 64), "red")


def animatediff(**args) -> webuiapi.AnimateDiff:
    return webuiapi.AnimateDiff(**{"model": "demo", "video_length": 4, **args})


@pytest.fixture(scope="module")
def fake() -> FakeEngine:
    return FakeEngine()


@pytest.fixture(scope="module")
def port(fake) -> Iterator[int]:
    number, studio = free_port(), studio_of(fake.make_clip)
    with served(studio, server_port=number, routers=[sdapi_router(studio)]):
        yield number


@pytest.fixture
def api(port) -> webuiapi.WebUIApi:
    return webuiapi.WebUIApi(port=port)


@pytest.fixture
def url(port) -> str:
    return f"http://127.0.0.1:{port}/sdapi/v1"


@pytest.fixture
def slow(api, fake) -> Iterator[threading.Thread]:
    """A call that takes long and is on its way; its answer is in `.answers`."""
    answers: list[webuiapi.WebUIApiResult] = []
    begun = len(fake.requests)
    thread = threading.Thread(
        target=lambda: answers.append(api.txt2img(prompt="slow", animatediff=animatediff(), **SMALL))
    )
    thread.answers = answers
    thread.start()
    until(lambda: len(fake.requests) > begun)
    yield thread
    api.interrupt()
    thread.join(20)


def until(holds, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)


def test_a_clip_comes_as_its_file_and_then_its_frames(api, fake):
    made = api.txt2img(prompt="a cat", seed=7, animatediff=animatediff(format=["PNG", "Frame", "GIF"]), **SMALL)
    gif, *frames = made.images
    assert (gif.format, gif.n_frames) == ("GIF", 4)
    assert [frame.format for frame in frames] == ["PNG"] * 4
    assert (made.info["seed"], made.info["all_seeds"]) == (7, [7])
    assert "AnimateDiff: " in made.info["infotexts"][0]
    assert made.info["recipes"] == [json.loads(fake.requests[-1].to_json())]
    assert made.parameters["prompt"] == "a cat"


def test_a_client_that_names_no_model_gets_the_default(api, fake):
    made = api.txt2img(prompt="a cat", seed=7, animatediff=animatediff(model=""), **SMALL)
    assert made.images[0].n_frames == 4
    assert fake.requests[-1].motion_module == "demo"
    assert made.info["warnings"] == []


def test_what_is_otherwise_than_was_asked_is_told_in_the_answer(url):
    body = {"prompt": "a [cat:dog:0.5]", "scheduler": "Karras", **SMALL, "width": 70}
    told = json.loads(requests.post(f"{url}/txt2img", json=body, timeout=60).json()["info"])["warnings"]
    assert [note.split(" ")[0] for note in told] == ["width", "scheduler:", "prompt"]


def test_zero_gpu_is_told_whose_quota_counts(fake):
    seen = []

    def asked(request, folder):
        seen.append(_get_headers(LocalContext.request.get(None)).get("x-ip-token"))  # as `spaces` looks for it
        return fake.make_clip(request, folder)

    app = FastAPI()
    app.include_router(sdapi_router(studio_of(asked)))
    for token in ("ann's", "ben's"):
        TestClient(app).post("/sdapi/v1/txt2img", json=SMALL, headers={"X-IP-Token": token}).raise_for_status()
    assert seen == ["ann's", "ben's"]


def test_a_device_that_is_not_lent_is_not_the_callers_fault():
    def refused(*_):
        raise RefusedError("No GPU.")

    app = FastAPI()
    app.include_router(sdapi_router(studio_of(refused)))
    answer = TestClient(app).post("/sdapi/v1/txt2img", json=SMALL)
    assert (answer.status_code, answer.json()["detail"]) == (503, "No GPU.")


def test_videos_come_in_the_usual_order(url):
    args = {"enable": True, "video_length": 2, "format": ["MP4", "GIF"]}
    body = {"prompt": "x", "n_iter": 2, "alwayson_scripts": {"AnimateDiff": {"args": [args]}}, **SMALL}
    answer = requests.post(f"{url}/txt2img", json=body, timeout=60).json()
    assert [b64decode(one)[:3] for one in answer["images"][::2]] == [b"GIF"] * 2
    assert [b64decode(one)[4:8] for one in answer["images"][1::2]] == [b"ftyp"] * 2


def test_without_animatediff_each_seed_is_a_picture(api):
    made = api.txt2img(prompt="x", seed=3, n_iter=2, **SMALL)
    assert [image.format for image in made.images] == ["PNG", "PNG"]
    assert made.info["all_seeds"] == [3, 4]
    assert "AnimateDiff" not in made.info["infotexts"][0]


def test_pictures_and_units_arrive_as_they_were_sent(api, fake):
    last = webuiapi.raw_b64_img(Image.new("RGB", (64, 64), "blue"))
    units = [webuiapi.ControlNetUnit(image=Image.new("RGB", (64, 64), "lime"), module="canny", model="demo-canny")]
    made = api.img2img(
        images=[RED], prompt="x", animatediff=animatediff(last_frame=last), controlnet_units=units, **SMALL
    )
    request = fake.requests[-1]
    (unit,) = request.controls
    seen = [
        tuple(to_rgb(Image.open(input_store().path(one)))[0, 0])
        for one in (request.first_frame, request.last_frame, unit.clip)
    ]
    assert seen == [(255, 0, 0), (0, 0, 255), (0, 255, 0)]
    assert (unit.preprocessor, unit.options, request.strength) == ("canny", {"low": 64, "high": 64}, 0.75)
    assert made.image.format == "GIF"
    assert made.parameters["init_images"] is None


def test_progress_is_told_and_a_clip_is_interrupted(api, fake, slow):
    until(lambda: api.get_progress()["current_image"])
    told = api.get_progress()
    assert 0 < told["progress"] < 1
    assert told["eta_relative"] > 0
    assert (told["state"]["job"], told["state"]["sampling_steps"]) == ("txt2img", 400)
    assert Image.open(io.BytesIO(b64decode(told["current_image"]))).size == (64, 64)
    assert api.interrupt() == {}
    slow.join(20)
    (answer,) = slow.answers
    assert answer.images == []
    assert answer.info["interrupted"] is True
    assert fake.running == 0
    idle = api.get_progress()
    assert (idle["progress"], idle["state"]["job_count"], idle["current_image"]) == (0, 0, None)


@pytest.mark.usefixtures("slow")
def test_the_page_and_the_api_take_turns_on_the_device(api, fake, port):
    client = Client(f"http://127.0.0.1:{port}", verbose=False)
    job = client.submit(prompt="x", base_model="demo", num_inference_steps=2, num_frames=2, api_name="/txt2vid")
    until(lambda: job.outputs() and job.outputs()[-1][1]["note"] == "1 clip is ahead")
    assert fake.running == 1
    api.interrupt()
    assert job.result(timeout=30)[1]["prompt"] == "x"
    assert fake.most_running == 1
    client.close()


def test_a_call_that_waits_is_interrupted_only_when_its_turn_comes(api, slow, url):
    other: list[int] = []
    body = {"prompt": "x", **SMALL}
    waits = threading.Thread(
        target=lambda: other.append(requests.post(f"{url}/txt2img", json=body, timeout=60).status_code)
    )
    waits.start()
    until(lambda: api.get_progress()["state"]["job_count"] == 2)
    assert api.get_progress()["state"]["job"] == "txt2img"
    api.interrupt()
    slow.join(20)
    waits.join(20)
    assert slow.answers[0].info["interrupted"] is True
    assert other == [200]


def test_a_caller_who_hangs_up_gives_the_device_back(fake, url):
    with pytest.raises(requests.Timeout):
        requests.post(f"{url}/txt2img", json={"prompt": "slow", **SMALL}, timeout=0.5)
    assert fake.requests[-1].prompt == "slow"
    until(lambda: fake.running == 0, 6)
    assert fake.closed_at[-1] < 400


def test_everything_that_a_client_looks_up_is_there(api):
    assert api.has_animatediff
    assert api.has_controlnet
    assert "Euler a" in api.util_get_sampler_names()
    assert "demo" in api.util_get_model_names()
    assert "demo-pan-left" in [lora["name"] for lora in api.get_loras()]
    assert "demo-canny" in api.controlnet_model_list()
    assert "canny" in api.controlnet_module_list()
    assert api.get_memory()["ram"]["total"] > 0
    assert {"name", "is_alwayson", "is_img2img", "args"} == api.custom_get("script-info", baseurl=True)[0].keys()
    for told in (api.get_sd_vae(), api.get_upscalers(), api.get_schedulers(), api.get_latent_upscale_modes()):
        assert len(told) > 0
    assert api.get_hypernetworks() == api.get_prompt_styles() == api.get_face_restorers() == []
    api.util_wait_for_ready()


def test_a_model_is_chosen_for_later_calls(api, fake, capsys):
    try:
        api.util_set_model("dreamshaper")
        assert api.util_get_current_model() == "Lykon/DreamShaper"
        api.txt2img(prompt="x", **SMALL | {"override_settings": {}})
        assert fake.requests[-1].base_model == "Lykon/DreamShaper"
    finally:
        api.set_options(DEMO)
    assert "model changed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"promt": "x"}, ["promt"]),
        ({"alwayson_scripts": {"AnimateDiff": {"args": [{"enable": True, "vido": 1}]}}}, ["vido"]),
        ({"steps": 0}, ["steps"]),
        ([], []),
    ],
)
def test_a_broken_body_is_refused_by_its_key(url, body, place):
    answer = requests.post(f"{url}/txt2img", json=body, timeout=20)
    assert answer.status_code == 422
    (told,) = answer.json()["detail"]
    assert told["loc"][0] == "body"
    assert told["loc"][1:][-1:] == place
    assert set(told) - {"ctx"} == {"loc", "msg", "type"}
    assert set(told.get("ctx", ())) in (set(), {"code", "got", "limit"})


@pytest.mark.parametrize(("data", "status"), [(b"{", 422), (b"[" * 100_000, 400), (b" " * (MAX_BODY_BYTES + 1), 413)])
def test_what_is_no_json_or_too_large_is_refused(url, data, status):
    answer = requests.post(f"{url}/txt2img", data, headers={"content-type": "application/json"}, timeout=60)
    assert answer.status_code == status
    assert "Traceback" not in answer.text


def test_a_refusal_of_the_engine_is_told_and_a_failure_is_not(api, url):
    with pytest.raises(RuntimeError) as caught:
        api.txt2img(prompt="refuse", **SMALL)
    assert caught.value.args[0] == 422
    assert json.loads(caught.value.args[1])["detail"][0]["msg"] == REFUSAL
    answer = requests.post(f"{url}/txt2img", json={"prompt": "break", **SMALL}, timeout=20)
    assert answer.status_code == 500
    assert "secret" not in answer.text


def test_options_that_cannot_be_set_are_refused(url):
    assert requests.post(f"{url}/options", json={"sd_model_checkpoint": "x"}, timeout=20).status_code == 422
    assert requests.post(f"{url}/options", json={"outdir_samples": "/"}, timeout=20).status_code == 422
    assert requests.post(f"{url}/options", json={"samples_format": "png"}, timeout=20).status_code == 200
    assert requests.post(f"{url}/refresh-checkpoints", timeout=20).json() == {}


@pytest.fixture
def guarded_port(fake) -> Iterator[int]:
    number, studio = free_port(), studio_of(fake.make_clip, sdapi_auth=SecretStr("me:secret:with-colon"))
    with served(studio, server_port=number, routers=[sdapi_router(studio)]):
        yield number


def test_with_a_password_only_those_who_know_it_come_in(guarded_port):
    port, url = guarded_port, f"http://127.0.0.1:{guarded_port}/sdapi/v1"
    known = webuiapi.WebUIApi(port=port, username="me", password="secret:with-colon")
    assert known.get_options()["sd_model_checkpoint"] == "demo"
    answer = requests.get(f"{url}/options", timeout=20)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Basic")
    for wrong in (("me", "secret"), ("you", "secret:with-colon"), ("", "")):
        assert requests.post(f"{url}/txt2img", json={}, auth=wrong, timeout=20).status_code == 401
    assert requests.get(f"{url}/options", headers={"authorization": "Basic §".encode()}, timeout=20).status_code == 401
    assert requests.get(f"http://127.0.0.1:{port}/", timeout=20).status_code == 200  # the page has a door of its own


def test_the_example_of_the_docs_works(port, fake, tmp_path, monkeypatch):
    text = (ROOT / "docs" / "sdapi.md").read_text()
    example = re.search(r"<!-- sdapi: begin -->\n```python\n(.*?)```", text, re.DOTALL)[1]
    monkeypatch.chdir(tmp_path)
    exec(example.replace("port=7860", f"port={port}"))
    assert probe(tmp_path / "clip.gif").num_frames == 16
    assert (fake.requests[-1].num_frames, fake.requests[-1].closed_loop) == (16, "windows")


def test_a_visitor_who_leaves_the_page_gives_the_device_back(api, fake, port):
    page = f"http://127.0.0.1:{port}"
    names = [one.get("api_name") for one in requests.get(f"{page}/config", timeout=20).json()["dependencies"]]
    begun = len(fake.requests)
    parameters = inspect.signature(clip_endpoint(fake.make_clip, Mode.TXT2VID)).parameters.values()
    data = ["slow" if one.name == "prompt" else one.default for one in parameters]
    join = {"data": data, "fn_index": names.index("txt2vid"), "session_hash": "left"}
    requests.post(f"{page}/gradio_api/queue/join", json=join, timeout=20).raise_for_status()
    with requests.get(f"{page}/gradio_api/queue/data?session_hash=left", stream=True, timeout=20) as stream:
        until(lambda: len(fake.requests) > begun)
        assert stream.status_code == 200
    made = api.txt2img(prompt="x", **SMALL)
    assert made.image.format == "PNG"
    assert fake.most_running == 1


def test_what_the_real_engine_makes_is_what_was_asked_for():
    """The frames of an answer are those of its file, a seed repeats them, and pictures show at both ends."""
    number = free_port()
    studio = studio_of(make_clip)
    with served(studio, server_port=number, routers=[sdapi_router(studio)]):
        api = webuiapi.WebUIApi(port=number)
        words = {"prompt": "a red circle moving right on a blue background", "seed": 11, "cfg_scale": 3.0, **SMALL}
        clip = api.txt2img(animatediff=animatediff(format=["GIF", "Frame"], closed_loop="N"), **words)
        again = api.txt2img(animatediff=animatediff(format=["Frame"], closed_loop="N"), **words)
        picture = api.txt2img(**words)
        ring = Image.new("RGB", (64, 64))
        ImageDraw.Draw(ring).ellipse((12, 12, 52, 52), outline="white", width=3)
        unit = webuiapi.ControlNetUnit(image=ring, module="canny", model="demo-canny")
        steered = api.txt2img(
            animatediff=animatediff(format=["Frame"], closed_loop="N"), controlnet_units=[unit], **words
        )
        right_half = Image.new("L", (64, 64))
        right_half.paste(255, (32, 0, 64, 64))
        mended = api.img2img(
            images=[RED], mask_image=right_half, mask_blur=0, **words | {"prompt": "a blue background"}
        )
        ends = {"images": [RED], "denoising_strength": 0.1, "prompt": "a red background", "seed": 1}
        blue = webuiapi.raw_b64_img(Image.new("RGB", (64, 64), "blue"))
        fade = api.img2img(
            animatediff=animatediff(format=["Frame"], last_frame=blue), **ends, **SMALL | {"steps": 10}
        ).images
    gif, *frames = clip.images
    frames = [np.asarray(frame) for frame in frames]
    assert [frame.shape for frame in frames] == [(64, 64, 3)] * 4
    shown = [np.asarray(frame.convert("RGB")).astype(int) for frame in ImageSequence.Iterator(gif)]
    assert max(np.abs(one - other).mean() for one, other in zip(shown, frames, strict=True)) < 8
    assert all(np.array_equal(one, np.asarray(other)) for one, other in zip(frames, again.images, strict=True))
    assert np.asarray(picture.image).shape == (64, 64, 3)
    assert not np.array_equal(frames[0], np.asarray(steered.images[0]))
    left, right = np.hsplit(np.asarray(mended.image).astype(int), 2)
    assert (left[:, :-2] == (255, 0, 0)).all(-1).mean() > 0.9
    assert np.abs(right - (255, 0, 0)).mean() > 20
    first, last = (np.asarray(frame).astype(int).mean((0, 1)) for frame in (fade[0], fade[-1]))
    assert first[0] > first[2] + 50
    assert last[2] > last[0] + 50
