"""What the page shows of a finished clip's files."""

import base64
import io
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from pipelines.plan.events import Clip, Progress, Stage
from studio.job_runs import RunEvent
from studio.jobs import View
from ui.parts.progress import preview_html
from ui.results.results import _finished_update, describe_cancelled, place_results


@pytest.mark.parametrize(
    ("names", "shown", "listed"),
    [
        (["a.mp4"], ("a.mp4", None), False),
        (["a.mp4", "a.gif"], ("a.mp4", None), True),
        (["a.webp", "a.mp4"], (None, "a.webp"), True),
        (["a.txt", "a.webm"], ("a.webm", None), True),
        (["a.png"], (None, "a.png"), False),
        (["a.zip", "a.gif"], (None, "a.gif"), True),
        (["a.zip"], (None, None), True),
    ],
)
def test_the_first_file_that_can_be_shown_is_and_all_are_listed(names, shown, listed):
    with gr.Blocks():
        results = place_results(gr.Button(), gr.Button(), gr.Button())
    update = _finished_update(results, Clip(tuple(map(Path, names)), "{}", 3, seconds=1), seed=1)
    assert (update[results.video]["value"], update[results.picture]["value"]) == shown
    assert (update[results.video]["visible"], update[results.picture]["visible"]) == tuple(bool(name) for name in shown)
    assert update[results.files]["value"] == names
    assert update[results.files]["visible"] is listed


def test_a_preview_is_one_strip_of_its_frames_and_says_their_size():
    frames = np.stack([np.full((16, 24, 3), level, np.uint8) for level in (0, 120, 240)])
    told = preview_html(frames)
    assert "--width:24;--height:16;--frames:3" in told
    assert 'alt="Preview' in told
    strip = Image.open(io.BytesIO(base64.b64decode(told.partition("base64,")[2].partition('"')[0])))
    assert strip.size == (24, 48)
    assert np.abs(np.asarray(strip.convert("RGB")).astype(int) - frames.reshape(48, 24, 3)).max() < 40


def clip_at(stage, *, request_json="{}", seed=7):
    return RunEvent(Progress(stage, 3, 25), seed, request_json=request_json)


FINISHED = RunEvent(Clip((Path("a.mp4"),), "{}", 3, seconds=1), 6, goes_on=True, request_json="{}")


@pytest.mark.parametrize(
    ("view", "keeps_steps", "words"),
    [
        (View(), False, "Cancelled. Nothing was kept."),
        (
            View(clip_at(Stage.DENOISE)),
            False,
            "Cancelled. Nothing was kept. The same settings with seed 7 make the clip after all.",
        ),
        (
            View(clip_at(Stage.DENOISE)),
            True,
            "Cancelled. The steps so far were kept: with the same settings and seed 7 it goes on from there.",
        ),
        (
            View(clip_at(Stage.LOAD), finished=(FINISHED,)),
            True,
            "Cancelled. Finished clips were kept: 1. The same settings with seed 7 make the clip after all.",
        ),
        (View(FINISHED, finished=(FINISHED,)), True, "Cancelled. Finished clips were kept: 1."),
        (View(clip_at(Stage.LOAD, request_json="")), True, "Cancelled. Nothing was kept."),
    ],
)
def test_after_a_cancel_it_says_what_was_kept_and_how_to_go_on(configure, tmp_path, view, keeps_steps, words):
    configure(checkpoint_dir=tmp_path if keeps_steps else None)
    assert describe_cancelled(view) == words
    assert "Seed 7" in describe_cancelled(View(clip_at(Stage.DENOISE, seed=7)), "de")
