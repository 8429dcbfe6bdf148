"""How near frames drawn in between come to the true ones: `python -m scripts.measure_interpolation`.

Every second frame of clips of the procedural world is taken away and drawn again from its neighbours: by repeating the
one before, by the mean of both, by ffmpeg's motion-compensated `minterpolate`, and by `finishing.flow`. Scenes in which
nothing moves are left out. With `--write`, the tables go to docs/interpolation.md; with `--clips`, real clips are
measured, too.
"""

import argparse
import subprocess
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import numpy.typing as npt

from finishing.flow import draw_between
from media.ffmpeg import FrameReader, raw_video
from media.read import probe
from scripts.train_demo.world import MOTIONS, Scene, render, sample_scene

Frames = npt.NDArray[np.uint8]
DOC = Path(__file__).resolve().parents[1] / "docs" / "interpolation.md"
_MINTERPOLATE = "minterpolate=fps=2:mi_mode=mci:mc_mode=aobmc:me_mode=bidir:vsbmc=1:scd=none"
_LEAD = 4  # frames repeated around a clip for minterpolate, which drops some at both ends
_REAL_FRAMES, _REAL_SIDE = 49, 256
_ABOUT = """# Frames in between

How near they come to the true ones, in dB of PSNR. Every second frame of a clip was taken away and drawn again from
its neighbours: by repeating the one before, by the mean of both, by ffmpeg's `minterpolate` (motion-compensated, its
best settings), and by the app's own `flow`. Scenes in which nothing moves are left out.
Made by `python -m scripts.measure_interpolation --write`.
"""
_REAL = "Real clips, in which little moves: between frames so near to each other even a blend is nearly right."


def repeated(kept: Frames) -> Frames:
    """The frame before, once more."""
    return kept[:-1]


def blended(kept: Frames) -> Frames:
    """The mean of both neighbours."""
    return np.round((kept[:-1].astype(np.float32) + kept[1:]) / 2).astype(np.uint8)


def flowed(kept: Frames) -> Frames:
    """What the app draws."""
    return np.stack([next(draw_between(*pair, 1)) for pair in pairwise(kept)])


def minterpolated(kept: Frames) -> Frames:
    """What ffmpeg draws."""
    count, height, width, _ = kept.shape
    longer = np.concatenate([kept[:1].repeat(_LEAD, axis=0), kept, kept[-1:].repeat(_LEAD, axis=0)])
    source = raw_video("rgb24", width, height, Fraction(1))
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *source, "-i", "pipe:0", "-vf", _MINTERPOLATE]
    done = subprocess.run(
        [*command, "-pix_fmt", "rgb24", "-f", "rawvideo", "pipe:1"],
        input=longer.tobytes(),
        capture_output=True,
        check=True,
    )
    drawn = np.frombuffer(done.stdout, np.uint8).reshape(-1, height, width, 3)
    at = min(range(2 * _LEAD + 2), key=lambda first: _miss(kept, drawn[first : first + 2 * count - 1 : 2]))
    return drawn[at + 1 : at + 2 * count - 2 : 2]


METHODS: dict[str, Callable[[Frames], Frames]] = {
    "repetition": repeated,
    "blend": blended,
    "minterpolate": minterpolated,
    "flow": flowed,
}


def psnr(drawn: Frames, true: Frames) -> float:
    """Mean over frames, dB; at most 60 each, as for frames that are the same."""
    errors = np.square(drawn.astype(np.float64) - true).mean(axis=(1, 2, 3))
    return float(np.minimum(60, 10 * np.log10(255**2 / np.maximum(errors, 1e-9))).mean())


def measured(clip: Frames) -> list[float]:
    """Of each method, for the frames of odd numbers drawn from the others."""
    clip = clip[: len(clip) - (len(clip) + 1) % 2]
    return [psnr(draw(clip[::2]), clip[1::2]) for draw in METHODS.values()]


def moving_scenes(count: int, *, seed: int = 0) -> Iterator[Scene]:
    """Scenes of all motions in turn in which something moves, be it the camera."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        scene = sample_scene(rng, motion=MOTIONS[number % len(MOTIONS)])
        while scene.motion == "static" and scene.camera == "still":
            scene = sample_scene(rng, motion="static")
        yield scene


def real_clip(path: Path) -> Frames:
    """The beginning of a video, made small."""
    facts = probe(path)
    scale = _REAL_SIDE / min(facts.width, facts.height)
    width, height = (2 * round(side * scale / 2) for side in (facts.width, facts.height))
    with FrameReader(path, width=width, height=height, max_frames=_REAL_FRAMES) as reader:
        return np.stack(list(reader))


def table(rows: dict[str, npt.NDArray[np.float64]], *, first: str) -> str:
    """A table of Markdown: the mean of each row's clips by method."""
    lines = [f"| {first} | clips | {' | '.join(METHODS)} |", f"|---|---:|{'---:|' * len(METHODS)}"]
    for name, values in rows.items():
        means = " | ".join(f"{value:.1f}" for value in values.mean(axis=0))
        lines.append(f"| {name} | {len(values)} | {means} |")
    return "\n".join(lines)


def world_table(count: int, side: int) -> str:
    """Clips of the procedural world, by motion."""
    by_motion: dict[str, list[list[float]]] = {motion: [] for motion in MOTIONS}
    for scene in moving_scenes(count):
        by_motion[scene.motion].append(measured(render(scene, height=side, width=side)))
    rows = {("camera only" if name == "static" else name): np.array(found) for name, found in by_motion.items()}
    return table(rows | {"**all**": np.concatenate(list(rows.values()))}, first=f"motion, {side}×{side}")


def _miss(frames: Frames, others: Frames) -> float:
    same = frames.shape == others.shape
    return float(np.abs(frames.astype(np.float32) - others).mean()) if same else np.inf


def main() -> None:
    """Measure, print, and write if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=160, help="clips of the world at 128×128; a fifth at 256×256")
    parser.add_argument("--clips", type=Path, help="a folder of real clips to measure, too")
    parser.add_argument("--write", action="store_true", help=f"write docs/{DOC.name}")
    options = parser.parse_args()
    start = time.monotonic()
    parts = [_ABOUT, world_table(options.count, 128), "", world_table(max(8, options.count // 5), 256)]
    if options.clips:
        once = {path.read_bytes(): path for path in sorted(options.clips.glob("*.mp4"), reverse=True)}
        rows = {path.name: np.array([measured(real_clip(path))]) for path in sorted(once.values())}
        parts += ["", _REAL, "", table(rows, first=f"real clip, {_REAL_FRAMES} frames, shorter side {_REAL_SIDE}")]
    text = "\n".join(parts) + "\n"
    print(text, f"{time.monotonic() - start:.0f} s", sep="\n")
    if options.write:
        DOC.write_text(text)


if __name__ == "__main__":
    main()
