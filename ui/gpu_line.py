"""Line about the GPU, such as why it is not used."""

import gradio as gr

from pipelines.plan.gpu import find_gpu
from ui.parts.events import QUIET
from ui.parts.progress import message_html
from ui.words.speech import say, visitor_language
from ui.words.tables import ENGLISH


def place_gpu_line(page: gr.Blocks) -> None:
    """Lay out the line in the Blocks, if there is a note."""
    if not find_gpu().note:
        return
    line = gr.HTML(gpu_html(), elem_id="gpu_line", padding=False)
    page.load(lambda: gpu_html(visitor_language()), None, line, queue=False, **QUIET)


def gpu_html(language: str = ENGLISH) -> str:
    """Render the note about the GPU; empty where all is well."""
    gpu = find_gpu()
    return message_html(say(language, f"told.gpu.{gpu.note}", **gpu.details)) if gpu.note else ""
