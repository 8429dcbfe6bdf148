"""Gradio's queue of generating events: its length, and each visitor's share.

Gradio limits no visitors, so that its routes which take events ask here first. The page's jobs are not in its queue; of
one visitor they count as events do.
"""

import asyncio
from collections.abc import AsyncIterator, Callable

import gradio as gr
from fastapi import HTTPException, Request, status
from gradio.context import LocalContext
from gradio.data_classes import PredictBody

from api.web.gradio_internals import calm_queue, running_events, waiting_events
from api.web.login import current_user
from pipelines.plan.faults import ENGLISH
from studio.jobs import Jobs, too_many
from studio.studio import Studio

_GPU = "gpu"
GPU_QUEUE: dict[str, str | int] = {"concurrency_id": _GPU, "concurrency_limit": 1}
"""Every event that uses the device shares this: one of them at a time stands in the device's line, among the jobs."""

Door = Callable[[Request], AsyncIterator[None]]
"""A dependency of all of Gradio's routes, around what they do."""

_RETRY_AFTER_S = 10


def open_line(page: gr.Blocks, studio: Studio) -> Door | None:
    """Configure the page's queue; before the page is launched.

    Returns:
        The visitors' limit, for `serve`; None if there is none.
    """
    page.queue(max_size=studio.settings.queue_size, default_concurrency_limit=2, api_open=False)
    calm_queue(page)
    if not studio.settings.max_per_visitor:
        return None
    studio.jobs.elsewhere = lambda visitor: _count(page, visitor)
    return _limit_visitors(page, studio.jobs, studio.settings.max_per_visitor)


def queue_length(page: gr.Blocks) -> int:
    """Count the events that wait before the device's line, without a lock."""
    return len(list(waiting_events(page, _GPU)))


def current_visitor() -> str:
    """Identify the sender of the current event; empty outside of one."""
    request = LocalContext.request.get(None)
    return _visitor(request, request.username) if request else ""


def _limit_visitors(page: gr.Blocks, jobs: Jobs, most: int) -> Door:
    """Refuse jobs of visitors with too many in line, with 429.

    A session is no visitor: anybody can call themselves a new one.
    """
    one_at_a_time = asyncio.Lock()  # joining waits in between; two at once must not both slip in

    async def limit(request: Request) -> AsyncIterator[None]:
        if not await _asks_for_gpu(page, request):
            yield
            return
        async with one_at_a_time:
            visitor = _visitor(request, current_user(request))
            if _count(page, visitor) + jobs.count(visitor) >= most:
                raise HTTPException(
                    status.HTTP_429_TOO_MANY_REQUESTS,
                    ENGLISH.sentence(too_many(most)),
                    headers={"Retry-After": str(_RETRY_AFTER_S)},
                )
            yield

    return limit


async def _asks_for_gpu(page: gr.Blocks, request: Request) -> bool:
    """Tell whether a request would put an event into the device's queue.

    Gradio's routes for that are POSTs to `/call/{api_name}`, `/call/v2/{api_name}` and `/queue/join`.
    """
    path = request.scope["route"].path
    if request.method != "POST" or not ("/call/" in path or "/queue/join" in path):
        return False
    if api_name := request.path_params.get("api_name"):
        return any(fn.concurrency_id == _GPU for fn in page.fns.values() if fn.api_name == api_name)
    try:
        fn_index = PredictBody.model_validate(await request.json()).fn_index
    except ValueError:  # which Gradio refuses
        return False
    return fn_index in page.fns and page.fns[fn_index].concurrency_id == _GPU


def _count(page: gr.Blocks, visitor: str) -> int:
    events = (*waiting_events(page, _GPU), *running_events(page, _GPU))
    return sum(_visitor(event.request, event.username) == visitor for event in events)


def _visitor(request: Request | gr.Request, username: str | None) -> str:
    return username or (request.client.host if request.client else "")
