"""Batches from a file of JSON lines, by the command line around a stand-in engine."""

import io
import json
import signal
import sys
from pathlib import Path

import pytest
from PIL import Image

from api.command_line.main import main
from media.read import read_recipe
from pipelines.plan.draft import draft_of
from pipelines.plan.request import GenerationRequest
from studio.stored_inputs import is_here
from tests.app.fake_engine import REFUSAL, FakeEngine


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine(step_s=0)


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """The current folder, which paths are from."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def batch(folder: Path, *lines: dict | str) -> str:
    """A file of these lines."""
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    (folder / "clips.jsonl").write_text("\n".join(texts) + "\n", encoding="utf-8")
    return "clips.jsonl"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_every_line_is_a_clip_of_its_own_and_options_count_where_it_says_nothing(engine, folder, capsys):
    lines = batch(folder, {"prompt": "a", "seed": 7}, "", {"num_frames": 3, "seed": 8}, {"prompt": "ä", "seed": None})
    words = ["b", "--batch", lines, "-o", "clips/", "--num-frames", "2", "--seed", "5"]
    assert main(words, engine=engine.make_clip) == 0
    told = [(one.prompt, one.num_frames, one.seed) for one in engine.requests]
    assert told[:2] == [("a", 2, 7), ("b", 3, 8)]
    assert told[2][:2] == ("ä", 2)
    assert told[2][2] != 5  # null took the option away: drawn
    assert names(folder / "clips") == ["0001.mp4", "0003.mp4", "0004.mp4"]
    assert capsys.readouterr().out.splitlines()[:2] == ["clips/0001.mp4  seed 7", "clips/0003.mp4  seed 8"]


def test_results_are_json_lines_and_so_are_those_of_a_single_clip(engine, folder, capsys):
    lines = batch(folder, {"prompt": "a", "seed": 7}, {"prompt": "refuse", "seed": 8})
    assert main(["--batch", lines, "--json", "-o", "clip.mp4", "-o", "clip.txt"], engine=engine.make_clip) == 1
    told = capsys.readouterr()
    found = [json.loads(line) for line in told.out.splitlines()]
    assert [(one["line"], one.get("output"), one.get("seed")) for one in found] == [
        (1, "clip-0001.mp4", 7),
        (1, "clip-0001.txt", 7),
        (2, None, None),
    ]
    assert found[0]["seconds"] >= 0
    assert found[2]["error"] == REFUSAL
    assert told.err == f"line 2: {REFUSAL}\n1 of 2 clips were written.\n"
    assert main(["a", "--seed", "3", "--json", "-o", "one.gif"], engine=engine.make_clip) == 0
    single = json.loads(capsys.readouterr().out)
    assert {name: single[name] for name in single if name != "seconds"} == {"output": "one.gif", "seed": 3}


def test_names_have_places_for_line_and_seed_and_a_line_may_name_its_own_files(engine, folder):
    lines = batch(
        folder,
        {"seed": 7},
        {"seed": 8, "output": "own.gif"},
        {"seed": 9, "output": ["{line}.webp", "frames-{seed}/"], "num_frames": 2},
    )
    assert main(["--batch", lines, "-o", "{seed}-of-{line}.mp4"], engine=engine.make_clip) == 0
    assert names(folder) == ["0003.webp", "7-of-0001.mp4", "clips.jsonl", "frames-9", "own.gif"]
    assert names(folder / "frames-9") == ["00000.png", "00001.png", "clip.json", "recipe.json"]


def test_recipes_presets_drafts_and_extensions_are_said_by_a_line_as_by_options(engine, folder):
    assert main(["a star", "-o", "first.mp4", "--seed", "4"], engine=engine.make_clip) == 0
    first = engine.requests.pop()
    lines = batch(
        folder,
        {"recipe": "first.mp4"},
        {"recipe": json.loads(first.to_json()), "prompt": "a heart"},
        {"extend": "first.mp4", "frames": 4},
        {"prompt": "a star", "preset": "lcm", "base_model": "demo", "seed": 1},
        {"recipe": "first.mp4", "draft": True},
    )
    assert main(["--batch", lines, "-o", "{line}.mp4", "--fps", "12"], engine=engine.make_clip) == 0
    at_twelve = first.model_copy(update={"fps": 12})
    assert engine.requests[0] == at_twelve
    assert engine.requests[1] == at_twelve.model_copy(update={"prompt": "a heart"})
    assert engine.requests[2] == at_twelve.model_copy(update={"num_frames": 20, "extended_from": (16,)})
    assert (engine.requests[3].motion_module, engine.requests[3].num_inference_steps) == ("demo-lcm", 4)
    assert engine.requests[4] == draft_of(at_twelve)


def test_files_are_named_by_path_in_a_line_and_inside_its_units(engine, folder):
    Image.new("RGB", (64, 64), "red").save(folder / "a.png")
    unit = {"model": "demo-canny", "preprocessor": "canny", "clip": "a.png"}
    text = "model=demo-canny clip=a.png weight=0.5"
    lines = batch(
        folder,
        {
            "first_frame": "a.png",
            "image_prompts": [{"model": "h94/IP-Adapter/ip-adapter_sd15", "pictures": [[0, "a.png"]]}],
        },
        {"source_video": "a.png", "controls": [unit, text]},
    )
    assert main(["--batch", lines, "-o", "{line}.mp4"], engine=engine.make_clip) == 0
    pictured, steered = engine.requests
    sha256 = pictured.first_frame
    assert is_here(sha256)
    assert pictured.image_prompts[0].pictures == ((0, sha256),)
    assert steered.source_video == sha256
    assert [(one.clip, one.weight) for one in steered.controls] == [(sha256, ((0, 1.0),)), (sha256, ((0, 0.5),))]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 2: must be JSON, got { (Expecting property name enclosed in double quotes at column 2)."),
        ("[1]", "line 2: must be a JSON object, got [1]."),
        ("[" * 100_000, "line 2: must be JSON, got [[["),
        ({"num_frames": -1}, "line 2: num_frames must be greater than or equal to 1, got -1. Change 'Frames'."),
        ({"size": 3}, "line 2: size must be a field of the request, got size=3."),
        ({"prompt": 7}, "line 2: prompt must be a valid string, got 7. Write it as text."),
        ({"formats": ["GIF"]}, 'line 2: formats must not be in a line, got ["GIF"].'),
        ({"count": 2}, "line 2: count must not be in a line, got 2."),
        ({"seed": "7, 8"}, "line 2: seed must be a valid integer"),
        ({"output": 3}, "line 2: output must be a name, or a list of names, got 3."),
        ({"output": "a.avi"}, "line 2: output must end in one of .mp4"),
        ({"output": "0001.mp4"}, "line 2: output must differ from that of line 1, got 0001.mp4."),
        ({"output": "no/a.mp4"}, "line 2: output must be a file in an existing folder"),
        ({"first_frame": "no.png"}, "line 2: first_frame must be a file or folder, got no.png."),
        ({"first_frame": 3}, "line 2: first_frame must be a path as text, got 3."),
        ({"preset": "fast"}, "line 2: preset must be one of draft"),
        ({"prompt": "<lora:none-such:1>"}, "line 2: lora must be one of the catalog, got 'none-such'"),
        ({"controls": [{"model": "no-such"}]}, "line 2: controls must be one of the catalog, got 'no-such'."),
        ({"controls": "model=demo-canny"}, "line 2: controls must be a list"),
        ({"fps": 100, "output": "a.gif"}, "line 2: fps must be at most 50 for GIF"),
    ],
)
def test_a_bad_line_is_told_before_any_clip_is_made(engine, folder, capsys, line, said):
    lines = batch(folder, {"prompt": "good", "output": "0001.mp4"}, line)
    assert main(["--batch", lines, "-o", "clips/"], engine=engine.make_clip) == 2
    told = capsys.readouterr()
    assert told.err.startswith(said)
    assert told.err.count("\n") == 1
    assert (told.out, engine.requests) == ("", [])
    assert names(folder) == ["clips.jsonl"]


def test_all_bad_lines_are_told_at_once_up_to_a_screenful(engine, folder, capsys):
    assert main(["--batch", batch(folder, *[{"fps": 0}] * 22), "-o", "x/"], engine=engine.make_clip) == 2
    told = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in told[:20]] == [f"line {number}" for number in range(1, 21)]
    assert told[20:] == ["… and 2 more lines."]


@pytest.mark.parametrize(
    ("content", "words", "said"),
    [
        (b"\n \n", ["-o", "x/"], "batch must have a line, got none."),
        (b'{"prompt": "\xff"}', ["-o", "x/"], "batch must be text in UTF-8, got byte 12 that is none."),
        (b"{}", [], "line 1: output must be a name, or a list of names, got none. Write -o clips/"),
        (b"{}", ["-o", "x/", "--grid", "seed: 1-2"], "grid must come without --batch, got both."),
        (b"{}", ["-o", "clips.jsonl/"], "output must leave room for a folder clips.jsonl, got File exists."),
    ],
)
def test_a_batch_that_cannot_be_is_one_line(engine, folder, capsys, content, words, said):
    (folder / "clips.jsonl").write_bytes(content)
    assert main(["--batch", "clips.jsonl", *words], engine=engine.make_clip) == 2
    told = capsys.readouterr().err
    assert told.startswith(said)
    assert told.count("\n") == 1
    assert names(folder) == ["clips.jsonl"]


@pytest.mark.usefixtures("folder")
def test_a_file_that_is_not_there_is_told(engine, capsys):
    assert main(["--batch", "no.jsonl", "-o", "x/"], engine=engine.make_clip) == 2
    assert capsys.readouterr().err.startswith("batch must be a file that can be read, got no.jsonl (No such file")


def test_a_clip_that_fails_leaves_the_others_to_be_made(engine, folder, capsys):
    lines = batch(folder, {"prompt": "refuse"}, {"prompt": "break"}, {"prompt": "good"})
    assert main(["--batch", lines, "-o", "clips/"], engine=engine.make_clip) == 1
    told = capsys.readouterr().err
    assert told.startswith(f"line 1: {REFUSAL}\nTraceback")
    assert told.endswith("\nline 2: RuntimeError: secret detail\n1 of 3 clips were written.\n")
    assert names(folder / "clips") == ["0003.mp4"]


def test_a_batch_started_again_makes_only_what_is_missing(engine, folder, capsys):
    drawn, seeded = {"prompt": "drawn", "output": ["a.mp4", "a-frames/"]}, {"prompt": "seeded", "seed": 7}
    words = ["--num-frames", "2", "-o", "clips/", "--skip-done", "--json"]
    assert main(["--batch", batch(folder, drawn, seeded), *words], engine=engine.make_clip) == 0
    seed = engine.requests[0].seed
    again = ["--batch", batch(folder, drawn, {**seeded, "fps": 9}, {"seed": 1}), *words]
    capsys.readouterr()
    assert main(again, engine=engine.make_clip) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert told[:2] == [{"line": 1, "output": name, "seed": seed, "skipped": True} for name in ("a.mp4", "a-frames")]
    assert [(one["line"], one["seed"]) for one in told[2:]] == [(2, 7), (3, 1)]
    assert [(one.prompt, one.fps) for one in engine.requests[2:]] == [("seeded", 9), ("", 8)]
    assert main(again, engine=engine.make_clip) == 0
    assert len(engine.requests) == 4


def test_a_file_that_is_cut_off_or_another_program_s_is_made_again(engine, folder):
    words = ["a", "--seed", "1", "--skip-done", "-o", "a.mp4"]
    (folder / "a.mp4").write_bytes(b"\0 no clip")
    assert main(words, engine=engine.make_clip) == 0
    assert GenerationRequest.from_json(read_recipe(folder / "a.mp4")).seed == 1
    assert main(words, engine=engine.make_clip) == 0
    assert len(engine.requests) == 1


def test_ctrl_c_keeps_what_is_finished_and_leaves_no_half_file(folder, capsys):
    def interrupted(request, work):
        for event in FakeEngine(step_s=0).make_clip(request, work):
            if request.seed == 2:
                (work / "half.mp4").write_bytes(b"half")
                signal.raise_signal(signal.SIGINT)
            yield event

    lines = batch(folder, {"seed": 1}, {"seed": 2}, {"seed": 3})
    assert main(["--batch", lines, "-o", "clips/"], engine=interrupted) == 130
    assert capsys.readouterr().err == "Stopped; 1 of 3 clips were written.\n"
    assert names(folder / "clips") == ["0001.mp4"]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("charset", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_batch_comes_from_standard_input_too(engine, monkeypatch, charset):
    data = '{"prompt": "ä"}\r\n{"prompt": "b"}'.encode(charset)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert main(["--batch", "-", "-o", "clips/"], engine=engine.make_clip) == 0
    assert [one.prompt for one in engine.requests] == ["ä", "b"]


def test_a_batch_is_estimated_without_names_and_nothing_is_made(engine, folder, capsys):
    lines = batch(folder, {"prompt": "a", "base_model": "demo"}, {"base_model": "demo", "num_frames": 32})
    assert main(["--batch", lines, "--estimate"], engine=engine.make_clip) == 0
    told = capsys.readouterr().out.splitlines()
    assert [line.split(": About")[0] for line in told[:2]] == ["line 1", "line 2"]
    assert told[2].startswith("2 clips: about ")
    assert main(["--batch", lines, "--estimate", "--json"], engine=engine.make_clip) == 0
    first, second, both = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert first["seconds"] < second["seconds"]
    assert second["seconds"] < both["seconds"] < first["seconds"] + second["seconds"]  # the model is loaded once
    assert (first["line"], first["fits"]) == (1, True)
    assert engine.requests == []
    assert names(folder) == ["clips.jsonl"]
