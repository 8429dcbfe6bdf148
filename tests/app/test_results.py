"""What the page shows of a finished clip's files."""

import base64
import io
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from pipelines.events import Clip
from ui.progress import preview_html
from ui.results import _finished, place_results


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
    update = _finished(results, Clip(tuple(map(Path, names)), "{}", 3, seconds=1), seed=1)
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
