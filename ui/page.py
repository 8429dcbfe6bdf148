"""The page: one Blocks that composes the studio and publishes the endpoints."""

from typing import Any

import gradio as gr

from api.web.endpoint import clip_endpoint, preprocess_endpoint
from api.web.facts import publish_facts
from api.web.tools import publish_tools
from api.web.visitor_limit import GPU_QUEUE
from pipelines.plan.settings import Settings, use_settings
from studio.modes import Mode
from studio.studio import Studio
from ui.about import build_about
from ui.gpu_line import place_gpu_line
from ui.workspace import build_workspace

_SWEEP_EVERY_S = 3600
_KEEP_FILES_S = 24 * 3600


class _Page(gr.Blocks):
    """Blocks whose events, each step of a generator too, run with settings."""

    settings: Settings

    async def process_api(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Process an event, in threads that have this one's context."""
        with use_settings(self.settings):
            result: dict[str, Any] = await super().process_api(*args, **kwargs)
            return result


def build_page(studio: Studio) -> gr.Blocks:
    """Compose the page of a studio.

    Returns:
        The page, for `api.web.visitor_limit.open_line` and `api.web.routes.serve`, with `ui.theme.page_looks()`.
    """
    make_clip = studio.make_clip
    with (
        use_settings(studio.settings),
        _Page(title="AnimateDiff Studio", delete_cache=(_SWEEP_EVERY_S, _KEEP_FILES_S)) as page,
    ):
        page.settings = studio.settings
        gr.Markdown("# AnimateDiff Studio", elem_id="masthead")
        place_gpu_line(page)
        build_workspace(studio, GPU_QUEUE, page)
        build_about(make_clip, GPU_QUEUE)
        for mode in Mode:
            gr.api(clip_endpoint(make_clip, mode), api_name=mode.value, **GPU_QUEUE)
        gr.api(preprocess_endpoint(studio.make_preview), api_name="preprocess", **GPU_QUEUE)
        publish_facts()
        publish_tools(make_clip)
    return page
