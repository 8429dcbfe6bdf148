"""Private names of Gradio, read from 6.31; no other module uses any.

`Blocks._queue`: Gradio counts its queue as a whole (`/queue/status`), not whose events wait in it. And it looks a
thousand times a second whether one has come, but on Windows: 860 wake-ups a second, up to 4 % of a core at idle.
"""

from collections.abc import Iterator

import gradio as gr
from gradio.queueing import Event

_LOOKS_EVERY_S = 0.02


def calm_queue(page: gr.Blocks) -> None:
    """Have an idle queue look for events less often; after `page.queue`."""
    page._queue.sleep_when_free = _LOOKS_EVERY_S


def waiting_events(page: gr.Blocks, concurrency_id: str) -> Iterator[Event]:
    """List events that wait for their turn, without a lock."""
    line = page._queue.event_queue_per_concurrency_id.get(concurrency_id)
    return iter(line.queue if line else ())


def running_events(page: gr.Blocks, concurrency_id: str) -> Iterator[Event]:
    """List events at work."""
    for events in page._queue.active_jobs:
        yield from (event for event in events or () if event.concurrency_id == concurrency_id)
