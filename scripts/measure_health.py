"""How fast `/health` answers while a demo clip is made: `python -m scripts.measure_health`."""

import argparse
import contextlib
import os
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from gradio_client import Client

ROOT = Path(__file__).resolve().parents[1]
_START_LIMIT_S = 120


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=400, help="Questions while a clip is made, at least 100.")
    parser.add_argument("--every-s", type=float, default=0.02, help="Rest between an answer and the next question.")
    options = parser.parse_args()
    with _studio() as url:
        client = Client(url, verbose=False)
        client.predict(prompt="a red circle", base_model="demo", num_inference_steps=1, api_name="/txt2vid")
        job = client.submit(prompt="a red circle", base_model="demo", num_frames=512, api_name="/txt2vid")
        while '"running":1' not in _ask(url)[1]:
            time.sleep(0.1)
        seconds = []
        for _ in range(options.samples):
            took, text = _ask(url)
            if '"running":1' not in text:
                raise SystemExit("The clip was done before all samples were taken; ask for fewer.")
            seconds.append(took)
            time.sleep(options.every_s)
        job.cancel()
    ranks = statistics.quantiles(seconds, n=100)
    print(
        f"/health while a clip is made, {len(seconds)} samples: median {1000 * ranks[49]:.1f} ms, "
        f"p99 {1000 * ranks[98]:.1f} ms, slowest {1000 * max(seconds):.1f} ms"
    )


@contextlib.contextmanager
def _studio() -> Iterator[str]:
    """The app in a process of its own, once it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}/"
    server = subprocess.Popen(
        [sys.executable, "app.py"],
        cwd=ROOT,
        env=os.environ | {"GRADIO_SERVER_PORT": str(port)},
        stdout=subprocess.DEVNULL,
    )
    try:
        until = time.monotonic() + _START_LIMIT_S
        while time.monotonic() < until:
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                if '"ready"' in _ask(url)[1]:
                    break
            time.sleep(0.2)
        else:
            raise SystemExit(f"The studio was not ready within {_START_LIMIT_S} s.")
        yield url
    finally:
        server.terminate()
        server.wait(10)


def _ask(url: str) -> tuple[float, str]:
    """Seconds from the question to the whole answer, a connection of its own included, and the answer."""
    start = time.perf_counter()
    with urllib.request.urlopen(f"{url}health", timeout=10) as answer:
        text = answer.read().decode()
    return time.perf_counter() - start, text


if __name__ == "__main__":
    main()
