"""What the page shows of a finished clip's files."""

from pathlib import Path

import gradio as gr
import pytest

from pipelines.events import Clip
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
