"""The command line's own behaviour: options, exit codes, files; the clips of the real engine are tested apart."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from api.command_line.main import main
from media.read import read_frames
from pipelines.plan.draft import draft_of
from pipelines.plan.planner.estimate import Budget
from pipelines.plan.request import INPUT_FIELDS
from pipelines.plan.settings import settings
from studio.field_groups import GROUPS, TAB_GROUPS
from studio.fields import FIELDS
from studio.stored_inputs import input_store
from tests.app.fake_engine import REFUSAL, WARNING, FakeEngine


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine(step_s=0)


def test_a_prompt_and_a_name_give_a_file_and_say_the_seed(engine, tmp_path, capsys):
    target = tmp_path / "clip.mp4"
    code = main(["a red circle", "-o", str(target), "--seed", "7", "--num-frames", "4"], engine=engine.make_clip)
    told = capsys.readouterr()
    assert code == 0
    assert target.read_bytes()[4:8] == b"ftyp"
    assert told.out == f"{target}  seed 7\n"
    assert told.err == ""
    assert (engine.requests[0].prompt, engine.requests[0].num_frames) == ("a red circle", 4)
    assert list(tmp_path.iterdir()) == [target]


def test_a_warning_is_told_apart_from_the_result(engine, tmp_path, capsys):
    assert main(["warn me", "-o", str(tmp_path / "clip.mp4")], engine=engine.make_clip) == 0
    assert capsys.readouterr().err == f"{WARNING}\n"


def test_the_suffix_names_the_format_and_several_outputs_are_made_at_once(engine, tmp_path):
    names = ["clip.gif", "clip.mp4", "frames.zip"]
    outputs = [word for name in names for word in ("-o", str(tmp_path / name))]
    assert main(["x", *outputs], engine=engine.make_clip) == 0
    assert engine.requests[0].formats == ("GIF", "MP4", "PNG")
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert Image.open(io.BytesIO((tmp_path / "clip.gif").read_bytes())).format == "GIF"


@pytest.mark.parametrize(
    "names",
    [("a.zip", "frames/"), ("frames/", "a.zip"), ("a.mp4", "b.mp4", "c.gif"), ("a.apng", "b.png", "x/", "y/", "z.zip")],
)
def test_several_outputs_of_one_format_are_made_once_and_put_into_every_place(engine, tmp_path, names):
    outputs = [word for name in names for word in ("-o", f"{tmp_path}/{name}")]
    assert main(["x", "--num-frames", "3", *outputs], engine=engine.make_clip) == 0
    assert len(set(engine.requests[0].formats)) == len(engine.requests[0].formats)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(name.rstrip("/") for name in names)
    for name in names:
        path = tmp_path / name
        frames = 3 if not path.is_dir() else len(list(path.glob("0*.png")))
        assert frames == 3
        if path.is_file():
            assert len(read_frames(path)) == 3
            assert main(["--recipe", str(path), "--estimate"]) == 0


def test_an_output_that_is_named_twice_is_refused(engine, tmp_path, capsys):
    for names in (("a.mp4", "a.mp4"), ("frames/", "frames"), ("b.mp4", "./b.mp4")):
        (tmp_path / "frames").mkdir(exist_ok=True)
        outputs = [word for name in names for word in ("-o", f"{tmp_path}/{name}")]
        assert main(["x", *outputs], engine=engine.make_clip) == 2
        assert "output must name each place once, got " in capsys.readouterr().err
    assert engine.requests == []


def test_a_length_of_nothing_is_the_source_s_or_a_window_s(engine, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for number in range(5):
        Image.new("RGB", (64, 64), (number, 0, 0)).save(source / f"{number}.png")
    target = str(tmp_path / "clip.mp4")
    assert main(["x", "--num-frames", "0", "--source-video", str(source), "-o", target], engine=engine.make_clip) == 0
    assert main(["x", "--num-frames", "0", "-o", target], engine=engine.make_clip) == 0
    assert [request.num_frames for request in engine.requests] == [5, 16]


def folder_of(path, **levels):
    """Pictures of grey below a folder; `image_1=5` is image/1.png."""
    for name, level in levels.items():
        picture = path / f"{name.replace('_', '/')}.png"
        picture.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (64, 64), level).save(picture)
    return path


def test_a_folder_with_image_and_mask_is_a_source_and_where_it_may_change(engine, tmp_path):
    takes = folder_of(tmp_path / "takes", image_1=5, image_2=6, mask_1=255, mask_2=0)
    words = ["x", "--source-video", str(takes), "-o", str(tmp_path / "clip.mp4")]
    assert main(words, engine=engine.make_clip) == 0
    request = engine.requests[0]
    assert request.num_frames == 2
    assert [int(input_store().open(one).frames([1])[0, 9, 9, 0]) for one in (request.source_video, request.mask)] == [
        6,
        0,
    ]
    own = folder_of(tmp_path / "own", a=255)
    assert main([*words, "--mask", str(own)], engine=engine.make_clip) == 0
    assert engine.requests[1].source_video == request.source_video
    assert engine.requests[1].mask != request.mask


def test_a_folder_is_read_or_refused_but_never_left_out(engine, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "read me.txt").write_text("x")
    both = folder_of(tmp_path / "both", image_1=5, mask_1=255)
    uneven = folder_of(tmp_path / "uneven", image_1=5, image_2=5, mask_1=255)
    only = folder_of(tmp_path / "only", mask_1=255)
    ends = ["-o", str(tmp_path / "clip.mp4")]
    for option in ("--source-video", "--first-frame", "--mask"):
        source = ["--source-video", str(folder_of(tmp_path / "fine", x=1))] if option == "--mask" else []
        for folder, said in (("empty", "an empty one"), ("notes", "one with read me.txt")):
            assert main(["x", *source, option, str(tmp_path / folder), *ends], engine=engine.make_clip) == 2
            assert f" must be a folder with pictures, got {said}. Put " in capsys.readouterr().err
    assert main(["x", "--control", f"model=demo-canny clip={tmp_path / 'empty'}", *ends], engine=engine.make_clip) == 2
    assert capsys.readouterr().err.startswith("control 1 clip must be a folder with pictures, got an empty one.")
    assert main(["x", "--source-video", str(uneven), *ends], engine=engine.make_clip) == 2
    assert "must have folders image and mask with as many pictures each, got 2 and 1" in capsys.readouterr().err
    assert main(["x", "--source-video", str(only), *ends], engine=engine.make_clip) == 2
    assert "must have folders image and mask with as many pictures each, got 0 and 1" in capsys.readouterr().err
    assert main(["x", "--first-frame", str(both), *ends], engine=engine.make_clip) == 2
    assert "first_frame must be pictures of one kind, got folders image and mask." in capsys.readouterr().err
    assert engine.requests == []


NO_PYTHON = [
    '{"first_frame": ["a.png"]}',
    '{"prompt": {"a": null}}',
    '{"output": {"a": true}}',
    '{"output": [1]}',
    '{"controls": [{"model": null}]}',
    '{"controls": {"model": "x"}}',
    '{"controls": [{"model": "demo-canny", "key_frames": [null]}]}',
    '{"image_prompts": [{"pictures": [[0]]}]}',
    '{"formats": ["MP4", null]}',
    '{"fps": true}',
    '{"fps": {"a": [null]}}',
    '{"seed": [1, 2]}',
    '{"frames": [null]}',
    '{"recipe": [null]}',
    '{"preset": [null]}',
    '{"base_model": [null]}',
    '{"extended_from": "x"}',
    '{"closed_loop": []}',
    '{"unknown": {"a": null}}',
    '{"extend": {"seed": 1}, "frames": null}',
    '{"motion_scale": {"0": null}}',
    '{"mask": 5}',
]


@pytest.mark.parametrize("line", NO_PYTHON)
def test_no_refusal_shows_a_value_as_python_would(engine, tmp_path, capsys, monkeypatch, line):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "batch.jsonl").write_text(line + "\n")
    assert main(["x", "--batch", "batch.jsonl", "-o", "{line}.mp4"], engine=engine.make_clip) == 2
    said = capsys.readouterr().err
    assert said.startswith("line 1: ")
    assert said.count("\n") == 1
    assert not re.search(r"\bNone\b|\bTrue\b|\bFalse\b|\{'|\['|<class|Traceback|pydantic|Fraction\(|dict|tuple", said)


def test_a_folder_takes_the_frames_one_by_one_and_the_recipe(engine, tmp_path, capsys):
    folder = tmp_path / "frames"
    folder.mkdir()  # an empty one may be there
    words = ["x", "--num-frames", "3", "-o", f"{folder}/", "-o", str(tmp_path / "a.txt")]
    assert main(words, engine=engine.make_clip) == 0
    names = ["00000.png", "00001.png", "00002.png", "clip.json", "recipe.json"]
    assert sorted(path.name for path in folder.iterdir()) == names
    recipe = engine.requests[0].to_json()
    assert [(tmp_path / name).read_text("utf-8") for name in ("frames/recipe.json", "a.txt")] == [recipe, recipe]
    assert Image.open(folder / "00001.png").size == (64, 64)
    capsys.readouterr()
    assert main(["x", "-o", str(folder)], engine=engine.make_clip) == 2
    assert capsys.readouterr().err.startswith("output must be a new or an empty folder")
    assert len(engine.requests) == 1


@pytest.mark.parametrize(
    ("name", "start"),
    [("a.webp", b"RIFF"), ("a.webm", b"\x1aE\xdf\xa3"), ("a.png", b"\x89PNG"), ("a.apng", b"\x89PNG")],
)
def test_a_clip_of_any_kind_is_a_recipe_for_the_next(engine, tmp_path, name, start):
    target = tmp_path / name
    assert main(["ein Kreis ○", "--num-frames", "2", "-o", str(target)], engine=engine.make_clip) == 0
    assert target.read_bytes().startswith(start)
    assert main(["--recipe", str(target), "-o", str(target)], engine=engine.make_clip) == 0
    assert engine.requests[0] == engine.requests[1]


def test_a_preset_sets_what_no_option_does(engine, tmp_path, capsys):
    words = ["x", "-o", str(tmp_path / "clip.mp4"), "--base-model", "demo"]
    assert main([*words, "--preset", "lcm", "--guidance-scale", "2"], engine=engine.make_clip) == 0
    made = engine.requests[-1]
    assert (made.motion_module, made.num_inference_steps, made.guidance_scale) == ("demo-lcm", 4, 2)
    assert main([*words, "--preset", "draft", "--motion-module", "demo-v3"], engine=engine.make_clip) == 0
    assert (engine.requests[-1].motion_module, engine.requests[-1].num_inference_steps) == ("demo-v3", 8)
    assert main([*words, "--preset", "lightning"], engine=engine.make_clip) == 2
    assert "preset must be one of draft, balanced, best, loop, long, lcm with" in capsys.readouterr().err


def test_every_field_is_an_option_of_the_same_name(capsys):
    with pytest.raises(SystemExit) as left:
        main(["--help", "all"])
    shown = capsys.readouterr().out
    assert left.value.code == 0
    for name in FIELDS:
        assert name == "formats" or f"--{name.replace('_', '-')} " in shown or name == "prompt"


def test_a_recipe_makes_the_same_request_and_options_change_it(engine, tmp_path):
    target = str(tmp_path / "clip.mp4")
    main(["a star", "-o", target, "--fps", "24000/1001"], engine=engine.make_clip)
    recipe = engine.requests[0].to_json()
    kept = tmp_path / "recipe.json"
    kept.write_text(recipe, encoding="utf-8")
    main(["-o", target, "--recipe", recipe], engine=engine.make_clip)
    main(["-o", target, "--recipe", str(kept)], engine=engine.make_clip)
    main(["-o", target, "--recipe", recipe, "--num-frames", "3"], engine=engine.make_clip)
    first, pasted, filed, changed = engine.requests
    assert first == pasted == filed
    assert changed == first.model_copy(update={"num_frames": 3})


def test_a_clip_is_extended_and_extended_again(engine, tmp_path):
    target = str(tmp_path / "clip.mp4")
    main(["a star", "-o", target], engine=engine.make_clip)
    kept = tmp_path / "recipe.json"
    kept.write_text(engine.requests[0].to_json(), encoding="utf-8")
    main(["-o", target, "--extend", str(kept), "--frames", "4"], engine=engine.make_clip)
    main(
        ["-o", target, "--extend", engine.requests[1].to_json(), "--frames", "8", "--fps", "12"],
        engine=engine.make_clip,
    )
    first, once, twice = engine.requests
    assert once == first.model_copy(update={"num_frames": 20, "extended_from": (16,)})
    assert twice == once.model_copy(update={"num_frames": 28, "extended_from": (16, 20), "fps": 12})
    main(["a star", "-o", target, "--num-frames", "20", "--extended-from", "16"], engine=engine.make_clip)
    assert engine.requests[3].extended_from == (16,)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["x", "--num-frames", "-1"], "num_frames must be greater than or equal to 1, got -1. Change 'Frames'."),
        (["x", "--guidance-scale", "nan"], "guidance_scale must be a finite number"),
        (["x", "--width", "130"], "width must be a multiple of 8"),
        (["x", "--scheduler", "best"], "scheduler must be 'ddim'"),
        (["x", "--base-model", "nothing-like-it"], "base_model must be one of"),
        (["x", "--num-frames", "many"], "num_frames must be a valid integer, got many. Change 'Frames'."),
        (["x", "--keep-audio", "maybe"], "keep_audio must be a valid boolean, got maybe. Change 'Keep the sound'."),
        (["x", "-o", ""], "output must be a name, got none. Write -o clip.mp4."),
        (["x", "-o", "{}/" + "n" * 300 + ".gif"], "output must be a name that a file can have, got "),
        (["x", "-o", "a\0.gif"], "output must be a name that a file can have, got "),
        (["--recipe", "{broken"], "recipe must be JSON"),
        (["--recipe", '{"size": 3}'], "size must be a field of the request"),
        (["--recipe", "no-such-file.json"], "recipe must be JSON or a file, got no-such-file.json."),
        (["--extend", '{"seed": 1}'], "frames must be given with --extend, got none."),
        (["x", "--seeds", "7,x"], "seed must be one whole number, or several with commas between, got 7,x."),
        (["x", "--seeds", "7,8", "--seed", "1"], "seeds must come without --seed, got both."),
        (["x", "--count", "17"], "batch_count must be a whole number from 1 to 16, got 17."),
        (["x", "--frames", "4"], "frames must come with --extend, got 4."),
        (["--extend", '{"seed": 1}', "--frames", "0"], "frames must be at least 1, got 0."),
        (["--extend", '{"seed": 1}', "--recipe", "{}", "--frames", "1"], "extend must come without --recipe"),
        (["--extend", "no-such-file.mp4", "--frames", "4"], "extend must be JSON or a file, got no-such-file.mp4."),
        (["--extend", '{"seed": 1, "num_frames": 4}', "--frames", "4"], "extended_from must begin with three quarters"),
        (["x <lora:none-such:1>"], "lora must be one of the catalog"),
        (["x", "--fps", "100", "-o", "{}/a.gif"], "fps must be at most 50 for GIF"),
        (["x", "--control", "model=none-such"], "controls must be one of the catalog"),
        (["x", "--grid", "seed: 1-2", "--preprocess"], "preprocess must come without --grid"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(engine, tmp_path, capsys, words, said):
    words = [word.format(tmp_path) if word.endswith(".gif") else word for word in words]
    assert main([*words, "-o", str(tmp_path / "clip.mp4")], engine=engine.make_clip) == 2
    told = capsys.readouterr()
    assert said in told.err
    assert told.err.count("\n") == 1
    assert told.out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("output", "said"),
    [("clip.avi", "output must end in one of .mp4, .gif, .zip"), ("no/clip.mp4", "output must be a file in an ex")],
)
def test_an_output_that_cannot_be_is_refused_before_anything_starts(engine, tmp_path, capsys, output, said):
    assert main(["x", "-o", str(tmp_path / output)], engine=engine.make_clip) == 2
    assert capsys.readouterr().err.startswith(said)
    assert engine.requests == []


def test_checkpoints_names_the_folder_of_interrupted_runs_and_is_no_part_of_the_request(engine, tmp_path, environment):
    environment(CHECKPOINT_DIR="another")
    folder, folders = tmp_path / "kept" / "runs", []

    def make_clip(request, work):
        folders.append(settings().checkpoint_dir)
        return engine.make_clip(request, work)

    words = ["x", "-o", str(tmp_path / "clip.mp4"), "--checkpoints", str(folder)]
    assert main(words, engine=make_clip) == 0
    assert folders == [folder]
    assert folder.is_dir()
    assert str(folder) not in engine.requests[0].to_json()


def test_checkpoints_that_can_be_no_folder_are_refused_before_anything_starts(engine, tmp_path, capsys):
    taken = tmp_path / "taken"
    taken.write_text("a file")
    words = ["x", "-o", str(tmp_path / "clip.mp4"), "--checkpoints", str(taken)]
    assert main(words, engine=engine.make_clip) == 2
    assert capsys.readouterr().err == f"checkpoints must be a folder, got {taken} (File exists). Name another.\n"
    assert engine.requests == []


@pytest.mark.parametrize("words", [["--seeds", "7,42"], ["--seeds", "7, 42", "--count", "2"]])
def test_several_clips_have_their_seeds_in_their_names(engine, tmp_path, capsys, words):
    outputs = ["-o", str(tmp_path / "clip.mp4"), "-o", str(tmp_path / "clip.gif")]
    assert main(["x", *outputs, *words], engine=engine.make_clip) == 0
    names = ["clip-7.mp4", "clip-7.gif", "clip-42.mp4", "clip-42.gif"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    told = capsys.readouterr().out.splitlines()
    assert told == [f"{tmp_path / name}  seed {name[5:].split('.')[0]}" for name in names]


def test_a_count_goes_on_from_the_seed_and_one_clip_keeps_its_name(engine, tmp_path):
    target = str(tmp_path / "clip.mp4")
    assert main(["x", "-o", target, "--seed", "7", "--count", "3"], engine=engine.make_clip) == 0
    assert [request.seed for request in engine.requests] == [7, 8, 9]
    assert main(["x", "-o", target, "--seeds", "5"], engine=engine.make_clip) == 0
    assert Path(target).exists()


def test_ctrl_c_keeps_the_clips_that_are_finished(engine, tmp_path, capsys):
    def stopped_at_the_second(request, folder):
        if engine.requests:
            raise KeyboardInterrupt
        yield from engine.make_clip(request, folder)

    words = ["x", "-o", str(tmp_path / "clip.mp4"), "--seeds", "7,42"]
    assert main(words, engine=stopped_at_the_second) == 130
    assert capsys.readouterr().err == "Stopped; 1 of 2 clips were written.\n"
    assert [path.name for path in tmp_path.iterdir()] == ["clip-7.mp4"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--quality", "high"], "unrecognized arguments: --quality high."),
        (
            ["--source-video", "-a.mp4"],
            "argument --source-video: expected one argument, got none. Where a value begins with -, write "
            "--source-video=-value.",
        ),
    ],
)
def test_an_option_that_cannot_be_read_is_one_line(capsys, words, said):
    with pytest.raises(SystemExit) as left:
        main(["x", "-o", "clip.mp4", *words])
    assert left.value.code == 2
    assert capsys.readouterr().err.splitlines() == [f"{said} See 'python -m api --help'."]


def test_a_clip_that_cannot_be_made_is_one_line_and_another_exit_code(engine, tmp_path, capsys):
    words = ["refuse", "--seeds", "1,2", "-o", str(tmp_path / "clip.mp4")]
    assert main(words, engine=engine.make_clip) == 1
    assert capsys.readouterr().err == f"{REFUSAL}\n0 of 2 clips were written.\n"
    assert len(engine.requests) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_clip_of_before_stays_when_the_new_one_fails(engine, tmp_path):
    target = tmp_path / "clip.mp4"
    target.write_bytes(b"before")
    assert main(["refuse", "-o", str(target)], engine=engine.make_clip) == 1
    assert target.read_bytes() == b"before"


_SLOW = """
import sys
from api.command_line.main import main
from tests.app.fake_engine import FakeEngine
sys.exit(main(["slow", "-o", sys.argv[1]], engine=FakeEngine(step_s=0.1).make_clip))
"""


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C is another signal there")
def test_ctrl_c_cleans_up_and_exits_130(tmp_path):
    target = tmp_path / "clip.mp4"
    run = subprocess.Popen([sys.executable, "-c", _SLOW, target], stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 30
    while not list(tmp_path.iterdir()) and time.monotonic() < end:
        time.sleep(0.05)
    assert [path.name.startswith(".clip-") for path in tmp_path.iterdir()] == [True]
    run.send_signal(signal.SIGINT)
    _, told = run.communicate(timeout=20)
    assert run.returncode == 130
    assert told == "Stopped; nothing was written.\n"
    assert list(tmp_path.iterdir()) == []


def test_the_recipe_is_json_that_names_every_field(engine, tmp_path):
    main(["x", "-o", str(tmp_path / "clip.mp4")], engine=engine.make_clip)
    assert tuple(json.loads(engine.requests[0].to_json())) == FIELDS
    assert Path(engine.folders[0]).parent == tmp_path


def helped(capsys, *words: str) -> str:
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == 0
    return capsys.readouterr().out


def test_the_help_is_short_and_names_all_other_options(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    shown = helped(capsys, "-h")
    assert len(shown.splitlines()) < 100
    assert max(map(len, shown.splitlines())) < 100
    told = set(shown.replace("--", " ").split())
    assert {name.replace("_", "-") for name in FIELDS if name not in ("prompt", "formats")} <= told
    assert "--guidance-scale" not in shown


def test_the_whole_help_has_every_option_under_the_page_s_headings_with_its_range_and_default(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    shown = helped(capsys, "--help", "all")
    assert max(len(line) for line in shown.splitlines() if line.startswith(" " * 20)) < 60
    headings = [line[:-1] for line in shown.splitlines() if line.endswith(":") and not line.startswith(" ")]
    own = ["Results", "Recipes", "Several clips", "Instead of a clip", "Help"]
    assert headings == ["Clip", *TAB_GROUPS, *GROUPS, *own]
    for name in (*FIELDS, *INPUT_FIELDS):
        option = {"controls": "control", "image_prompts": "image-prompt"}.get(name, name.replace("_", "-"))
        assert name in ("prompt", "formats") or f"--{option} " in shown
    words = " ".join(shown.split())
    assert "--width PIXELS Picture width in pixels." in words
    assert "[64 to 1,024; default the model's own]" in words
    assert "[above 0 to 120; default 8]" in words
    assert "[off, windows, prompts, full; default off]" in words


@pytest.mark.parametrize(
    ("topic", "has", "has_not"),
    [("long-clips", "--context-length", "--fps"), ("fps", "--fps", "--reverse"), ("--draft", "--draft [N]", "--seed")],
)
def test_help_tells_of_a_topic_or_of_one_option(capsys, topic, has, has_not):
    shown = helped(capsys, f"--help={topic}")
    assert has in shown
    assert has_not not in shown


def test_help_of_nothing_known_names_the_topics(capsys):
    with pytest.raises(SystemExit) as left:
        main(["--help", "colours"])
    assert left.value.code == 2
    assert capsys.readouterr().err.startswith("help must be about a topic or an option, got colours. Topics: clip, ")


def test_help_comes_without_what_is_slow_to_import():
    code = (
        "import sys\nfrom api.command_line.main import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'gradio', 'diffusers', 'cv2', 'fastapi'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert time.monotonic() - start < 10  # 0.5 s; the machine may be busy


@pytest.mark.parametrize("words", [["--keep-audio"], ["--keep-audio", "yes"], ["--keep-audio", "true"]])
def test_an_option_that_is_yes_or_no_means_yes_alone(engine, tmp_path, words):
    assert main(["x", *words, "-o", str(tmp_path / "a.mp4")], engine=engine.make_clip) == 0
    assert main(["x", "--exact-ends", "no", "-o", str(tmp_path / "a.mp4")], engine=engine.make_clip) == 0
    assert [(one.keep_audio, one.exact_ends) for one in engine.requests] == [(True, True), (False, False)]


def test_a_draft_is_the_page_s_and_a_number_is_the_field(engine, tmp_path):
    words = ["x", "--seed", "1", "--base-model", "demo", "--width", "256", "-o", str(tmp_path / "a.mp4")]
    for more in ([], ["--draft"], ["--draft", "2"], ["--draft", "--grid", "fps: 8"]):
        assert main([*words, *more], engine=engine.make_clip) == 0
    plain, draft, numbered, in_grid = engine.requests
    assert draft == in_grid == draft_of(plain)
    assert numbered == plain.model_copy(update={"draft": 2})


def test_an_estimate_makes_nothing_and_its_exit_code_says_whether_it_fits(engine, capsys, monkeypatch):
    words = ["x", "--base-model", "demo", "--estimate"]
    assert main(words, engine=engine.make_clip) == 0
    assert re.fullmatch(r"About \d+ s, \d\.\d GB of memory\. Fits\. Rough until.*\n", capsys.readouterr().out)
    monkeypatch.setattr("api.command_line.estimates.this_budget", lambda: Budget(1e9, 1e9))
    assert main([*words, "--width", "1024", "--height", "1024"], engine=engine.make_clip) == 1
    assert "Won't fit into 1.0 GB. " in capsys.readouterr().out
    assert engine.requests == []


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("models", "demo"),
        ("motion-modules", "demo-lcm"),
        ("loras", "v2_lora_ZoomIn"),
        ("controlnets", "demo-canny"),
        ("preprocessors", "canny"),
        ("presets", "lcm"),
    ],
)
def test_names_are_listed_one_a_line(capsys, kind, name):
    assert main(["--list", kind]) == 0
    told = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    assert name in [first for first, _ in told]
    assert all(len(description) > 5 for _, description in told)
    assert main(["--list", kind, "--json"]) == 0
    assert [json.loads(line)["name"] for line in capsys.readouterr().out.splitlines()] == [first for first, _ in told]


def test_the_self_test_makes_the_demo_clip_and_tells_what_is_there(engine, capsys):
    assert main(["--self-test"], engine=engine.make_clip) == 0
    assert capsys.readouterr().out.startswith("Test clip              made in 0.0 s\nAnimateDiff Studio     ")
    assert (engine.requests[0].base_model, engine.requests[0].num_inference_steps) == ("demo", 4)
    assert not engine.folders[0].exists()


def test_what_a_control_unit_follows_is_written_as_a_clip(tmp_path, capsys):
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[16:48, 16:48] = 255
    Image.fromarray(picture).save(tmp_path / "square.png")
    target = tmp_path / "edges.mp4"
    words = ["--preprocess", "--base-model", "demo", "--width", "64", "--height", "64", "--num-frames", "1"]
    unit = f"model=demo-canny preprocessor=canny clip={tmp_path}/square.png"
    assert main([*words, "--control", unit, "--seed", "1", "-o", str(target)]) == 0
    assert capsys.readouterr().out == f"{target}  seed 1\n"
    edges = read_frames(target)[0]
    assert edges[14:18, 20:44].max() > 200  # the square's upper edge, and nothing inside it
    assert edges[24:40, 24:40].max() < 60
    assert sorted(path.name for path in tmp_path.iterdir()) == ["edges.mp4", "square.png"]
    assert main([*words, "-o", str(target)]) == 2
    assert capsys.readouterr().err.startswith("control must be given with --preprocess, got none.")


@pytest.mark.skipif(os.name == "nt", reason="pipes end otherwise there")
def test_a_reader_that_has_seen_enough_ends_the_command_quietly():
    words = [sys.executable, "-m", "api", "--list", "models"]
    run = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    run.stdout.close()
    _, told = run.communicate(timeout=60)
    assert (run.returncode, told) == (1, b"")
