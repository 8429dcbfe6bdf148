"""The line in which clips wait for the device: how long it is, and how much of it one visitor may take.

Gradio has no words for either, so that its queue is asked here, and nowhere else.
"""

import asyncio
from collections.abc import Iterator
from typing import Any

import gradio as gr
from fastapi import HTTPException, Request, status

from pipelines.settings import Settings

GPU_QUEUE: dict[str, Any] = {"concurrency_id": "gpu", "concurrency_limit": 1}
"""Every event that makes a clip shares this: one generation at a time on a device, others wait in line."""

_RETRY_AFTER_S = 10


def open_line(page: gr.Blocks, found: Settings) -> None:
    """Open the page's queue as the operator wants it; before the page is launched."""
    page.queue(max_size=found.queue_size, default_concurrency_limit=2, api_open=False)
    if found.max_per_visitor:
        _limit_visitors(page, found.max_per_visitor)


def line_length(page: gr.Blocks) -> tuple[int, int]:
    """How many jobs wait for the device, and how many are being made. Takes no lock."""
    return len(list(_waiting(page))), len(list(_running(page)))


def _limit_visitors(page: gr.Blocks, most: int) -> None:
    """Refuse a job where its visitor has as many in the line already: with 429, in words that the page shows.

    A session is no visitor: anybody can call themselves a new one.
    """
    line = page._queue
    join, one_at_a_time = line.push, asyncio.Lock()  # `join` waits in between; two at once must not both slip in

    async def push(body: Any, request: Request, username: str | None) -> Any:
        async with one_at_a_time:
            if page.fns[body.fn_index].concurrency_id == GPU_QUEUE["concurrency_id"]:
                visitor = _visitor(request, username)
                jobs = [*_waiting(page), *_running(page)]
                if sum(_visitor(job.request, job.username) == visitor for job in jobs) >= most:
                    raise HTTPException(
                        status.HTTP_429_TOO_MANY_REQUESTS,
                        f"jobs must be at most {most} at once for one visitor, got one more. Wait until one is "
                        "finished, or cancel it.",
                        headers={"Retry-After": str(_RETRY_AFTER_S)},
                    )
            return await join(body=body, request=request, username=username)

    line.push = push


def _visitor(request: Request, username: str | None) -> str:
    return username or (request.client.host if request.client else "")


def _waiting(page: gr.Blocks) -> Iterator[Any]:
    line = page._queue.event_queue_per_concurrency_id.get(GPU_QUEUE["concurrency_id"])
    return iter(line.queue if line else ())


def _running(page: gr.Blocks) -> Iterator[Any]:
    for jobs in page._queue.active_jobs:
        yield from (job for job in jobs or () if job.concurrency_id == GPU_QUEUE["concurrency_id"])
