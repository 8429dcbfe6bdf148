"""How well the embedded model does what it is told: `make score-demo`.

Prompts name combinations of attributes held out of training; clips are made by the app's own engine with
the app's defaults; detectors read the frames back. Prints a table with 95 % intervals (Wilson) and, with
`--card`, writes it into the model card.
"""

import argparse
import math
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np

from pipelines.plan.catalog import DEMO, complete
from pipelines.plan.clip_inputs import NO_INPUTS, ClipInputs
from pipelines.plan.request import GenerationRequest
from scripts.train_demo.captions import caption, plain_caption
from scripts.train_demo.detect import Reading, read_clip
from scripts.train_demo.world import GROUNDS, Scene, is_held_out, sample_scene

TARGETS = {"colour": 97, "background": 97, "shape": 90, "motion": 93}
MAX_FLICKER = 3.0
_BEGIN, _END = "<!-- scores: begin -->", "<!-- scores: end -->"


@dataclass
class FramesInMemory:
    """A frame sink that keeps what it is given."""

    files: tuple[Path, ...] = ()
    parts: list[np.ndarray] = field(default_factory=list)

    @property
    def num_frames(self) -> int:
        return sum(map(len, self.parts))

    def write(self, frames: np.ndarray) -> None:
        self.parts.append(frames)

    @property
    def frames(self) -> np.ndarray:
        """uint8 [F, H, W, 3]."""
        return np.concatenate(self.parts)


def held_out_prompts(count: int, *, seed: int = 1, ground: str = "plain") -> list[tuple[Scene, str]]:
    """Scenes never trained on in this combination, the camera still; half in canonical words, half in varied ones."""
    rng = np.random.default_rng(seed)
    found: list[tuple[Scene, str]] = []
    while len(found) < count:
        scene = sample_scene(rng, ground=ground, camera="still")
        if is_held_out(scene):
            varied = caption(rng, scene, leave_out=0, empty=0)[0]
            found.append((scene, varied if len(found) % 2 else plain_caption(scene)))
    return found


def make_frames(prompt: str, seed: int, *, inputs: ClipInputs = NO_INPUTS, **settings: object) -> np.ndarray:
    """A clip by the app's engine with its defaults, uint8 [F, H, W, 3]."""
    from pipelines.engine.generate import generate  # torch only in the worker

    request = GenerationRequest.build(**complete({"prompt": prompt, "seed": seed, "base_model": "demo", **settings}))
    sink = FramesInMemory()

    @contextmanager
    def keep(_: GenerationRequest, __: str) -> Iterator[FramesInMemory]:
        yield sink

    for _ in generate(request, open_writer=keep, inputs=inputs):
        pass
    return sink.frames


def _judge(job: tuple[int, Scene, str, str]) -> tuple[Scene, str, Reading, np.ndarray]:
    number, scene, prompt, module = job
    frames = make_frames(prompt, seed=number, motion_module=module)
    return scene, prompt, read_clip(frames), frames[:: max(1, len(frames) // 5)]


def wilson(hits: int, count: int) -> tuple[float, float]:
    """95 % interval of a share, percent."""
    z, p = 1.96, hits / count
    middle = (p + z * z / (2 * count)) / (1 + z * z / count)
    half = z * math.sqrt(p * (1 - p) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    return max(0.0, 100 * (middle - half)), 100 * (middle + half)


def table(results: list[tuple[Scene, str, Reading, np.ndarray]]) -> str:
    """The score as a Markdown table."""
    lines = ["| what | right | 95 % interval | target |", "|---|---|---|---|"]
    for name, target in TARGETS.items():
        hits = sum(getattr(scene, name) == getattr(seen, name) for scene, _, seen, _ in results)
        low, high = wilson(hits, len(results))
        lines.append(f"| {name} | {100 * hits / len(results):.1f} % | {low:.1f} to {high:.1f} % | ≥ {target} % |")
    flicker = float(np.mean([seen.flicker for _, _, seen, _ in results]))
    worst = max(seen.flicker for _, _, seen, _ in results)
    lines.append(
        f"| background change, frame to frame | {flicker:.2f} of 255 | worst clip {worst:.2f} | ≤ {MAX_FLICKER:g} |"
    )
    lines.append(f"\n{len(results)} held-out prompts, default settings.")
    return "\n".join(lines)


def misses(results: list[tuple[Scene, str, Reading, np.ndarray]]) -> str:
    """What was taken for what."""
    wrong = Counter(
        (name, getattr(scene, name), getattr(seen, name))
        for scene, _, seen, _ in results
        for name in TARGETS
        if getattr(scene, name) != getattr(seen, name)
    )
    return "\n".join(f"{n}× {what}: {asked} → {got}" for (what, asked, got), n in wrong.most_common(25))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=240)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--motion-module", default=DEMO, help="the motion module to score")
    parser.add_argument("--ground", choices=GROUNDS, default="plain")
    parser.add_argument("--sheet", type=Path, help="write a contact sheet of the first clips here")
    parser.add_argument("--card", type=Path, help="write the table into this model card")
    args = parser.parse_args()
    prompts = held_out_prompts(args.count, seed=args.seed, ground=args.ground)
    jobs = [(i, scene, prompt, args.motion_module) for i, (scene, prompt) in enumerate(prompts)]
    with ProcessPoolExecutor(args.processes, mp_context=get_context("spawn")) as pool:
        results = list(pool.map(_judge, jobs))
    print(table(results), misses(results), sep="\n\n")
    if args.sheet:
        rows = [np.concatenate(list(strip), axis=1) for _, _, _, strip in results[:16]]
        cv2.imwrite(str(args.sheet), np.concatenate(rows)[..., ::-1])
        print(*(f"{prompt!r}: {seen.motion}" for _, prompt, seen, _ in results[:16]), sep="\n")
    if args.card:
        before, rest = args.card.read_text().split(_BEGIN)
        after = rest.split(_END)[1]
        args.card.write_text(f"{before}{_BEGIN}\n{table(results)}\n{_END}{after}")


if __name__ == "__main__":
    main()
