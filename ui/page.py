"""The page: one Blocks that composes the tabs and publishes the endpoints."""

from typing import Any

import gradio as gr

from api.endpoint import clip_endpoint
from api.engine import MakeClip
from api.modes import Mode
from ui.txt2vid import build_txt2vid

GPU_QUEUE: dict[str, Any] = {"concurrency_id": "gpu", "concurrency_limit": 1}
"""Every event that makes a clip shares this: one generation at a time on a device, others wait in line."""

_SWEEP_EVERY_S = 3600
_KEEP_FILES_S = 24 * 3600


def build_page(make_clip: MakeClip) -> gr.Blocks:
    """Compose the page around an engine.

    Args:
        make_clip: Makes the clip of a request in a folder and tells how it goes; closing it stops it.

    Returns:
        The page, to be queued and launched with `ui.theme.page_looks()`.
    """
    with gr.Blocks(title="AnimateDiff Studio", delete_cache=(_SWEEP_EVERY_S, _KEEP_FILES_S)) as page:
        gr.Markdown("# AnimateDiff Studio", elem_id="masthead")
        with gr.Tab("Text to video", id="txt2vid"):
            build_txt2vid(make_clip, GPU_QUEUE)
        for mode in Mode:
            gr.api(clip_endpoint(make_clip, mode), api_name=mode.value, **GPU_QUEUE)
    return page
