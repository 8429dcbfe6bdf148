"""How well long clips hold together, measured on the embedded model: `python -m scripts.measure_coherence`.

Every layout of noise, with FreeInit off and with two rounds, under every schedule of windows, makes the same
clips, once open and once fully closed. Detectors read them three frames at a time. Prints one Markdown table:

- same shape, same colour: frames that show what most of the clip's frames show;
- speed spread: standard deviation of the shape's speed over its mean, 0 for an even motion;
- jump at borders: change where most steps had a window's border, over the clip's median change between frames;
- last to first: change from the last frame to the first of the closed clip, over its median change.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from pipelines.plan.catalog import complete
from pipelines.plan.choices import ClosedLoop, ContextSchedule, NoiseLayout
from pipelines.plan.context import plan_windows
from pipelines.plan.request import GenerationRequest
from scripts.train_demo.captions import plain_caption
from scripts.train_demo.detect import read_clip
from scripts.train_demo.score import make_frames
from scripts.train_demo.world import MOTIONS, sample_scene

LENGTHS = (64, 128)
ROUNDS = (0, 2)
_READ_TOGETHER = 3  # frames; the least that give a speed
_NO_CHANGE = 1e-6  # of 255, against dividing by a still clip's median


@dataclass(frozen=True)
class Coherence:
    """How well one clip holds together; the module's text says what the numbers mean."""

    same_shape: float
    same_colour: float
    speed_spread: float
    border_jump: float


def changes(frames: np.ndarray) -> np.ndarray:
    """Mean change from every frame of a clip to the next and from the last to the first, of 255, float [F]."""
    pixels = frames.astype(np.float32)
    return np.array([np.abs(pixels[i] - pixels[i - len(pixels) + 1]).mean() for i in range(len(pixels))])


def borders(request: GenerationRequest) -> list[int]:
    """The frames whose way to the next one was cut by a window's border in most steps; of a single window none."""
    every = np.arange(request.num_frames)
    cuts = np.zeros(request.num_frames - 1, int)
    for step in range(request.num_inference_steps):
        inside = np.array([np.isin(every, window.frame_indices) for window in plan_windows(request, step)])
        cuts += (inside[:, 1:] != inside[:, :-1]).any(axis=0)
    return np.flatnonzero((cuts == cuts.max()) & (cuts > 0)).tolist()


def coherence(frames: np.ndarray, cut: Sequence[int]) -> Coherence:
    """Measure a clip of at least four frames, uint8 [F, H, W, 3].

    Args:
        cut: What `borders` says of its request.
    """
    seen = [read_clip(frames[i : i + _READ_TOGETHER]) for i in range(len(frames) - _READ_TOGETHER + 1)]
    speeds = np.array([np.hypot(*one.way) for one in seen])
    change = changes(frames)[:-1]
    return Coherence(
        same_shape=_share_of_most([one.shape for one in seen]),
        same_colour=_share_of_most([one.colour for one in seen]),
        speed_spread=float(speeds.std() / speeds.mean()) if speeds.mean() > 0 else 0.0,
        border_jump=float(change[list(cut)].mean() / max(np.median(change), _NO_CHANGE)) if cut else 1.0,
    )


def loop_jump(frames: np.ndarray) -> float:
    """Change from the last frame to the first, over the median change between frames."""
    *change, back = changes(frames)
    return float(back / max(np.median(change), _NO_CHANGE))


def _share_of_most(names: Sequence[str]) -> float:
    return max(map(names.count, names)) / len(names)


def prompts(count: int, motions: Sequence[str]) -> Iterator[str]:
    """Scenes over plain grounds in the world's plain words, motions in turn; the same for every row of the table."""
    rng = np.random.default_rng(1)
    for number in range(count):
        motion = motions[number % len(motions)]
        yield plain_caption(sample_scene(rng, ground="plain", camera="still", motion=motion))


def row(name: Sequence[object], said: Sequence[str], settings: dict[str, object]) -> str:
    """Make the clips of one row and measure them; means over the clips."""
    open_, closed = [], []
    for seed, prompt in enumerate(said):
        request = GenerationRequest.build(**complete({"seed": seed, "base_model": "demo", **settings}))
        open_.append(coherence(make_frames(prompt, seed, **settings), borders(request)))
        closed.append(loop_jump(make_frames(prompt, seed, closed_loop=ClosedLoop.FULL, **settings)))
    mean = {field: np.mean([getattr(one, field) for one in open_]) for field in Coherence.__dataclass_fields__}
    cells = [
        *map(str, name),
        f"{mean['same_shape']:.0%}",
        f"{mean['same_colour']:.0%}",
        *(f"{value:.2f}" for value in (mean["speed_spread"], mean["border_jump"], np.mean(closed))),
    ]
    return f"| {' | '.join(cells)} |"


LOOPS: dict[str, dict[str, object]] = {
    "open": {},
    "closed loop, full": {"closed_loop": "full"},
    "boomerang, append": {"reverse": "append"},
    "boomerang, drop head": {"reverse": "drop_head"},
    "boomerang, drop tail": {"reverse": "drop_tail"},
    "boomerang, drop both": {"reverse": "drop_both"},
}


def print_loops(said: Sequence[str], settings: dict[str, object]) -> None:
    """How every kind of loop closes, and whether it stops at the turn: means over the clips."""
    print("| loop | frames written | last to first | at the turn |\n|---|---|---|---|")
    for name, loop in LOOPS.items():
        clips = [make_frames(prompt, seed, **loop, **settings) for seed, prompt in enumerate(said)]
        turns = [changes(clip)[len(clip) // 2 - 1] / max(np.median(changes(clip)), _NO_CHANGE) for clip in clips]
        jump = np.mean([loop_jump(clip) for clip in clips])
        at_turn = f"{np.mean(turns):.2f}" if "boomerang" in name else "-"
        print(f"| {name} | {len(clips[0])} | {jump:.2f} | {at_turn} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2, help="prompts; every one is made open and closed for each row")
    parser.add_argument("--motions", nargs="+", default=MOTIONS, choices=MOTIONS)
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS, help="frames, more than a window")
    parser.add_argument("--layouts", nargs="+", default=list(NoiseLayout), choices=list(NoiseLayout))
    parser.add_argument("--rounds", type=int, nargs="+", default=ROUNDS, help="of FreeInit")
    parser.add_argument("--schedules", nargs="+", default=list(ContextSchedule), choices=list(ContextSchedule))
    parser.add_argument("--steps", type=int, help="denoising steps; the model's own if not given")
    parser.add_argument("--loops", action="store_true", help="compare the kinds of loops instead, at each length")
    args = parser.parse_args()
    said = list(prompts(args.count, args.motions))
    if args.loops:
        steps = {"num_inference_steps": args.steps} if args.steps else {}
        for num_frames in args.lengths:
            print_loops(said, {"num_frames": num_frames, **steps})
        return
    print(
        "| frames | noise | FreeInit rounds | windows | same shape | same colour | speed spread | jump at borders "
        "| last to first |\n|---|---|---|---|---|---|---|---|---|"
    )
    for name in product(args.lengths, args.layouts, args.rounds, args.schedules):
        fields = ("num_frames", "noise_layout", "free_init_iterations", "context_schedule")
        settings: dict[str, object] = dict(zip(fields, name, strict=True))
        if args.steps:
            settings["num_inference_steps"] = args.steps
        print(row(name, said, settings), flush=True)


if __name__ == "__main__":
    main()
