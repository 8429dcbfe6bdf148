"""A stand-in for ZeroGPU: it schedules, lends to a process of its own, pickles, and takes the device away in time.

`spaces` does all of that itself once its environment says so; what is missing on an ordinary machine is the platform's
scheduler, and somebody who ends a worker whose time is over. Run as a program it makes clips by the app's own lent
engine, as lines of JSON ask for them, and prints what happened. How long a turn may be is the app's own choice, of
what it is told that the clip takes; its seconds are counted by the engine's windows, so that turns end alike anywhere.
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
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any, ClassVar

import pytest
from starlette.datastructures import Headers

ANSWER = "answer: "
"""Before what the program says; the platform's library prints, too."""


class Scheduler(http.server.BaseHTTPRequestHandler):
    """Answers what `spaces` asks the platform; what is in `refusals` is refused first, all else allowed.

    A refusal has a `status`, and what the platform says with it: for 429 seconds that are `left` and to `wait`, where
    below 0 means that so long a call is never allowed; a `result` for its header, and whom it takes the visitor for in
    `auth`. 200 is its line: a stream of `pings`, for the `reason` that is said, after which a device is lent, or with
    -1 none.
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
        return self.answer(200, self.lent() if asked.path == "/schedule" else "")

    def lent(self) -> str:
        """The device that is lent."""
        lent = {"idle": False, "nvidiaIndex": 0, "nvidiaUUID": "GPU-stand-in", "allowToken": f"t{len(self.calls)}"}
        return json.dumps(lent)

    def is_allowed(self) -> bool:
        """Count one of the calls that are allowed before any is refused."""
        type(self).allowed -= 1
        return self.allowed >= 0

    def refuse(
        self,
        status: int,
        left: int = 0,
        wait: int = 0,
        result: str = "quota-exceeded",
        auth: str = "",
        pings: int = -1,
        reason: str = "",
    ) -> None:
        """Say no, or have the visitor wait."""
        if status == http.HTTPStatus.OK:
            return self.queue(pings, reason)
        told = json.dumps({"left": left, "wait": wait}) if status == http.HTTPStatus.TOO_MANY_REQUESTS else "{}"
        return self.answer(status, told, {"X-Approve-Result": result, "X-Authenticated": auth})

    def queue(self, pings: int, reason: str) -> None:
        """The platform's line: a stream of events, each sent by itself."""
        self.send_response(200)
        headers = {"Content-Type": "text/event-stream", "X-Approve-Result": "approved", "X-Queuing-Reason": reason}
        for name, value in headers.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        last = f"event: succeeded\ndata: {self.lent()}\n\n" if pings >= 0 else "event: failed\n\n"
        for event in (*["event: ping\n\n"] * max(pings, 0), last):
            self.wfile.write(event.encode())
            self.wfile.flush()
            time.sleep(0.05)  # so that the next one arrives by itself

    def answer(self, status: int, told: str, headers: Mapping[str, str] = MappingProxyType({})) -> None:
        """Send it."""
        body = told.encode()
        self.send_response(status)
        known = {"Content-Type": "application/json", "X-Approve-Result": "approved", "Content-Length": str(len(body))}
        for name, value in (known | dict(headers)).items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


class Visitor:
    """Somebody whose token the platform's proxy has sent; it is signed by nobody.

    Args:
        through_page: Whether they press buttons of the page, and no program asks.
    """

    def __init__(self, *, through_page: bool = False) -> None:
        token = f"none.{base64.urlsafe_b64encode(b'{}').decode()}.none"
        self.headers = Headers({"x-ip-token": token} | ({"x-gradio-user": "app"} if through_page else {}))


