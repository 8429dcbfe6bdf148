"""The button that shows what a control unit's model would follow, and the one that stops it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.blocks import Block
from gradio.components import Component

from api.batch import build_batch
from api.control_preview import MakePreview
from api.engine import run_folder
from api.faults import faults_in_words
from ui.modes import preview_fields
from ui.progress import message_html, progress_html
from ui.quiet_events import QUIET
from ui.words.refusals import page_words
from ui.words.speech import say, visitor_language, word


@dataclass(frozen=True)
class UnitPreview:
    """A unit's buttons and what they show.

    Args:
        number: Which unit, from 1.
    """

    number: int
    button: gr.Button
    cancel: gr.Button
    status: gr.HTML
    video: gr.Video


def place_preview(number: int) -> UnitPreview:
    """Lay out the buttons, in the unit's accordion; Cancel is there only while there is something to cancel."""
    with gr.Row():
        button = gr.Button(
            word("button.preview"), elem_id=f"control_{number}_preview", size="sm", scale=3, min_width=120
        )
        cancel = gr.Button(
            word("button.cancel"),
            variant="stop",
            elem_id=f"control_{number}_cancel",
            size="sm",
            scale=1,
            min_width=80,
            visible=False,
        )
    status = gr.HTML(elem_id=f"control_{number}_status", padding=False, visible=False)
    video = gr.Video(
        label=word("label.unit_video"),
        elem_id=f"control_{number}_video",
        interactive=False,
        autoplay=True,
        loop=True,
        buttons=["download"],
        visible=False,
        height=240,
    )
    return UnitPreview(number, button, cancel, status, video)


def wire_previews(
    previews: Sequence[UnitPreview],
    make_preview: MakePreview,
    queue: Mapping[str, Any],
    inputs: Sequence[Component],
) -> None:
    """Connect the buttons of all units.

    Args:
        previews: The units'.
        make_preview: Makes the clip and its file.
        queue: `concurrency_id` and `concurrency_limit`: a preprocessor may need the device.
        inputs: The components whose values go into a request; their `elem_id`s are the names.
    """
    for preview in previews:
        _wire_preview(preview, make_preview, queue, inputs)


def _wire_preview(
    preview: UnitPreview, make_preview: MakePreview, queue: Mapping[str, Any], inputs: Sequence[Component]
) -> None:
    names = [str(control.elem_id) for control in inputs]
    seen: list[Block] = [preview.button, preview.cancel, preview.status, preview.video]
    waiting = preview.button.click(
        lambda: _told(preview, _line("told.waiting"), is_running=True), None, seen, queue=False, **QUIET
    )
    running = waiting.then(
        _previewer(preview, make_preview, names), list(inputs), seen, preprocess=False, **queue, **QUIET
    )
    # Also after a call that was refused before it started, as by a full queue.
    running.then(lambda: _buttons(preview, is_running=False), None, seen, queue=False, **QUIET)
    # The text comes in a second event: beside `cancels` it loses the race against a last progress update.
    preview.cancel.click(None, None, None, cancels=running, **QUIET).then(
        lambda: _told(preview, _line("told.cancelled")), None, seen, queue=False, **QUIET
    )


def _previewer(
    preview: UnitPreview, make_preview: MakePreview, names: Sequence[str]
) -> Callable[..., Iterator[dict[Block, Any]]]:
    def preview_unit(*values: Any) -> Iterator[dict[Block, Any]]:
        given, language = dict(zip(names, values, strict=True)), visitor_language()
        try:
            with faults_in_words(page_words(language, [preview.number])), run_folder() as folder:
                request = build_batch(preview_fields(given, preview.number))[0]
                with closing(make_preview(request, folder)) as events:
                    for event in events:
                        if isinstance(event, Path):
                            shown = {preview.video: gr.update(value=str(event), visible=True)}
                            yield _told(preview, message_html(say(language, "told.preview_done"))) | shown
                        else:
                            yield _told(preview, progress_html(event, language=language), is_running=True)
        except gr.Error as err:
            yield _told(preview, message_html(err.message, is_error=True))
            raise

    return preview_unit


def _line(key: str) -> str:
    return message_html(say(visitor_language(), key))


def _told(preview: UnitPreview, status: str, *, is_running: bool = False) -> dict[Block, Any]:
    return {preview.status: gr.update(value=status, visible=True)} | _buttons(preview, is_running=is_running)


def _buttons(preview: UnitPreview, *, is_running: bool) -> dict[Block, Any]:
    return {preview.button: gr.update(interactive=not is_running), preview.cancel: gr.update(visible=is_running)}
