"""Grids on the page and from the command line, around the stand-in engine."""

import io
import json
import signal
from functools import partial
from pathlib import Path

import gradio as gr
import pytest
from PIL import Image

from api.command_line.main import main
from media.read import probe, read_recipe
from pipelines.plan.events import Clip
from pipelines.plan.request import GenerationRequest
from studio.gallery import Gallery, new_visitor
from studio.grid import plan_grid, read_axis
from studio.job_runs import grid_run
from studio.jobs import Jobs
from tests.app.conftest import page_of
from tests.app.fake_engine import WARNING, FakeEngine
from tests.app.test_page import wait_until
from tests.app.test_wiring import on_the_page, updates


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine(step_s=0)


def grid_event(page: gr.Blocks):
    (found,) = (event for event in page.fns.values() if event.name == "make_grid")
    return found


AXES = {
    "grid_1_field": "seed",
    "grid_1_values": "1-2",
    "grid_2_field": "prompt_sr",
    "grid_2_values": "red | blue",
    "grid_3_field": "fps",
    "grid_3_values": "",
}
VALUES = {"prompt": "a red star", "num_inference_steps": 1, "num_frames": 4, **AXES}


def test_every_clip_of_a_grid_and_the_grid_are_shown_and_kept(engine, tmp_path):
    kept = Gallery(tmp_path / "gallery", 10**9, 3600)
    engine.step_s = 0.2  # else some clips would be finished unseen
    page, visitor = page_of(engine.make_clip, gallery=kept), new_visitor()
    event = grid_event(page)
    told, clips = [], []
    for update in updates(page, event, *on_the_page(event, **VALUES, visitor=visitor)):
        told.append(update["status"])
        if "recipe" in update:
            clips.append(update)
            assert all(Path(name).exists() for name in update["files"]["value"])
    assert [len(clip["files"]["value"]) for clip in clips] == [1, 2, 3, 4, 6]
    assert [clip["generate"]["interactive"] for clip in clips] == [False] * 4 + [True]
    assert any("clip 3 of 4" in text for text in told)
    assert [(one.seed, one.prompt) for one in engine.requests] == [
        (1, "a red star"),
        (2, "a red star"),
        (1, "a blue star"),
        (2, "a blue star"),
    ]
    recipe = json.loads(clips[-1]["recipe"])
    assert recipe["grid"][1] == {"field": "prompt_sr", "values": ["red", "blue"]}
    assert [GenerationRequest(**cell) for cell in recipe["cells"]] == engine.requests
    grid, *cells = kept.entries(visitor)
    assert [path.name for path in grid.files] == ["grid.mp4", "grid-picture.png"]
    assert [json.loads(cell.recipe)["seed"] for cell in cells] == [2, 1, 2, 1]
    assert clips[-1]["gallery"]["value"][0][1] == "Grid of 4 clips"


def test_a_grid_s_run_tells_of_every_clip_and_of_the_grid_and_keeps_each_once(engine, tmp_path):
    values = {"prompt": "a red star", "num_inference_steps": 1, "num_frames": 4}
    kept = []
    plan = partial(plan_grid, values, [read_axis("seed", "3-4")])
    told = list(grid_run(engine.make_clip, plan, lambda clip: kept.append(clip) or clip)(tmp_path))
    assert list(dict.fromkeys(one.part for one in told)) == ["clip 1 of 2", "clip 2 of 2", "the grid"]
    clips = [one for one in told if isinstance(one.event, Clip)]
    assert [(one.seed, one.goes_on) for one in clips] == [(3, True), (4, True), (4, False)]
    assert [one.event for one in clips] == kept
    assert any("Putting the clips side by side" in one.event.note for one in told if one not in clips)
    assert all(path.exists() for clip in kept for path in clip.files)