class CountedTime:
    """A clock that goes by the engine's windows, in the place of `time` in `studio.device_leases`.

    Args:
        seconds: That each window takes.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._now = 0.0

    def monotonic(self) -> float:
        """The seconds so far."""
        return self._now

    def counting(self, generate: Callable[..., Any]) -> Callable[..., Any]:
        """The engine, whose windows move the clock."""
        from pipelines.plan.events import Progress, Stage

        def counted(*given: Any, **options: Any) -> Iterator[Any]:
            with closing(generate(*given, **options)) as events:
                for event in events:
                    if isinstance(event, Progress) and event.stage is Stage.DENOISE and event.share is None:
                        self._now += self._seconds
                    yield event

        return counted


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

    import pipelines.engine.generate
    from pipelines.engine.device import Device

    pipelines.engine.generate.choose_device = lambda: Device("cpu", "float32", 1)

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


def come_as_visitor(*, through_page: bool = False) -> None:
    """Have the calls of this thread be a visitor's, with a quota."""
    from gradio.context import LocalContext

    LocalContext.request.set(Visitor(through_page=through_page))  # type: ignore[arg-type] - all of it that is looked at


def lend_to(request: dict[str, Any], folder: Path, wished: Mapping[str, Any]) -> dict[str, Any]:
    """Make a clip in turns; what happened.

    Args:
        request: Its fields.
        folder: Where to.
        wished: `limit_s` for a turn, the `window_s` that each window of the engine counts for, the seconds `expected`
            of the clip (else it depends on this machine's pace), the `room` that turns ask for over them, what the
            scheduler has `refused` and how many calls it allows `after` that, and the folder of `runs` that are kept.
    """
    from pipelines.engine.generate import generate
    from pipelines.plan.events import Clip
    from pipelines.plan.settings import Settings, use_settings
    from studio import device_leases as turns
    from studio import zero_gpu
    from studio.engine import build_request

    Scheduler.calls.clear()
    Scheduler.refusals[:], Scheduler.allowed = wished["refused"], wished["after"]
    clock = CountedTime(wished["window_s"])
    result: dict[str, Any] = {}
    notes: list[str] = []
    turn_of_note: list[int] = []
    config = Settings(max_gpu_seconds=wished["limit_s"], checkpoint_dir=Path(wished["runs"]))
    with pytest.MonkeyPatch.context() as patch, use_settings(config):
        patch.setattr(turns, "time", clock)  # all of it that is asked for
        patch.setattr("pipelines.engine.generate.generate", clock.counting(generate))
        patch.setattr(zero_gpu, "ROOM", wished["room"] or zero_gpu.ROOM)
        if wished["expected"]:
            expected = SimpleNamespace(device_seconds=wished["expected"])
            patch.setattr(zero_gpu, "estimate", lambda _: expected)
        engine = zero_gpu.lent_engine(config)
        try:
            for event in engine(build_request(**request), folder):
                if isinstance(event, Clip):
                    result = {"files": [str(path) for path in event.files], "frames": event.num_frames}
                    result |= {"warnings": event.warnings, "recipe": event.recipe}
                elif event.share is None:
                    notes.append(event.note)
                    turn_of_note.append(sum(path == "/schedule" for path, _ in Scheduler.calls))
        except Exception as err:
            result = {"error": str(err)}
    lent = [query for path, query in Scheduler.calls if path == "/schedule"]
    result["asked"] = [int(query["durationSeconds"]) for query in lent]
    result["sizes"] = sorted({query.get("gpuSize", "") for query in lent})
    return result | {"turns": len(lent), "notes": notes, "turn_of_note": turn_of_note}


def main(*, taken_after_s: float) -> None:
    """Make the clips that are asked for, one a line of JSON, and say of each what happened.

    Args:
        taken_after_s: Real seconds after which workers are ended.
    """
    start_platform()
    stay_on_cpu()
    come_as_visitor()
    from studio import zero_gpu

    workers: list[int] = []
    take_away_after(taken_after_s, workers)
    zero_gpu.preload("demo")
    for line in sys.stdin:
        request, folder, wished = json.loads(line)
        plain = {"limit_s": 60, "window_s": 0, "expected": 0, "room": 0, "refused": [], "after": 0}
        workers.clear()
        told = lend_to(request, Path(folder), plain | wished)
        print(ANSWER + json.dumps(told | {"workers": len(set(workers))}), flush=True)  # noqa: T201
        for worker in multiprocessing.active_children():  # they wait for the next call
            worker.kill()
    os._exit(0)


if __name__ == "__main__":
    main(taken_after_s=float(sys.argv[1]))
