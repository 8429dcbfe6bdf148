"""`GET /health`: status and load of the studio."""

import time
from datetime import UTC, datetime

import gradio as gr
from fastapi import APIRouter

from api.web.visitor_limit import queue_length
from pipelines.plan.version import VERSION
from studio.device_queue import DeviceQueue
from studio.engine_start import STATE


def health_router(page: gr.Blocks, device: DeviceQueue) -> APIRouter:
    """Build the route.

    It answers in the server's own thread, from what is known: no lock, no disk, no torch. The answer is `{"status":
    "starting" | "ready" | "broken", "version", "device", "waiting", "running", "running_since", "uptime_s"}`: jobs in
    line and being made, when the server started (ISO 8601) and how long it has been up. `device` is "starting" until it
    is known.
    """
    router = APIRouter()
    since, start = datetime.now(UTC).isoformat(timespec="seconds"), time.monotonic()

    @router.get("/health")
    async def health() -> dict[str, object]:
        waiting, running = device.length()
        return {
            "status": STATE.status,
            "version": VERSION,
            "device": STATE.device,
            "waiting": waiting + queue_length(page),
            "running": running,
            "running_since": since,
            "uptime_s": round(time.monotonic() - start, 1),
        }

    return router
