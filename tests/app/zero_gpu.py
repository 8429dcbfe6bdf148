"""A stand-in for ZeroGPU: it schedules, lends to a process of its own, pickles, and takes the device away in time.

`spaces` does all of that itself once its environment says so; what is missing on an ordinary machine is the platform's
scheduler, and somebody who ends a worker whose time is over. Run as a program it makes one clip by the app's own
lent engine and prints what happened as JSON: `python -m tests.app.zero_gpu FOLDER SECONDS GRACE REQUEST`.
"""

import base64
import http.server
import json
import multiprocessing
import os
import signal
import sys
import threading
import time
import urllib.parse
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

from starlette.datastructures import Headers


class Scheduler(http.server.BaseHTTPRequestHandler):
    """Answers what `spaces` asks the platform; what is in `refusals` is refused first, all else allowed.

    A refusal has a `status`, and what the platform says with it: for 429 seconds that are `left` and to `wait`, where
    below 0 means that so long a call is never allowed; a `result` for its header. 200 is a line that leads nowhere.
    """

    calls: ClassVar[list[tuple[str, dict[str, str]]]] = []
    refusals: ClassVar[list[dict[str, Any]]] = []
    allowed: ClassVar[int] = 0

    def do_POST(self) -> None:
        asked = urllib.parse.urlparse(self.path)
        self.rfile.read(int(self.headers.get("content-length") or 0))
        query = {name: values[0] for name, values in urllib.parse.parse_qs(asked.query).items()}
        self.calls.append((asked.path, query))
        if asked.path == "/schedule" and self.refusals and not self.is_allowed():
            return self.refuse(**self.refusals.pop(0))
        lent = {"idle": False, "nvidiaIndex": 0, "nvidiaUUID": "GPU-stand-in", "allowToken": f"t{len(self.calls)}"}
        return self.answer(200, json.dumps(lent) if asked.path == "/schedule" else "")

    def is_allowed(self) -> bool:
        """Count one of the calls that are allowed before any is refused."""
        type(self).allowed -= 1
        return self.allowed >= 0

    def refuse(self, status: int, left: int = 0, wait: int = 0, result: str = "quota-exceeded") -> None:
        """Say no."""
        if status == http.HTTPStatus.OK:
            return self.answer(status, "event: failed\n\n", "text/event-stream")
        told = json.dumps({"left": left, "wait": wait}) if status == http.HTTPStatus.TOO_MANY_REQUESTS else "{}"
        return self.answer(status, told, approve=result)

    def answer(self, status: int, told: str, kind: str = "application/json", approve: str = "approved") -> None:
        """Send it."""
        body = told.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("X-Approve-Result", approve)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


class Visitor:
    """Somebody whose token the platform's proxy has sent; it is signed by nobody."""

    headers = Headers({"x-ip-token": f"none.{base64.urlsafe_b64encode(b'{}').decode()}.none"})


def platform_variables() -> dict[str, str]:
    """Serve the scheduler; what the environment of a Space says of it."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Scheduler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return {"SPACES_ZERO_GPU": "1", "SPACES_ZERO_DEVICE_API_URL": f"http://127.0.0.1:{server.server_address[1]}"}


def start_platform() -> None:
    """Serve the scheduler and tell `spaces` of it; before `spaces` is imported."""
    os.environ.update(platform_variables())


def stay_on_cpu() -> None:
    """Let workers compute where there is no CUDA: tensors stay where they are."""
    import spaces.zero.torch as zero
    from spaces.zero.torch import patching

    import pipelines.generate
    from pipelines.device import Device

    pipelines.generate.choose_device = lambda: Device("cpu", "float32", 1)

    def move(callback: object = None) -> None:  # noqa: ARG001 - as it is called
        for fake, original in patching.cuda_aliases.items():
            if original is not None:
                fake.data = original

    zero.init = lambda _: None
    zero.pack = lambda: 0
    zero.move = move


def take_away_after(seconds: float, workers: list[int]) -> None:
    """End every worker that is older than that, as the platform does; its process ids are noted."""
    born: dict[int, float] = {}

    def watch() -> None:
        while True:
            time.sleep(0.05)
            for child in multiprocessing.active_children():
                if child.pid is None:
                    continue
                if child.pid not in born:
                    workers.append(child.pid)
                if time.monotonic() - born.setdefault(child.pid, time.monotonic()) > seconds:
                    with suppress(ProcessLookupError):
                        os.kill(child.pid, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def come_as_visitor() -> None:
    """Have the calls of this thread be a visitor's, with a quota."""
    from gradio.context import LocalContext

    LocalContext.request.set(Visitor())  # type: ignore[arg-type] - all of it that is looked at


def main(folder: str, seconds: str, grace: str, request: str, refusals: str = "[]", after: str = "0") -> None:
    """Make a clip in turns.

    Args:
        folder: Where to.
        seconds: How long a turn may hold the device.
        grace: After how many more the platform takes it away; below 0 it does so before a turn ends by itself.
        request: The request's fields as JSON.
        refusals: What the scheduler refuses, as JSON.
        after: How many calls it allows before.
    """
    start_platform()
    stay_on_cpu()
    come_as_visitor()
    Scheduler.refusals, Scheduler.allowed = json.loads(refusals), int(after)
    from api import zero_gpu
    from api.engine import build_request
    from pipelines.events import Clip

    workers: list[int] = []
    take_away_after(int(seconds) + float(grace), workers)
    engine = zero_gpu.lent_engine(limit_s=int(seconds))
    zero_gpu.preload("demo")
    zero_gpu.turn_seconds = lambda _, *, limit_s: max(1, limit_s - zero_gpu.TURN_MARGIN_S)  # a CPU is no ZeroGPU
    notes: list[str] = []
    result: dict[str, Any] = {}
    try:
        for event in engine(build_request(**json.loads(request)), Path(folder)):
            if isinstance(event, Clip):
                result = {"files": [str(path) for path in event.files], "frames": event.num_frames}
                result |= {"warnings": event.warnings, "recipe": event.recipe}
            else:
                notes.append(event.note)
    except Exception as err:
        result = {"error": str(err)}
    lent = [query for path, query in Scheduler.calls if path == "/schedule"]
    result["asked"] = [int(query["durationSeconds"]) for query in lent]
    print(json.dumps(result | {"turns": len(lent), "workers": len(set(workers)), "notes": notes}), flush=True)  # noqa: T201
    for worker in multiprocessing.active_children():  # they wait for the next call
        worker.kill()
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
