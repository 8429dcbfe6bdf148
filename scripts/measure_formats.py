"""What each format costs and how exact it is: `python -m scripts.measure_formats`, about two minutes of computing.

The scene is synthetic: a soft, coloured picture with a little grain that moves. Memory is the kernel's own peak of a
fresh process and of its largest ffmpeg; the table says by how much a clip of 2,000 frames needs more than one of 100.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image, ImageSequence

from media.ffmpeg import FIRST_VIDEO, run_ffmpeg
from media.write import open_clip
from pipelines.plan.choices import OutputFormat

ROOT = Path(__file__).resolve().parent.parent
RATES = (Fraction(8), Fraction(25, 2), Fraction(24000, 1001), Fraction(30))
NUM_FRAMES, SIDE = 100, 512
SHORT, LONG, MEMORY_SIDE = 100, 2000, 256
MB = 1e6
BEGIN, END = "<!-- measured -->\n", "<!-- /measured -->"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--docs", type=Path, metavar="FILE", help="put the table between the marks of this file")
    parser.add_argument("--worker", nargs=2, metavar=("FORMAT", "FRAMES"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        print(json.dumps(_peaks_mb(OutputFormat(args.worker[0]), int(args.worker[1]))))
        return
    table = _table()
    print(table)
    if args.docs:
        text = args.docs.read_text(encoding="utf-8")
        before, after = text.split(BEGIN)[0], text.split(END)[1]
        args.docs.write_text(f"{before}{BEGIN}{table}\n{END}{after}", encoding="utf-8")


def _table() -> str:
    lines = [
        f"| format | {NUM_FRAMES} frames of {SIDE}×{SIDE} | time | largest error of a time in 10 s "
        f"at {', '.join(str(rate) for rate in RATES)} fps | peak of {LONG:,} frames of {MEMORY_SIDE}×{MEMORY_SIDE}, "
        f"and beyond that of {SHORT}: Python; ffmpeg |",
        "|---|---|---|---|---|",
    ]
    for kind in OutputFormat:
        size, seconds = _cost(kind)
        errors = ", ".join(f"{1000 * _error_s(kind, fps):.2f}" for fps in RATES) + " ms" if kind in _TIMED else "–"
        short, long = (_in_a_fresh_process(kind, frames) for frames in (SHORT, LONG))
        memory = "; ".join(f"{much:.0f} MB, {much - little:+.0f}" for little, much in zip(short, long, strict=True))
        lines.append(f"| {kind} | {size / MB:.2f} MB | {seconds:.1f} s | {errors} | {memory} |")
    return "\n".join(lines)


_PICTURES = (OutputFormat.GIF, OutputFormat.WEBP, OutputFormat.APNG)
_TIMED = (OutputFormat.MP4, OutputFormat.WEBM, *_PICTURES)


def scene(num_frames: int, side: int) -> Iterator[np.ndarray]:
    """Frames one by one, uint8 [1, side, side, 3]."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).resize((side, side), Image.Resampling.BICUBIC)
    picture = (np.asarray(coarse).astype(int) + rng.integers(-6, 7, (side, side, 3))).clip(0, 255).astype(np.uint8)
    for index in range(num_frames):
        yield np.roll(picture, 3 * index, axis=1)[None]


def _written(folder: Path, kind: OutputFormat, fps: Fraction, num_frames: int, side: int) -> Path:
    with open_clip(folder, stem="clip", formats=[kind], fps=fps, width=side, height=side, recipe="{}") as clip:
        for frame in scene(num_frames, side):
            clip.write(frame)
    return clip.files[0]


def _cost(kind: OutputFormat) -> tuple[int, float]:
    """Bytes of the file, and seconds to write it."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        path = _written(Path(folder), kind, Fraction(8), NUM_FRAMES, SIDE)
        return path.stat().st_size, time.perf_counter() - start


def _error_s(kind: OutputFormat, fps: Fraction) -> float:
    """How far a frame's start or the clip's end is at most from where it should be, over 10 s."""
    num_frames = round(10 * fps)
    with tempfile.TemporaryDirectory() as folder:
        times = _times_s(_written(Path(folder), kind, fps, num_frames, 32), kind)
    if len(times) != num_frames + 1:
        raise RuntimeError(f"{kind} has {len(times) - 1} of {num_frames} frames")
    return max(abs(float(shown - index / fps)) for index, shown in enumerate(times))


def _times_s(path: Path, kind: OutputFormat) -> list[Fraction]:
    """When each frame starts and the last one ends, as Pillow and ffmpeg tell."""
    if kind in _PICTURES:
        times = [Fraction(0)]
        with Image.open(path) as picture:
            for shown in ImageSequence.Iterator(picture):
                shown.load()
                times.append(times[-1] + Fraction(shown.info["duration"]).limit_denominator(10**6) / 1000)
        return times
    said = run_ffmpeg("-i", str(path), "-map", FIRST_VIDEO, "-c", "copy", "-f", "framecrc", "pipe:1").stdout.decode()
    lines = said.splitlines()
    tick = next(Fraction(line.split()[-1]) for line in lines if line.startswith("#tb"))
    shown_for = sorted((int(line.split(",")[2]), int(line.split(",")[3])) for line in lines if not line.startswith("#"))
    return [tick * start for start, _ in shown_for] + [tick * sum(shown_for[-1])]


def _in_a_fresh_process(kind: OutputFormat, num_frames: int) -> list[float]:
    command = [sys.executable, "-m", "scripts.measure_formats", "--worker", kind, str(num_frames)]
    return json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout)


def _peaks_mb(kind: OutputFormat, num_frames: int) -> list[float]:
    """Peak of this process and of the largest it started."""
    with tempfile.TemporaryDirectory() as folder:
        _written(Path(folder), kind, Fraction(24), num_frames, MEMORY_SIDE)
    status = Path("/proc/self/status").read_text()
    own_kb = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    return [own_kb * 1024 / MB, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / MB]


if __name__ == "__main__":
    main()
