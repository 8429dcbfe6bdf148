"""Whatever file comes, the request in it is read, and what can't be used is told in words."""

import json
import os
import zipfile
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image
from PIL.ExifTags import IFD, Base
from PIL.PngImagePlugin import PngInfo

from api.recipes.read import input_hashes, read_request, restore
from media.texts import MAX_TEXT_BYTES
from media.write import open_clip
from pipelines.plan.choices import OutputFormat
from pipelines.plan.errors import UserError
from pipelines.plan.request import GenerationRequest
from studio.modes import Mode
from studio.stored_inputs import keep

FORMATS = {kind.lower(): kind for kind in OutputFormat}
INFOTEXT = (
    "a cat\nNegative prompt: a dog ✂\nSteps: 20, Sampler: Euler a, CFG scale: 5, Seed: 9, Size: 256x192, "
    'Model: demo, AnimateDiff: "model: demo, video_length: 24, fps: 6, closed_loop: A"'
)
REQUEST = GenerationRequest.build(
    prompt='0: a "cat" <script>\n8: a dog\\ = # ; ✂',
    negative_prompt="ugly",
    seed=2**32 - 1,
    fps="24000/1001",
    motion_scale="0: 0.5, 15: 1.5",
    num_inference_steps=7,
    formats=["GIF", "MP4"],
    closed_loop="full",
    keep_duration=False,
    width=128,
)
PIXELS = np.zeros((2, 32, 32, 3), np.uint8)


def clip_with(folder, text, kind):
    with open_clip(folder, stem="clip", formats=[kind], fps=Fraction(8), width=32, height=32, recipe=text) as writer:
        writer.write(PIXELS)
    return writer.files[0]


def picture_with(folder, text, kind):
    path = folder / f"picture.{kind}"
    picture = Image.fromarray(PIXELS[0])
    if kind == "png":
        info = PngInfo()
        info.add_text("parameters", text)
        picture.save(path, pnginfo=info)
        return path
    exif = Image.Exif()
    exif.get_ifd(IFD.Exif)[Base.UserComment] = b"UNICODE\0" + text.encode("utf-16-be")
    picture.save(path, exif=exif)
    return path


def text_with(folder, text, kind):
    path = folder / f"clip.{kind}"
    path.write_text(text, encoding="utf-8")
    return path


WAYS = (
    {name: (clip_with, kind) for name, kind in FORMATS.items()}
    | {f"{name} picture": (picture_with, name) for name in ("png", "webp", "jpeg")}
    | {f"{name} text": (text_with, name) for name in ("json", "txt")}
)


@pytest.mark.parametrize("way", WAYS)
def test_a_recipe_read_from_any_file_is_the_same_request(way, tmp_path):
    write, kind = WAYS[way]
    path = write(tmp_path, REQUEST.to_json(made_with={"app": "x"}), kind)
    restored = read_request(path.rename(tmp_path / "no-ending"))
    assert GenerationRequest.build(**restored.values) == REQUEST
    assert restored.notes == ()
    assert restored.mode is Mode.TXT2VID


@pytest.mark.parametrize("way", WAYS)
def test_an_infotext_is_read_from_any_file(way, tmp_path):
    write, kind = WAYS[way]
    restored = read_request(write(tmp_path, INFOTEXT, kind))
    request = GenerationRequest.build(**restored.values)
    assert (request.prompt, request.negative_prompt, request.seed) == ("a cat", "a dog ✂", 9)
    assert (request.num_frames, request.fps, request.width, request.height) == (24, 6, 256, 192)
    assert (request.scheduler, request.closed_loop, request.guidance_scale) == ("euler_a", "full", 5)
    assert (request.base_model, request.motion_module) == ("demo", "demo")
    assert restored.notes == ()


def test_an_older_recipe_takes_the_defaults_of_what_it_lacks():
    restored = restore('{"prompt": "a star", "seed": 3}')
    assert GenerationRequest.build(**restored.values) == GenerationRequest.build(prompt="a star", seed=3)
    assert restored.notes == ()
    assert restore('{"prompt": "a star"}').values["seed"] == -1


def test_what_cannot_be_used_is_told_and_the_rest_counts():
    document = {
        "width": 130,
        "guidance_scale": float("inf"),
        "seed": "9" * 5_000,
        "later": 1,
        "motion_module": "no/such",
        "vae": "no/vae",
        "context_length": 4,
        "context_overlap": 6,
        "num_inference_steps": 7,
    }
    restored = restore(json.dumps(document))
    starts = [note.split(" must ")[0] for note in restored.notes]
    assert starts[0] == "Unknown to this version: later."
    assert sorted(starts[1:]) == sorted(["width", "guidance_scale", "seed", "motion_module", "vae", "context_overlap"])
    values = restored.values
    assert (values["width"], values["guidance_scale"], values["seed"], values["vae"]) == (512, 7.5, -1, "")
    assert (values["motion_module"], values["context_length"], values["context_overlap"]) == ("demo", 4, -1)
    assert values["num_inference_steps"] == 7


