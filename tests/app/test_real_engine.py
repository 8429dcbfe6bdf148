"""The whole house: endpoint and command line around the real engine and the embedded model.

The clips are small and of few steps: whether pictures are good is measured elsewhere, here they only have to
be the same ones.
"""

import hashlib
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError
from PIL import Image

from api.command_line.main import main
from api.recipes.read import read_request
from media.read import probe, read_frames, read_recipe
from pipelines.plan.choices import OutputFormat
from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.events import Clip, Progress, Stage
from pipelines.plan.version import VERSION
from studio.engine import build_request, make_clip
from studio.stored_inputs import keep
from tests.app.conftest import served, studio_of

ROOT = Path(__file__).resolve().parents[2]
SMALL = {"base_model": "demo", "num_frames": 4, "num_inference_steps": 2, "width": 64, "height": 64}
PROMPT = "a red circle moving right on a blue background"

pytestmark = pytest.mark.skipif(
    not (ROOT / "assets/demo/model_index.json").exists(), reason="the embedded model is not there"
)


def command_for(*words: str, folder: Path) -> list[str]:
    return [sys.executable, "-m", "api", *words, "-o", str(folder / "clip.mp4")]


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """Where the page's runs put their files, so that a test can see what is left."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def real(runs, tmp_path_factory) -> Iterator[Client]:
    with pytest.MonkeyPatch.context() as patch, served(studio_of(make_clip)) as url:
        patch.setattr("tempfile.tempdir", str(runs))
        client = Client(url, verbose=False, download_files=tmp_path_factory.mktemp("downloads"))
        yield client
        client.close()


@pytest.fixture(scope="module")
def made(real) -> tuple[str, dict]:
    video, recipe, _ = real.predict(prompt=PROMPT, seed=11, **SMALL, api_name="/txt2vid")
    return video, recipe


def test_a_call_gives_a_playable_video_that_carries_its_recipe(made):
    video, recipe = made
    info = probe(Path(video))
    assert (info.num_frames, info.width, info.height, info.fps) == (4, 64, 64, 8)
    assert (info.listing.codec, info.listing.pix_fmt) == ("h264", "yuv420p")
    in_file = json.loads(read_recipe(Path(video)))
    made_with = in_file.pop("made_with")
    assert in_file == recipe
    assert made_with["app"] == f"AnimateDiff Studio {VERSION}"
    unet = ROOT / "assets/demo/unet/diffusion_pytorch_model.safetensors"
    assert made_with["weights"]["unet"] == hashlib.sha256(unet.read_bytes()).hexdigest()
    assert recipe["seed"] == 11


def test_the_command_line_makes_the_same_frames_from_the_recipe(made, tmp_path):
    video, recipe = made
    command = command_for("--recipe", json.dumps(recipe), folder=tmp_path)
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{tmp_path / 'clip.mp4'}  seed 11\n"
    assert np.array_equal(read_frames(tmp_path / "clip.mp4"), read_frames(Path(video)))


def test_a_clip_replays_from_the_recipe_inside_it(made, tmp_path):
    video, _ = made
    assert main(["--recipe", video, "-o", str(tmp_path / "clip.mp4")]) == 0
    assert np.array_equal(read_frames(tmp_path / "clip.mp4"), read_frames(Path(video)))


def test_a_clip_is_finished_on_its_way_into_the_file(made, tmp_path, capsys):
    video, recipe = made
    finished = recipe | {"interpolation": "flow", "interpolation_frames": 2, "upscale_by": 1.5}
    assert main(["--recipe", json.dumps(finished), "-o", str(tmp_path / "clip.mp4")]) == 0
    assert capsys.readouterr().err == ""
    info = probe(tmp_path / "clip.mp4")
    assert (info.num_frames, info.width, info.height, info.fps) == (12, 96, 96, 24)
    # What was made is still there, only larger.
    small, large = read_frames(Path(video)).astype(float), read_frames(tmp_path / "clip.mp4").astype(float)[::3]
    shrunk = np.stack([np.asarray(Image.fromarray(frame.astype(np.uint8)).resize((64, 64))) for frame in large])
    assert np.abs(shrunk - small).mean() < 4


def test_cancelling_between_frames_that_are_being_finished_leaves_no_file(tmp_path):
    request = build_request(prompt=PROMPT, seed=1, **SMALL, interpolation="flow", upscale_by=2)
    events = make_clip(request, tmp_path)
    decoded = (event.step for event in events if isinstance(event, Progress) and event.stage is Stage.DECODE)
    assert [next(decoded), next(decoded)] == [1, 2]
    events.close()
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_upscaler_is_refused_before_anything_is_made(tmp_path):
    request = build_request(prompt=PROMPT, **SMALL, upscale_by=2, upscaler="lanzos")
    with pytest.raises(InvalidRequestError, match=r"^upscaler must be one of the catalog"):
        next(make_clip(request, tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_the_recipe_in_every_format_gives_the_same_files_byte_for_byte(tmp_path):
    formats = [kind.value for kind in OutputFormat]
    request = build_request(prompt=f"0: {PROMPT}\n3: a star", seed=11, formats=formats, fps="25/2", **SMALL)
    *_, first = make_clip(request, tmp_path / "first")
    read = [build_request(**read_request(path).values) for path in first.files]
    assert read == [request] * len(formats)
    *_, second = make_clip(read[0], tmp_path / "second")
    assert [path.read_bytes() for path in second.files] == [path.read_bytes() for path in first.files]


def test_a_command_that_was_killed_goes_on_when_it_is_given_again(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CHECKPOINT_DIR", "")  # the option sets it: put back afterwards
    options = SMALL | {"num_inference_steps": 40, "seed": 11}
    words = [PROMPT, "--checkpoints", str(tmp_path / "kept")]
    words += [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    begun = subprocess.Popen(command_for(*words, folder=tmp_path), cwd=ROOT)
    while not list(tmp_path.glob("kept/*.checkpoint")) and begun.poll() is None:
        time.sleep(0.01)
    begun.kill()
    assert begun.wait() == -signal.SIGKILL
    assert main([*words, "-o", str(tmp_path / "clip.mp4")]) == 0
    note = r"Going on from step [1-9]\d* of 40, where an earlier run ended\.\n"
    assert re.fullmatch(note, capsys.readouterr().err)
    *_, clip = make_clip(build_request(prompt=PROMPT, **options), tmp_path / "whole")
    assert np.array_equal(read_frames(tmp_path / "clip.mp4"), read_frames(clip.files[0]))
    assert list((tmp_path / "kept").iterdir()) == []


def test_another_seed_makes_another_clip(real, made):
    video, _, _ = real.predict(prompt=PROMPT, seed=12, **SMALL, api_name="/txt2vid")
    assert not np.array_equal(read_frames(Path(video)), read_frames(Path(made[0])))


def test_an_empty_prompt_is_allowed(real):
    video, recipe, _ = real.predict(prompt="", **SMALL, api_name="/txt2vid")
    assert probe(Path(video)).num_frames == 4
    assert recipe["prompt"] == ""


def test_reading_pictures_and_clips_is_a_stage_of_its_own(tmp_path):
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(tmp_path / "first.png")
    first = keep([tmp_path / "first.png"], field="first_frame")
    *told, _ = make_clip(build_request(prompt=PROMPT, seed=1, first_frame=first, **SMALL), tmp_path)
    assert list(dict.fromkeys(event.stage for event in told)) == [stage for stage in Stage if stage is not Stage.WAIT]


def test_a_source_clip_that_is_cut_off_is_used_and_told(tmp_path):
    whole, cut = tmp_path / "whole.gif", tmp_path / "cut.gif"
    noise = np.random.default_rng(0).integers(0, 256, (6, 32, 48, 3), np.uint8)
    first, *more = [Image.fromarray(frame) for frame in noise]
    first.save(whole, save_all=True, append_images=more, duration=50)
    cut.write_bytes(whole.read_bytes()[:9_000])
    values = {"prompt": PROMPT, "seed": 1, **SMALL | {"num_frames": 3}}
    for path, told in ((cut, ["Source clip: It is damaged or cut off; "]), (whole, [])):
        source = keep([path], field="source_video")
        *_, clip = make_clip(build_request(source_video=source, **values), tmp_path)
        assert [warning[: len(start)] for warning, start in zip(clip.warnings, told, strict=True)] == told


def test_the_engine_tells_every_stage_with_a_preview_and_ends_with_the_clip(tmp_path):
    request = build_request(prompt=PROMPT, seed=1, formats=["GIF", "MP4", "PNG"], **SMALL)
    *told, clip = make_clip(request, tmp_path)
    assert isinstance(clip, Clip)
    assert all(isinstance(event, Progress) for event in told)
    assert list(dict.fromkeys(event.stage for event in told)) == [*Stage][2:]
    assert any(event.preview is not None for event in told)
    assert [path.suffix for path in clip.files] == [".gif", ".mp4", ".zip"]
    assert sorted(tmp_path.iterdir()) == sorted(clip.files)


def test_what_became_of_the_files_is_told_with_the_clip(tmp_path):
    request = build_request(prompt=PROMPT, seed=1, formats=["WEBP", "APNG"], max_file_mb=0.001, **SMALL)
    *_, clip = make_clip(request, tmp_path)
    assert [path.suffix for path in clip.files] == [".webp", ".png"]
    assert [warning[:8] for warning in clip.warnings] == ["The WEBP", "The APNG"]


@pytest.mark.parametrize("last_stage", [Stage.DENOISE, Stage.DECODE, Stage.WRITE])
def test_closing_the_engine_leaves_no_file(tmp_path, last_stage):
    request = build_request(prompt=PROMPT, seed=1, **SMALL)
    events = make_clip(request, tmp_path)
    assert next(event for event in events if event.stage == last_stage)
    events.close()
    assert list(tmp_path.iterdir()) == []


BAD = [
    ({"num_frames": -1}, "num_frames"),
    ({"num_frames": -3}, "num_frames"),
    ({"num_frames": 10_001}, "num_frames"),
    ({"width": 130}, "width"),
    ({"height": 4096}, "height"),
    ({"width": 0}, "width"),
    ({"guidance_scale": "nan"}, "guidance_scale"),
    ({"guidance_scale": "inf"}, "guidance_scale"),
    ({"fps": "0"}, "fps"),
    ({"fps": "1/0"}, "fps"),
    ({"scheduler": "magic"}, "scheduler"),
    ({"base_model": "no/such-model"}, "base_model"),
    ({"base_model": "../../etc/passwd"}, "base_model"),
    ({"motion_module": "no/such-module"}, "motion_module"),
    ({"context_length": 8, "context_overlap": 8}, "context_overlap"),
    ({"context_length": 64, "num_frames": 64}, "context_length"),
    ({"prompt": "x" * 1_000_000}, "prompt"),
    ({"formats": []}, "formats"),
    ({"formats": ["AVI"]}, "formats"),
    ({"formats": ["MP4", "MP4"]}, "formats"),
    ({"formats": ["GIF"], "fps": 60}, "fps"),
    ({"seed": -2}, "seed"),
    ({"seed": 2**32}, "seed"),
]


@pytest.mark.parametrize(("values", "field"), BAD, ids=[f"{list(v)[-1]}-{i}" for i, (v, _) in enumerate(BAD)])
def test_bad_input_is_refused_in_words_and_leaves_nothing(real, runs, values, field):
    with pytest.raises(AppError) as caught:
        real.predict(**{"prompt": PROMPT, **SMALL, **values}, api_name="/txt2vid")
    said = str(caught.value)
    assert said.startswith(f"{field} must ")
    assert ", got " in said
    assert said.endswith(".")
    assert said.count(". ") >= 1, "the rule is followed by what to do"
    assert len(said) < 600
    assert list(runs.glob("run-*")) == []


def test_a_field_that_does_not_exist_is_refused_on_the_command_line(tmp_path, capsys):
    assert main([PROMPT, "--recipe", '{"size": 1}', "-o", str(tmp_path / "clip.mp4")]) == 2
    assert capsys.readouterr().err.startswith("size must be a field of the request")
    assert list(tmp_path.iterdir()) == []


def test_a_bad_recipe_of_the_right_shape_is_refused_before_the_engine_is_asked(tmp_path, capsys):
    words = [PROMPT, "--context-length", "8", "--context-overlap", "9", "-o", str(tmp_path / "clip.mp4")]
    assert main(words, engine=lambda *_: pytest.fail("the engine is asked")) == 2
    assert capsys.readouterr().err.startswith("context_overlap must be below context_length (8), got 9.")
    assert list(tmp_path.iterdir()) == []


def test_a_batch_of_two_lines_makes_two_clips_and_started_again_none(tmp_path, capsys):
    lines = [{"prompt": PROMPT, "seed": 3}, {"prompt": "a green star on a white background"}]
    (tmp_path / "clips.jsonl").write_text("\n".join(map(json.dumps, lines)))
    options = [word for name, value in SMALL.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    words = ["--batch", str(tmp_path / "clips.jsonl"), "-o", f"{tmp_path}/clips/", "--json", "--skip-done", *options]
    results = []
    for _ in range(2):
        assert main(words) == 0
        output = capsys.readouterr()
        assert output.err == ""
        results.append([json.loads(line) for line in output.out.splitlines()])
    made, there = results
    files = [tmp_path / "clips" / name for name in ("0001.mp4", "0002.mp4")]
    assert [(one["line"], one["output"]) for one in made] == [(1, str(files[0])), (2, str(files[1]))]
    assert [(one["seed"], one["skipped"]) for one in there] == [(one["seed"], True) for one in made]
    assert [json.loads(read_recipe(file))["prompt"] for file in files] == [line["prompt"] for line in lines]
    assert not np.array_equal(*map(read_frames, files))
