"""Buttons that preview a control unit's preprocessor and cancel it."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import gradio as gr
from gradio.blocks import Block
from gradio.components import Component

from studio.batch import build_batch
from studio.control_preview import MakePreview
from studio.engine import run_folder
from studio.faults import faults_in_words
from ui.inputs.modes import preview_fields
from ui.parts.events import QUIET
from ui.parts.page_values import PageValues
from ui.parts.progress import message_html, progress_html, still_waits
from ui.parts.updates import Update, Updates
from ui.words.refusals import page_words
from ui.words.speech import say, visitor_language, word


@dataclass(frozen=True)
class UnitPreview:
    """Preview widgets of one control unit.

    Args:
        number: Which unit, from 1.
    """

    number: int
    button: gr.Button
    cancel: gr.Button
    status: gr.HTML
    video: gr.Video


def place_preview(number: int) -> UnitPreview:
    """Lay out the buttons in the unit's accordion."""
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
    queue: Mapping[str, object],
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
    preview: UnitPreview, make_preview: MakePreview, queue: Mapping[str, object], inputs: Sequence[Component]
) -> None:
    names = [str(control.elem_id) for control in inputs]
    seen: list[Block] = [preview.button, preview.cancel, preview.status, preview.video]
    stop = gr.State(None)
    waiting = preview.button.click(lambda: _waiting_update(preview, stop), None, [*seen, stop], queue=False, **QUIET)
    running = waiting.then(
        _previewer(preview, make_preview, names), [stop, *inputs], seen, preprocess=False, **queue, **QUIET
    )
    # A call that is refused before it starts, as by a full queue, has no last update.
    running.failure(partial(_failure_update, preview), preview.status, seen, queue=False, **QUIET)
    # Not `cancels`: beside other work, an update that was on its way came after its end in 10 of 17 tries, and left a
    # button that could not be pressed. So the preview alone tells of its end.
    preview.cancel.click(_stop, stop, preview.cancel, queue=False, **QUIET)


def _previewer(
    preview: UnitPreview, make_preview: MakePreview, names: Sequence[str]
) -> Callable[..., Iterator[Updates]]:
    def preview_unit(stop: threading.Event, *values: object) -> Iterator[Updates]:
        page, language = PageValues.of(names, values), visitor_language()
        video_update: Updates = {}
        try:
            with faults_in_words(page_words(language, [preview.number])), run_folder() as folder:
                request = build_batch(preview_fields(page, preview.number))[0]
                with closing(make_preview(request, folder)) as events:
                    while not stop.is_set() and (event := next(events, None)):
                        if isinstance(event, Path):
                            video_update = {preview.video: gr.update(value=str(event), visible=True)}
                        else:
                            yield {preview.status: progress_html(event, language=language)}
                message = say(language, "told.preview_done" if video_update else "told.cancelled")
                yield _end_update(preview, message_html(message)) | video_update
        except gr.Error as err:
            yield _end_update(preview, message_html(err.message, is_error=True))
            raise

    return preview_unit


def _waiting_update(preview: UnitPreview, stop: gr.State) -> Updates:
    return {
        preview.button: gr.update(interactive=False),
        preview.cancel: gr.update(visible=True, interactive=True),
        preview.status: gr.update(value=message_html(say(visitor_language(), "told.waiting")), visible=True),
        stop: threading.Event(),
    }


def _stop(stop: threading.Event) -> Update:
    stop.set()
    return gr.update(interactive=False)


def _end_update(preview: UnitPreview, message: str) -> Updates:
    return {
        preview.button: gr.update(interactive=True),
        preview.cancel: gr.update(visible=False),
        preview.status: message,
    }


def _failure_update(preview: UnitPreview, status_html: str) -> Updates:
    """Let the preview be pressed again, keeping its message."""
    language = visitor_language()
    if still_waits(status_html, language):
        status_html = message_html(say(language, "told.not_started"))
    return _end_update(preview, status_html)