def test_a_prompt_that_breaks_a_rule_is_not_lost():
    restored = restore(json.dumps({"prompt": "0: a\n99: b", "negative_prompt": "x" * 30_000, "num_frames": 16}))
    assert restored.values["prompt"] == "0: a\n99: b"
    assert restored.values["negative_prompt"] == ""
    assert [note.split(" must ")[0] for note in restored.notes] == ["negative_prompt", "prompt"]
    assert max(map(len, restored.notes)) < 400


def test_one_broken_unit_does_not_take_the_others_with_it():
    units = [{"model": "demo-canny", "weight": 9}, {"model": "demo-canny", "start": 0.5}, {"model": "no/such"}]
    restored = restore(json.dumps({"controls": units}))
    assert [(unit["model"], unit["start"]) for unit in restored.values["controls"]] == [
        ("demo-canny", 0.5),
        ("no/such", 0),
    ]
    assert [note.split(", got")[0] for note in restored.notes] == [
        "controls 1 weight must be from 0 to 4 at every key",
        "controls must be one of the catalog",
    ]
    assert restored.mode is Mode.IMG2VID


def test_files_that_are_not_here_are_asked_for_by_what_they_are_called(tmp_path):
    Image.fromarray(PIXELS[0]).save(tmp_path / "here.png")
    stored, gone = keep([tmp_path / "here.png"], field="mask"), "ab" * 32
    unit = {"model": "demo-canny", "clip": gone}
    prompt = {"model": "h94/IP-Adapter/ip-adapter_sd15", "pictures": [[0, stored], [7, gone]]}
    document = {"source_video": stored, "mask": gone, "controls": [unit], "image_prompts": [prompt]}
    restored = restore(json.dumps(document))
    assert restored.mode is Mode.VID2VID
    (question,) = (note for note in restored.notes if note.startswith("Choose again"))
    assert question == (
        "Choose again: Mask (abababababab…), Control unit 1 (abababababab…), Image prompt 1, frame 7 (abababababab…)."
    )
    assert dict(input_hashes(restored.request))["Source clip"] == stored
    (other,) = restore(json.dumps({"first_frame": gone})).notes
    assert other == "Choose again: First frame (abababababab…)."


def test_loras_that_are_not_here_are_told():
    (note,) = restore('{"prompt": "a <lora:demo-pan-left:1> <lora:none-such:1>"}').notes
    assert note.startswith("lora must be one of the catalog, got 'none-such'.")


def damaged_png(path):
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))


BAD = {
    "empty": lambda path: path.write_bytes(b""),
    "too long a text": lambda path: path.write_bytes(b"x\nSteps: 1" + b" " * MAX_TEXT_BYTES),
    "too long a text, cut in a letter": lambda path: path.write_bytes(b"x" * (MAX_TEXT_BYTES - 1) + "é".encode() * 9),
    "words": lambda path: path.write_text("a cat"),
    "another JSON": lambda path: path.write_text('{"name": "x"}'),
    "JSON, deep": lambda path: path.write_text('{"prompt": ' + "[" * 100_000),
    "NUL": lambda path: path.write_bytes(bytes(1000)),
    "a damaged PNG": damaged_png,
    "a cut MP4": lambda path: path.write_bytes(b"\0\0\0\x18ftypisom" + bytes(50)),
    "a cut GIF": lambda path: path.write_bytes(b"GIF89a" + bytes(3)),
    "a zip without": lambda path: zipfile.ZipFile(path, "w").writestr("x", "y"),
    "a PNG without": lambda path: Image.fromarray(PIXELS[0]).save(path, "PNG"),
    "a link": lambda path: path.symlink_to("/etc/hostname"),
    "a pipe": os.mkfifo,
}


@pytest.mark.parametrize("make", BAD.values(), ids=BAD)
def test_other_files_are_refused_in_words(make, tmp_path):
    path = tmp_path / "file"
    make(path)
    with pytest.raises(UserError) as refused:
        read_request(path)
    assert str(refused.value).startswith("file must ")
    assert len(str(refused.value)) < 400
    assert str(tmp_path) not in str(refused.value)


def test_notes_can_be_sent_whatever_the_file_says():
    for text in ('{"prompt": "\\ud800", "\\udfff": 1, "made_with": {}}', "\ud800\nSteps: 1, Sampler: \ud800"):
        restored = restore(text)
        assert "".join([*restored.notes, restored.values["prompt"]]).encode()
