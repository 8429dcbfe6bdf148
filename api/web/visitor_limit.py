"""Gradio's queue of generating events: its length, and each visitor's share.

Gradio has no words for either, so that its queue is asked here, and nowhere else. The page's jobs are not in it; of one
visitor they count as events do.
"""

import asyncio
from collections.abc import Iterator

import gradio as gr
from fastapi import HTTPException, Request, status
from gradio.context import LocalContext
from gradio.data_classes import PredictBodyInternal
from gradio.queueing import Event

from pipelines.plan.faults import ENGLISH
from studio.jobs import Jobs, too_many
from studio.studio import Studio

GPU_QUEUE: dict[str, str | int] = {"concurrency_id": "gpu", "concurrency_limit": 1}
"""Every event that uses the device shares this: one of them at a time stands in the device's line, among the jobs."""

_RETRY_AFTER_S = 10


def open_line(page: gr.Blocks, studio: Studio) -> None:
    """Configure the page's queue; before the page is launched."""
    page.queue(max_size=studio.settings.queue_size, default_concurrency_limit=2, api_open=False)
    if studio.settings.max_per_visitor:
        studio.jobs.elsewhere = lambda visitor: _count(page, visitor)
        _limit_visitors(page, studio.jobs, studio.settings.max_per_visitor)


def queue_length(page: gr.Blocks) -> int:
    """Count the events that wait before the device's line, without a lock."""
    return len(list(_waiting(page)))


def current_visitor() -> str:
    """Identify the sender of the current event; empty outside of one."""
    request = LocalContext.request.get(None)
    return _visitor(request, request.username) if request else ""


def _limit_visitors(page: gr.Blocks, jobs: Jobs, most: int) -> None:
    """Refuse jobs of visitors with too many in line, with 429.

    A session is no visitor: anybody can call themselves a new one.
    """
    line = page._queue
    join, one_at_a_time = line.push, asyncio.Lock()  # `join` waits in between; two at once must not both slip in

    async def push(body: PredictBodyInternal, request: Request, username: str | None) -> object:
        async with one_at_a_time:
            if page.fns[body.fn_index].concurrency_id == GPU_QUEUE["concurrency_id"]:
                visitor = _visitor(request, username)
                if _count(page, visitor) + jobs.count(visitor) >= most:
                    raise HTTPException(
                        status.HTTP_429_TOO_MANY_REQUESTS,
                        ENGLISH.sentence(too_many(most)),
                        headers={"Retry-After": str(_RETRY_AFTER_S)},
                    )
            return await join(body=body, request=request, username=username)

    line.push = push


def _count(page: gr.Blocks, visitor: str) -> int:
    return sum(_visitor(event.request, event.username) == visitor for event in (*_waiting(page), *_running(page)))


def _visitor(request: Request | gr.Request, username: str | None) -> str:
    return username or (request.client.host if request.client else "")


def _waiting(page: gr.Blocks) -> Iterator[Event]:
    line = page._queue.event_queue_per_concurrency_id.get(GPU_QUEUE["concurrency_id"])
    return iter(line.queue if line else ())


def _running(page: gr.Blocks) -> Iterator[Event]:
    for jobs in page._queue.active_jobs:
        yield from (job for job in jobs or () if job.concurrency_id == GPU_QUEUE["concurrency_id"])
