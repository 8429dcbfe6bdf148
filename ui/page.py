"""The page: one Blocks that composes the studio and publishes the endpoints."""

from typing import Any

import gradio as gr

from api.control_preview import MakePreview, preview_clip
from api.endpoint import clip_endpoint, preprocess_endpoint
from api.engine import MakeClip
from api.jobs import Jobs
from api.line import Line, in_line
from api.modes import Mode
from ui.studio import build_studio

GPU_QUEUE: dict[str, Any] = {"concurrency_id": "gpu", "concurrency_limit": 1}
"""Endpoints and previews share this: one of them at a time stands in the line before the device, among the jobs."""

_SWEEP_EVERY_S = 3600
_KEEP_FILES_S = 24 * 3600


def build_page(make_clip: MakeClip, make_preview: MakePreview = preview_clip) -> gr.Blocks:
    """Compose the page around an engine.

    Args:
        make_clip: Makes the clip of a request in a folder and tells how it goes; closing it stops it.
        make_preview: Makes what the first control unit of a request follows, in the same way.

    Returns:
        The page, to be queued and launched with `ui.theme.page_looks()`.
    """
    line = Line()
    clips, previews = in_line(make_clip, line), in_line(make_preview, line)
    with gr.Blocks(title="AnimateDiff Studio", delete_cache=(_SWEEP_EVERY_S, _KEEP_FILES_S)) as page:
        gr.Markdown("# AnimateDiff Studio", elem_id="masthead")
        build_studio(Jobs(clips), previews, GPU_QUEUE, page.load)
        for mode in Mode:
            gr.api(clip_endpoint(clips, mode), api_name=mode.value, **GPU_QUEUE)
        gr.api(preprocess_endpoint(previews), api_name="preprocess", **GPU_QUEUE)
    return page
