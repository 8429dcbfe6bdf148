"""The page: one Blocks that composes the studio and publishes the endpoints."""

import gradio as gr

from api.web.endpoint import clip_endpoint, preprocess_endpoint
from api.web.facts import publish_facts
from api.web.tools import publish_tools
from api.web.visitor_limit import GPU_QUEUE
from studio.control_preview import MakePreview, preview_clip
from studio.engine import MakeClip
from studio.jobs import Jobs
from studio.limits import within_limits
from studio.modes import Mode
from ui.about import build_about
from ui.gpu_line import place_gpu_line
from ui.workspace import build_studio

_SWEEP_EVERY_S = 3600
_KEEP_FILES_S = 24 * 3600


def build_page(make_clip: MakeClip, make_preview: MakePreview = preview_clip, jobs: Jobs | None = None) -> gr.Blocks:
    """Compose the page around an engine.

    Args:
        make_clip: Makes the clip of a request in a folder and tells how it goes; closing it stops it. Where runs must
            not meet on a device, it waits for its turn (`studio/device_queue.py`).
        make_preview: Makes what the first control unit of a request follows, in the same way.
        jobs: Where the page starts and finds its clips; new ones if not given.

    Returns:
        The page, for `api.web.visitor_limit.open_line` and `api.web.routes.serve`, with `ui.theme.page_looks()`.
    """
    make_clip, make_preview = within_limits(make_clip), within_limits(make_preview)
    with gr.Blocks(title="AnimateDiff Studio", delete_cache=(_SWEEP_EVERY_S, _KEEP_FILES_S)) as page:
        gr.Markdown("# AnimateDiff Studio", elem_id="masthead")
        place_gpu_line(page)
        build_studio(make_clip, make_preview, jobs or Jobs(), GPU_QUEUE, page)
        build_about(make_clip, GPU_QUEUE)
        for mode in Mode:
            gr.api(clip_endpoint(make_clip, mode), api_name=mode.value, **GPU_QUEUE)
        gr.api(preprocess_endpoint(make_preview), api_name="preprocess", **GPU_QUEUE)
        publish_facts()
        publish_tools(make_clip)
    return page
