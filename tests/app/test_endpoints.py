"""Clips from pictures and clips through the endpoints and the command line, with the real engine and model."""

import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import gradio
import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from api.command_line.main import main
from media.inputs import probe_input
from media.read import probe, read_frames, read_recipe
from media.write import open_clip
from pipelines.plan.choices import OutputFormat
from scripts.train_demo.world import Scene, render
from studio.engine import make_clip
from tests.app.conftest import served, studio_of

SMALL = {"base_model": "demo", "num_inference_steps": 2, "width": 64, "height": 64, "formats": ["PNG"]}
SMALL_OPTIONS = ("--base-model", "demo", "--num-inference-steps", "2", "--width", "64", "--height", "64", "--seed", "3")
ROOT = Path(__file__).resolve().parents[2]
PROMPT = "a red star moving right on a cyan background"
SCENE = Scene("star", "red", "cyan", "large", "right")


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with served(studio_of(make_clip)) as url:
        found = Client(url, verbose=False)
        yield found
        found.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """A folder with first.png, last.png, mask.png, source.mp4 and pictures 1.png to 10.png."""
    folder = tmp_path_factory.mktemp("inputs")
    frames = render(SCENE, height=64, width=64)
    Image.fromarray(frames[0]).save(folder / "first.png")
    Image.fromarray(frames[-1]).save(folder / "last.png")
    mask = np.zeros((64, 64), np.uint8)
    mask[:, 32:] = 255
    Image.fromarray(mask).save(folder / "mask.png")
    with open_clip(
        folder, stem="source", formats=(OutputFormat.MP4,), fps=12, width=64, height=64, recipe="{}"
    ) as writer:
        writer.write(frames[:6])
    (folder / "frames").mkdir()
    for number in range(10):
        Image.fromarray(frames[number]).save(folder / "frames" / f"{number + 1}.png")
    return folder


def psnr(made: np.ndarray, asked: np.ndarray) -> float:
    error = np.mean((made.astype(float) - asked) ** 2)
    return float(10 * np.log10(255**2 / error)) if error else np.inf


def frames_of(clip: str) -> np.ndarray:
    return read_frames(Path(clip))


def test_a_clip_begins_and_ends_with_the_pictures(client, files):
    clip, recipe, _ = client.predict(
        prompt=PROMPT,
        seed=3,
        num_frames=6,
        first_frame=handle_file(files / "first.png"),
        last_frame=handle_file(files / "last.png"),
        **SMALL,
        api_name="/img2vid",
    )
    made = frames_of(clip)
    assert len(made) == 6
    for frame, name in ((made[0], "first.png"), (made[-1], "last.png")):
        assert psnr(frame, np.asarray(Image.open(files / name))) > 22  # small for the model's autoencoder
    again, _, _ = client.predict(**recipe, api_name="/img2vid")
    assert np.array_equal(frames_of(again), made)


def test_a_source_gives_its_length_and_rate_and_stays_outside_the_mask(client, files):
    clip, recipe, _ = client.predict(
        prompt="a blue circle on a yellow background",
        seed=3,
        source_video=handle_file(files / "source.mp4"),
        mask=handle_file(files / "mask.png"),
        strength=1,
        **SMALL | {"num_inference_steps": 6},
        api_name="/vid2vid",
    )
    assert (recipe["num_frames"], recipe["fps"]) == (6, 12)
    made, source = frames_of(clip), read_frames(files / "source.mp4")
    assert psnr(made[:, :, :32], source[:, :, :32]) > 40
    assert psnr(made[:, :, 40:], source[:, :, 40:]) < 20


def test_pictures_steer_a_clip_through_a_control_unit(client, files):
    frames = [handle_file(path) for path in (files / "frames").iterdir()]
    unit = {"model": "demo-canny", "preprocessor": "canny", "weight": 1}
    values = {"prompt": PROMPT, "seed": 3, "source_frames": frames, "strength": 1, **SMALL, "api_name": "/vid2vid"}
    steered, recipe, _ = client.predict(controls=[unit], **values)
    plain, _, _ = client.predict(**values)
    assert recipe["num_frames"] == 10
    assert len(recipe["controls"]) == 1
    assert not np.array_equal(frames_of(steered), frames_of(plain))


def test_a_unit_may_bring_its_own_picture(client, files):
    unit = {"model": "demo-scribble", "preprocessor": "scribble_xdog", "clip": handle_file(files / "first.png")}
    first = handle_file(files / "first.png")
    _, recipe, _ = client.predict(
        prompt=PROMPT, seed=3, num_frames=4, first_frame=first, controls=[unit], **SMALL, api_name="/img2vid"
    )
    assert len(recipe["controls"][0]["clip"]) == 64


@pytest.mark.parametrize("api_name", ["/txt2vid", "/img2vid", "/vid2vid"])
def test_a_unit_with_a_picture_of_its_own_needs_nothing_beside_it(client, files, api_name):
    unit = {"model": "demo-canny", "preprocessor": "canny", "clip": handle_file(files / "first.png")}
    _, recipe, _ = client.predict(prompt=PROMPT, seed=3, num_frames=2, controls=[unit], **SMALL, api_name=api_name)
    assert len(recipe["controls"][0]["clip"]) == 64


