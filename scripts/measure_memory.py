"""Memory of demo clips by length, encoding included: `python -m scripts.measure_memory`.

Every clip is made in a fresh process, whose peak is the kernel's own count (VmHWM); ffmpeg, a process of its
own, is not in it. Few steps are enough, because memory does not depend on how many there are. What a clip may
add is its own latents; the table says by how much the peak grew beyond them since the shortest clip.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pipelines.engine.latents import LATENT_CHANNELS, VAE_SCALE_FACTOR

ROOT = Path(__file__).resolve().parent.parent
LENGTHS = (16, 256, 2048)
PROMPT = "a red circle moving right on a blue background"
MB = 1e6
ROWS = 40  # of the samples of a long clip that are shown
BAR = 0.05
"""Beyond its own latents, a clip may add this share of the shortest one's peak."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS, help="clip lengths, frames, ascending")
    parser.add_argument("--steps", type=int, default=2, help="denoising steps")
    parser.add_argument("--side", type=int, default=128, help="width and height, pixels")
    parser.add_argument("--long", type=int, metavar="FRAMES", help="make one clip and tell its memory over time")
    parser.add_argument("--every", type=float, default=5, help="seconds between the samples of --long")
    parser.add_argument("--worker", type=int, metavar="FRAMES", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        print(json.dumps(_work(args.worker, args.steps, args.side)))
    elif args.long:
        print(_curve(args.long, args.steps, args.side, args.every))
    else:
        print(_table(args.lengths, args.steps, args.side))


def _table(lengths: list[int], steps: int, side: int) -> str:
    lines = [
        f"| {side}×{side}, {steps} step(s) | peak | clip's own latents | growth beyond them |",
        "|---|---|---|---|",
    ]
    first: tuple[int, float] | None = None
    for frames in lengths:
        process = _start(frames, steps, side)
        found = _answer(process)
        peak, latents = found["peak_mb"], _latents_mb(frames, side)
        first = first or (frames, peak)
        growth = peak - first[1] - (latents - _latents_mb(first[0], side))
        grown = "–" if frames == first[0] else f"{growth:+.1f} MB, {growth / first[1]:+.1%} (bar {BAR:.0%})"
        cuda = f", CUDA {found['cuda_mb']:.0f} MB" if "cuda_mb" in found else ""
        lines.append(f"| {frames:,} frames | {peak:.1f} MB{cuda} | {latents:.1f} MB | {grown} |")
    return "\n".join(lines)


def _curve(frames: int, steps: int, side: int, every_s: float) -> str:
    samples: list[tuple[float, float]] = []
    start = time.monotonic()
    process = _start(frames, steps, side)
    while process.poll() is None:
        time.sleep(every_s)
        if now := _status_mb("VmRSS", process.pid):
            samples.append((time.monotonic() - start, now))
    # Both, because some kernels note a peak only when memory is given back.
    peak = max([_answer(process)["peak_mb"], *(now for _, now in samples)])
    return "\n".join(
        [
            f"| {frames:,} frames, {side}×{side}, {steps} step(s): after | memory |",
            "|---|---|",
            *(f"| {seconds:.0f} s | {now:.1f} MB |" for seconds, now in samples[:: len(samples) // ROWS + 1]),
            f"| peak | {peak:.1f} MB, of which the clip's own latents {_latents_mb(frames, side):.1f} MB |",
        ]
    )


def _start(frames: int, steps: int, side: int) -> "subprocess.Popen[str]":
    settings = ("--steps", str(steps), "--side", str(side))
    command = [sys.executable, "-m", "scripts.measure_memory", "--worker", str(frames), *settings]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _answer(process: "subprocess.Popen[str]") -> dict[str, float]:
    said, complaint = process.communicate()
    if process.returncode:
        raise SystemExit(complaint)
    return json.loads(said.splitlines()[-1])


def _work(frames: int, steps: int, side: int) -> dict[str, float]:
    """Make one clip in this process; its peaks."""
    import torch

    from studio.engine import build_request, make_clip

    settings = {"prompt": PROMPT, "seed": 1, "num_frames": frames, "num_inference_steps": steps}
    with tempfile.TemporaryDirectory() as folder:
        for _ in make_clip(build_request(base_model="demo", width=side, height=side, **settings), Path(folder)):
            pass
    found = {"peak_mb": _status_mb("VmHWM", os.getpid())}
    if torch.cuda.is_available():
        found["cuda_mb"] = torch.cuda.max_memory_allocated() / MB
    return found


def _latents_mb(frames: int, side: int) -> float:
    return 4 * LATENT_CHANNELS * frames * (side // VAE_SCALE_FACTOR) ** 2 / MB


def _status_mb(field: str, process: int) -> float:
    """A line of the kernel's account of a process; 0 once it is gone."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) * 1024 / MB for line in lines if line.startswith(f"{field}:")), 0.0)


if __name__ == "__main__":
    main()
