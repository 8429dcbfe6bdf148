"""Everything that a lent call can end with but what it is for, each asked of the stand-in: prints the words as JSON.

`python -m tests.app.zero_gpu_refusals FOLDER`; the folder is nothing to it.
"""

import json
import os
from collections.abc import Iterator

from tests.app.zero_gpu import Scheduler, come_as_visitor, start_platform, stay_on_cpu

ASKED_S = 40
REFUSALS = {
    "quota": {"status": 429, "left": 25, "wait": 3723},
    "quota, regular": {"status": 429, "left": 25, "wait": 3723, "auth": "regular"},
    "quota, pro": {"status": 429, "left": 25, "wait": 3723, "auth": "pro"},
    "no quota": {"status": 429, "left": -3, "wait": 90_000},
    "runs": {"status": 429, "wait": 0, "result": "runs-exceeded"},
    "pending": {"status": 429, "wait": 5, "result": "pending-overquota-exceeded"},
    "illegal": {"status": 429, "wait": -1, "result": "illegal-duration"},
    "illegal, regular": {"status": 429, "wait": -1, "result": "illegal-duration", "auth": "regular"},
    "no GPU": {"status": 503},
    "no GPU in line": {"status": 200},
    "expired": {"status": 401},
    "broken": {"status": 500},
}


def tell(kind: str) -> Iterator[str]:
    """What runs on the device; on the way it ends as it is told."""
    from pipelines.plan.errors import InvalidRequestError

    yield "begun"
    if kind == "aborted":
        os._exit(1)
    if kind == "visitor's fault":
        raise InvalidRequestError("seed must be there.")
    if kind == "our fault":
        raise KeyError("a secret")


def main() -> None:
    """Try them all: what each raises, its text, and what may be asked for; or what came."""
    start_platform()
    stay_on_cpu()
    from gradio.context import LocalContext

    from pipelines.plan.settings import Settings
    from studio.zero_gpu import lend

    told = {}

    def call(name: str) -> None:
        try:
            told[name] = ["", list(lent(name))]
        except Exception as err:
            told[name] = [type(err).__name__, str(getattr(err, "message", err)), getattr(err, "may_ask_s", None)]

    lent = lend(tell, Settings(), duration=ASKED_S)
    come_as_visitor()
    for name in ("fine", "aborted", "visitor's fault", "our fault"):
        call(name)
    for reason in ("node", "concurrency", "unknown"):
        said = "" if reason == "unknown" else reason
        Scheduler.refusals = [{"status": 200, "pings": 2, "reason": said}]
        call(f"waited, {reason}")
    for name, refusal in REFUSALS.items():
        Scheduler.refusals = [refusal]
        call(name)
    come_as_visitor(through_page=True)
    Scheduler.refusals = [REFUSALS["quota"]]
    call("quota, page")
    LocalContext.request.set(None)
    for name in ("quota", "no GPU in line"):
        Scheduler.refusals = [REFUSALS[name]]
        call(f"{name}, nobody")
    from spaces.config import Config

    Config.zero_device_api_url = "http://127.0.0.1:9"
    call("away")
    print(json.dumps(told), flush=True)  # noqa: T201
    os._exit(0)


if __name__ == "__main__":
    main()