def test_a_zip_of_pictures_and_masks_is_taken_apart(client, files, tmp_path):
    packed = tmp_path / "both.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for number in range(1, 4):
            archive.write(files / "frames" / f"{number}.png", f"image/{number}.png")
            archive.write(files / "mask.png", f"mask/{number}.png")
    clip, recipe, _ = client.predict(
        prompt=PROMPT, seed=3, source_video=handle_file(packed), strength=1, **SMALL, api_name="/vid2vid"
    )
    assert recipe["num_frames"] == 3
    assert len(recipe["mask"]) == 64
    source = np.stack([np.asarray(Image.open(files / "frames" / f"{number}.png")) for number in range(1, 4)])
    assert np.array_equal(frames_of(clip)[:, :, :32], source[:, :, :32])


def test_the_sound_stays_with_its_source(client):
    source = next(Path(gradio.__file__).parent.glob("media_assets/videos/b.mp4"))
    values = {"prompt": "x", "seed": 3, "source_video": handle_file(source), "num_frames": 8, "keep_audio": True}
    clip, recipe, _ = client.predict(**values, **SMALL | {"formats": ["MP4"]}, api_name="/vid2vid")
    assert recipe["fps"] == 30
    assert probe_input(Path(clip)).has_audio
    assert read_recipe(Path(clip))


@pytest.mark.parametrize(
    ("preprocessor", "options"), [("canny", {"low": 50, "high": 150}), ("invert", None), ("none", {})]
)
def test_a_control_clip_can_be_seen_beforehand(client, files, preprocessor, options):
    video, _ = client.predict(
        clip=handle_file(files / "source.mp4"),
        preprocessor=preprocessor,
        options=options,
        width=64,
        height=64,
        api_name="/preprocess",
    )
    made, source = read_frames(Path(video)), read_frames(files / "source.mp4")
    assert made.shape == source.shape
    expected = {"canny": made.mean() < 60, "invert": psnr(255 - made, source) > 25, "none": psnr(made, source) > 25}
    assert expected[preprocessor]


@pytest.mark.parametrize(
    ("api_name", "values", "words"),
    [
        ("/img2vid", {}, "first_frame must be a file, got none"),
        ("/vid2vid", {}, "source_video must be a file, got none"),
        ("/img2vid", {"first_frame": {"path": "/etc/passwd"}}, "first_frame must be an uploaded file"),
        ("/img2vid", {"first_frame": "/etc/passwd"}, "first_frame must be the SHA-256 of a file"),
        ("/img2vid", {"first_frame": "0" * 64}, "first_frame must be a file that is here"),
        ("/vid2vid", {"source_video": "0" * 64}, "source_video must be a file that is here"),
    ],
)
def test_what_is_no_upload_is_refused_in_words(client, api_name, values, words):
    with pytest.raises(AppError, match=words):
        client.predict(prompt="x", **values, **SMALL, api_name=api_name)


@pytest.mark.parametrize(
    ("unit", "words"),
    [
        ({"model": "nobody/nothing"}, "controls"),
        ({"model": "demo-canny", "preprocessor": "cany"}, "controls.*cany"),
        ({"model": "demo-canny", "start": 0.5, "end": 0.5}, "controls.*end must be above start"),
        ({"model": "demo-canny", "colour": "red"}, "controls.*colour"),
        ({"model": "demo-canny", "preprocessor": "canny", "options": {"low": 1e9}}, "controls"),
    ],
)
def test_a_unit_that_cannot_be_is_refused_by_name(client, files, unit, words):
    source = handle_file(files / "source.mp4")
    with pytest.raises(AppError, match=words):
        client.predict(prompt="x", source_video=source, controls=[unit], **SMALL, api_name="/vid2vid")


def run_command(*words: str, output: Path) -> int:
    return main([*words, *SMALL_OPTIONS, "-o", str(output)])


def test_the_command_line_takes_files_folders_and_units(files, tmp_path, capsys):
    output = tmp_path / "clip.zip"
    code = run_command(
        PROMPT,
        *("--source-video", str(files / "frames"), "--strength", "1", "--num-frames", "0"),
        *("--control", "model=demo-canny preprocessor=canny weight='0: 1, 9: 0.5' options.low=80"),
        output=output,
    )
    assert code == 0, capsys.readouterr().err
    assert probe(output).num_frames == 10
    capsys.readouterr()
    assert run_command("x", "--source-video", str(files / "none"), output=output) == 2
    assert capsys.readouterr().err.startswith("source_video must be a file or folder, got ")


def run_process(*words: str, output: Path) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, which has no files of others."""
    command = [sys.executable, "-m", "api", *words, *SMALL_OPTIONS, "-o", str(output)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_recipe_that_is_made_again_asks_for_its_files(files, tmp_path, capsys):
    first, again = tmp_path / "first.zip", tmp_path / "again.zip"
    picture = ("--first-frame", str(files / "first.png"))
    assert run_command(PROMPT, *picture, "--num-frames", "3", output=first) == 0, capsys.readouterr().err
    missing = run_process("--recipe", str(first), output=again)
    assert missing.returncode == 2
    assert "first_frame must be a file that is here" in missing.stderr
    assert run_command("--recipe", str(first), *picture, output=again) == 0, capsys.readouterr().err
    assert np.array_equal(read_frames(first), read_frames(again))
