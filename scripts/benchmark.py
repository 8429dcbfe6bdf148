"""Ours beside diffusers' own AnimateDiffPipeline, on the embedded model: `make benchmark`.

Every measurement runs in a fresh process, and the candidates take turns, so that load on the machine meets
all of them. "stock" is run as it comes (float32, torch's own threads) and tuned (our number type and
threads); beyond the motion module's 32 positions it uses FreeNoise with the same window and overlap. All
write the same MP4. Timings are the median of the rounds; memory is the process's peak RSS.
"""

import argparse
import contextlib
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- benchmark: begin -->", "<!-- benchmark: end -->"
CANDIDATES = ("ours", "stock, tuned", "stock, as it comes")
PROMPT = "a red circle moving right on a blue background"
LENGTHS = (16, 64, 256)
PORT = 7897


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="rounds of the shortest clip; long ones run once")
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS, help="clip lengths, frames")
    parser.add_argument("--docs", type=Path, help="write the table into this file")
    parser.add_argument("--worker", nargs=2, metavar=("CANDIDATE", "FRAMES"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        print(json.dumps(_work(args.worker[0], int(args.worker[1]))))
        return
    table = "\n".join([_clips(args.rounds, args.lengths), "", *_page(), "", _machine()])
    print(table)
    if args.docs:
        before, rest = args.docs.read_text().split(BEGIN)
        args.docs.write_text(f"{before}{BEGIN}\n{table}\n{END}{rest.split(END)[1]}")


def _clips(rounds: int, lengths: list[int]) -> str:
    found: dict[tuple[str, int], list[dict]] = {}
    for frames in lengths:
        for _ in range(rounds if frames == lengths[0] else 1):
            for candidate in CANDIDATES:
                command = [sys.executable, "-m", "scripts.benchmark", "--worker", candidate, str(frames)]
                done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
                if done.returncode:
                    raise SystemExit(done.stderr)
                found.setdefault((candidate, frames), []).append(json.loads(done.stdout.splitlines()[-1]))
                print(f"{candidate:20} {frames:4} frames  {done.stdout.splitlines()[-1]}", file=sys.stderr)
    head = "| 128×128, 20 steps, guidance 3 | " + " | ".join(f"{n} frames" for n in lengths) + " |"
    lines = [head, "|---|" + "---|" * len(lengths)]
    for candidate in CANDIDATES:
        cells = [
            f"{statistics.median(r['seconds'] for r in found[candidate, n]):.1f} s,"
            f" {max(r['peak_mb'] for r in found[candidate, n]):.0f} MB"
            for n in lengths
        ]
        lines.append(f"| {candidate} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _work(candidate: str, frames: int) -> dict[str, float]:
    """Make one clip, after a short one that warms everything up; seconds and peak RSS."""
    make = _make_ours if candidate == "ours" else _make_stock(tuned="tuned" in candidate)
    with tempfile.TemporaryDirectory() as folder:
        make(4, 2, Path(folder))
        start = time.perf_counter()
        make(frames, 20, Path(folder))
        seconds = time.perf_counter() - start
    return {
        "seconds": round(seconds, 2),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }


def _make_ours(frames: int, steps: int, folder: Path) -> None:
    from studio.engine import build_request, make_clip

    settings = {"prompt": PROMPT, "seed": 1, "num_frames": frames, "num_inference_steps": steps}
    for _ in make_clip(build_request(base_model="demo", **settings), folder):
        pass


def _make_stock(*, tuned: bool):  # noqa: ANN202 - a closure over the loaded pipeline
    import numpy as np
    import torch
    from diffusers import AnimateDiffPipeline, MotionAdapter

    from media.write import open_clip
    from studio.engine import build_request

    dtype = torch.float32
    if tuned:
        from pipelines.engine.device import choose_device

        dtype = choose_device().torch_dtype
    demo = ROOT / "assets" / "demo"
    adapter = MotionAdapter.from_pretrained(demo / "motion_adapter", torch_dtype=dtype)
    pipe = AnimateDiffPipeline.from_pretrained(demo, motion_adapter=adapter, torch_dtype=dtype)
    pipe.set_progress_bar_config(disable=True)

    def make(frames: int, steps: int, folder: Path) -> None:
        if frames > 32:
            pipe.enable_free_noise(context_length=16, context_stride=12)
        clip = pipe(
            prompt=PROMPT,
            num_frames=frames,
            width=128,
            height=128,
            num_inference_steps=steps,
            guidance_scale=3.0,
            generator=torch.Generator("cpu").manual_seed(1),
            output_type="np",
        ).frames[0]
        request = build_request(base_model="demo", prompt=PROMPT, seed=1)
        pixels = (clip * 255).round().astype(np.uint8)
        with open_clip(
            folder, stem="stock", formats=request.formats, fps=request.fps, width=128, height=128, recipe="{}"
        ) as writer:
            writer.write(pixels)

    return make


def _page() -> list[str]:
    """Start-up to first byte of the page, and a click to the first preview, on a fresh process."""
    environment = os.environ | {"GRADIO_SERVER_PORT": str(PORT), "GRADIO_ANALYTICS_ENABLED": "False"}
    url = f"http://127.0.0.1:{PORT}"
    start = time.perf_counter()
    server = subprocess.Popen(
        [sys.executable, "app.py"], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _wait(url)
        first_byte = time.perf_counter() - start
        lines = [f"Start-up to first byte of the page: **{first_byte:.1f} s** (fresh process, models not waited for)."]
        cold, warm = _clicks(url)
        lines.append(f"Click to first preview: **{cold:.1f} s** just after start, **{warm:.1f} s** from then on.")
        return lines
    finally:
        server.terminate()
        server.wait(10)


def _wait(url: str, limit_s: float = 120) -> None:
    until = time.monotonic() + limit_s
    while time.monotonic() < until:
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            urllib.request.urlopen(url, timeout=5).read(1)
            return
        time.sleep(0.05)
    raise SystemExit(f"The page did not answer within {limit_s:.0f} s.")


def _clicks(url: str) -> tuple[float, float]:
    from playwright.sync_api import sync_playwright

    from scripts.chromium import FLAGS, executable

    seconds = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable(), args=FLAGS)
        page = browser.new_page()
        page.goto(url, wait_until="domcontentloaded")
        button = page.get_by_role("button", name="Generate", exact=True)
        button.wait_for(timeout=60_000)
        for _ in range(2):
            page.locator("#prompt textarea").fill(PROMPT)
            start = time.perf_counter()
            button.click()
            page.wait_for_selector("#preview img", timeout=120_000)
            seconds.append(time.perf_counter() - start)
            page.wait_for_selector("#preview img", state="detached", timeout=120_000)
        browser.close()
    return seconds[0], seconds[1]


def _machine() -> str:
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    cpu = names[0].split(":", 1)[1].strip() if names else platform.processor()
    from pipelines.engine.device import choose_device

    device = choose_device()
    return (
        f"{len(os.sched_getaffinity(0))} cores ({cpu}), Python {platform.python_version()};"
        f" chosen by measurement: {device.dtype}, {device.threads} thread(s)."
    )


if __name__ == "__main__":
    main()