def test_a_stopped_grid_makes_no_more_clips_and_keeps_the_finished(engine, tmp_path):
    kept = Gallery(tmp_path / "gallery", 10**9, 3600)
    engine.step_s = 0.2
    jobs = Jobs()
    page, visitor = page_of(engine.make_clip, jobs=jobs, gallery=kept), new_visitor()
    event = grid_event(page)
    job = jobs.find(event.fn(*on_the_page(event, **VALUES, visitor=visitor)))
    assert wait_until(lambda: job.view.finished)
    job.cancel()
    assert wait_until(lambda: job.view.ended)
    assert job.view.cancelled
    assert len(engine.requests) <= 2
    assert len(kept.entries(visitor)) == 1
    assert not any(path.is_file() for folder in engine.folders for path in folder.rglob("*"))


def test_a_wrong_value_is_told_before_the_first_clip(engine):
    page = page_of(engine.make_clip)
    event = grid_event(page)
    with pytest.raises(
        gr.Error, match=r"guidance_scale must be .* This is about the grid's clip with seed 1, guidance"
    ):
        updates(
            page, event, *on_the_page(event, **VALUES | {"grid_2_field": "guidance_scale", "grid_2_values": "7, 99"})
        )
    with pytest.raises(gr.Error, match="grid must have 1 to 3 different axes, got none"):
        updates(page, event, *on_the_page(event, **VALUES | {"grid_1_values": "", "grid_2_values": ""}))
    assert engine.requests == []


def test_the_command_line_writes_the_grid_a_picture_and_the_clips(engine, tmp_path, capsys):
    target = tmp_path / "grid.mp4"
    words = ["warn a red star", "-o", str(target), "--num-frames", "4", "--seed", "3"]
    axes = ["--grid", "guidance_scale: 3, 7.5", "--grid", "num_frames: 2-4"]
    assert main([*words, *axes], engine=engine.make_clip) == 0
    told = capsys.readouterr()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["grid-cells", "grid.mp4", "grid.png"]
    cells = sorted((tmp_path / "grid-cells").iterdir())
    assert [path.name for path in cells] == [f"cell-0{number}.mp4" for number in range(1, 7)]
    assert told.out.splitlines() == [f"{cell}  seed 3" for cell in cells] + [str(target), str(tmp_path / "grid.png")]
    assert told.err == f"{WARNING}\n"
    assert probe(target).num_frames == 4
    assert [(one.guidance_scale, one.num_frames) for one in engine.requests[:3]] == [(3, 2), (7.5, 2), (3, 3)]
    assert len(json.loads(read_recipe(target))["cells"]) == 6
    picture = Image.open(io.BytesIO((tmp_path / "grid.png").read_bytes()))
    assert picture.width + picture.width % 2 == probe(target).width  # an MP4 is even


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--grid", "size: 3"], "grid must name a field"),
        (["--grid", "seed: 1-9", "--grid", "fps: 1-9"], "grid must have at most 64 clips, got 81."),
        (["--grid", "seed: 1-2", "--count", "2"], "count must come without --grid"),
        (["--grid", "seed: 1-2", "--num-frames", "-1"], "num_frames must be"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(engine, tmp_path, capsys, words, said):
    assert main(["x", *words, "-o", str(tmp_path / "grid.mp4")], engine=engine.make_clip) == 2
    told = capsys.readouterr()
    assert said in told.err
    assert told.err.count("\n") == 1
    assert engine.requests == []
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_grid_leaves_its_finished_clips(tmp_path, capsys):
    def interrupted(request, folder):
        if request.seed == 2:
            signal.raise_signal(signal.SIGINT)
        yield from FakeEngine(step_s=0).make_clip(request, folder)

    words = ["x", "--grid", "seed: 1-3", "-o", str(tmp_path / "grid.mp4")]
    assert main(words, engine=interrupted) == 130
    assert capsys.readouterr().err == "Stopped; the grid's finished clips were kept.\n"
    assert [path.name for path in tmp_path.iterdir()] == ["grid-cells"]
    assert [path.name for path in (tmp_path / "grid-cells").iterdir()] == ["cell-01.mp4"]
