"""What a visitor's first click takes on a free Space: a fresh clone, started as there, with nothing in any cache.

`python -m scripts.measure_first_click [--docs docs/measurements.md]` on two cores; nothing is fetched.
"""

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
from gradio_client import Client

ROOT = Path(__file__).resolve().parents[1]
_BEGIN, _END = "<!-- first click: begin -->", "<!-- first click: end -->"
_GB = 1e9
_LOOK_S = 0.2
_MOST_S = 600


@dataclass(frozen=True)
class FirstClick:
    """What was measured.

    Args:
        page_s: From the start of `app.py` until the page is served.
        ready_s: From then until the engine is there.
        first_s, second_s: From a click to its clip.
        idle_gb, peak_gb: Memory of the program and its children before the first click, and the most of all.
        frames, size: Of the clip.
    """

    page_s: float
    ready_s: float
    first_s: float
    second_s: float
    idle_gb: float
    peak_gb: float
    frames: int
    size: str

    def table(self) -> str:
        """It in Markdown."""
        rows = {
            "until the page is served": f"{self.page_s:.0f} s",
            "until the engine is there, behind the page": f"{self.ready_s:.0f} s more",
            f"from the first click to a clip of {self.frames} frames, {self.size}": f"{self.first_s:.0f} s",
            "from the second click": f"{self.second_s:.0f} s",
            "memory before the first click": f"{self.idle_gb:.1f} GB",
            "memory at its highest": f"{self.peak_gb:.1f} GB of 16",
        }
        return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())])


def measure() -> FirstClick:
    """Clone, start, click twice."""
    with tempfile.TemporaryDirectory(prefix="first-click-") as place:
        folder, port = Path(place), _free_port()
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder / "app")], check=True)
        of_a_space = {"SPACE_ID": "somebody/studio", "GRADIO_SERVER_PORT": str(port), "HF_HUB_OFFLINE": "1"}
        own = {"HOME": place, "XDG_CACHE_HOME": f"{place}/cache", "HF_HOME": f"{place}/hub", "TMPDIR": place}
        environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
        start = time.monotonic()
        space = subprocess.Popen(
            [sys.executable, "app.py"],
            cwd=folder / "app",
            env=environment | of_a_space | own,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            with _watched(space.pid) as memory:
                return _clicked(f"http://127.0.0.1:{port}", start, memory)
        finally:
            space.kill()
            space.wait()


def _clicked(url: str, start: float, memory: list[float]) -> FirstClick:
    _until(lambda: httpx.get(f"{url}/config", timeout=30).is_success)
    page_s = time.monotonic() - start
    _until(lambda: httpx.get(f"{url}/health", timeout=30).json()["status"] == "ready")
    ready_s = time.monotonic() - start - page_s
    idle = memory[-1]
    client = Client(url, verbose=False, download_files=False)
    took = []
    for seed in (1, 2):
        begun = time.monotonic()
        _, recipe, _ = client.predict(prompt="a red circle moving right", seed=seed, api_name="/txt2vid")
        took.append(time.monotonic() - begun)
    size = f"{recipe['width']}×{recipe['height']}"
    return FirstClick(page_s, ready_s, *took, idle, max(memory), recipe["num_frames"], size)


def _until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + _MOST_S
    while time.monotonic() < end:
        with suppress(httpx.HTTPError, ValueError, KeyError):
            if is_so():
                return
        time.sleep(_LOOK_S)
    raise TimeoutError("The app has not come up.")


@contextmanager
def _watched(process: int) -> Iterator[list[float]]:
    """Memory of a process and its children, GB, every moment while the block runs."""
    seen, done = [0.0], threading.Event()

    def look() -> None:
        program = psutil.Process(process)
        while not done.wait(_LOOK_S):
            with suppress(psutil.NoSuchProcess):
                all_of_it = [program, *program.children(recursive=True)]
                seen.append(sum(one.memory_info().rss for one in all_of_it) / _GB)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main() -> None:
    """Measure and print, or put the table into a page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--docs", type=Path, help="the page with the table")
    wished = parser.parse_args()
    table = measure().table()
    print(table)
    if wished.docs:
        page = wished.docs.read_text("utf-8")
        before, _, rest = page.partition(_BEGIN)
        wished.docs.write_text(f"{before}{_BEGIN}\n{table}\n{_END}{rest.partition(_END)[2]}", "utf-8")


if __name__ == "__main__":
    main()
