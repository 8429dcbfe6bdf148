"""Whether prompts that travel arrive, measured on the embedded model: `python -m scripts.measure_travel`.

Clips go through two to four colours of the shape or of the ground, at keys spread evenly over them. Prints how
often the frames around a key show the colour asked for there, and how often the colour between two keys goes
one way: its place on the line between their colours must never fall by more than a tolerance.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from scripts.train_demo.captions import plain_caption
from scripts.train_demo.detect import frame_colours, read_clip
from scripts.train_demo.score import make_frames, wilson
from scripts.train_demo.world import COLOURS, GROUNDS, Scene, sample_scene, spot_colour

NUM_FRAMES = 16
_STEP_BACK = 0.05  # of the way between two colours: what the picture of a resting shape flickers by


@dataclass(frozen=True)
class Travel:
    """A clip to make.

    Args:
        part: What changes, "colour" of the shape or "background".
        keys: Frame and scene of each key.
    """

    part: str
    keys: tuple[tuple[int, Scene], ...]

    @property
    def prompt(self) -> str:
        return "\n".join(f"{frame}: {plain_caption(scene)}" for frame, scene in self.keys)

    def asked(self, scene: Scene) -> str:
        """The colour that a key asks for."""
        return str(getattr(scene, self.part))


def travels(count: int, *, seed: int = 1, ground: str = "plain") -> Iterator[Travel]:
    """Travels of two to four keys over different colours, the camera still; shapes and grounds in turn.

    Every key is a scene of the world: on spotted grounds neither shape nor ground may take a colour in which the
    shape would be lost among the spots.
    """
    rng = np.random.default_rng(seed)
    for number in range(count):
        scene = sample_scene(rng, ground=ground, camera="still")
        part = "colour" if number % 2 == 0 else "background"
        free = [colour for colour in COLOURS if _can_be_seen(replace(scene, **{part: colour}))]
        chosen = rng.choice(free, size=2 + number % 3, replace=False)
        frames = np.linspace(0, NUM_FRAMES - 1, len(chosen)).round().astype(int)
        keys = (
            (int(frame), replace(scene, **{part: str(colour)})) for frame, colour in zip(frames, chosen, strict=True)
        )
        yield Travel(part, tuple(keys))


def _can_be_seen(scene: Scene) -> bool:
    spots = (spot_colour(scene.background),) if scene.ground == "spotted" else ()
    return scene.colour not in (scene.background, *spots)


def keys_right(travel: Travel, frames: np.ndarray) -> list[bool]:
    """For every key, whether its frame and the two beside it show its colour."""
    return [
        getattr(read_clip(frames[max(0, frame - 1) : frame + 2]), travel.part) == travel.asked(scene)
        for frame, scene in travel.keys
    ]


def steps_back(travel: Travel, frames: np.ndarray) -> list[float]:
    """For every way between two keys, its largest step back, as a share of the way."""
    seen = np.array([frame_colours(frame)[travel.part == "colour"] for frame in frames])
    found = []
    for (first, scene), (last, next_scene) in pairwise(travel.keys):
        start, end = (np.array(COLOURS[travel.asked(one)], float) for one in (scene, next_scene))
        way = (seen[first : last + 1] - start) @ (end - start) / ((end - start) @ (end - start))
        found.append(max(0.0, float(-np.diff(way).min())))
    return found


def row(name: str, right: Sequence[bool], back: Sequence[float]) -> str:
    """A row of the table, shares with their 95 % intervals."""
    return f"| {name} | {_share(right)} | {_share([step <= _STEP_BACK for step in back])} | {max(back):.2f} |"


def _share(hits: Sequence[bool]) -> str:
    low, high = wilson(sum(hits), len(hits))
    return f"{100 * sum(hits) / len(hits):.0f} % ({low:.0f} to {high:.0f}) of {len(hits)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=50, help="clips to make")
    parser.add_argument("--blend", default="lerp", choices=("lerp", "slerp"))
    parser.add_argument("--hold", type=float, default=0.0, help="share of the way that keys are held, 0 to 1")
    parser.add_argument("--ground", choices=GROUNDS, default="plain")
    parser.add_argument("--sheet", type=Path, help="where to write the clips, one row each")
    args = parser.parse_args()
    made = [
        (travel, make_frames(travel.prompt, seed, prompt_blend=args.blend, prompt_hold=args.hold))
        for seed, travel in enumerate(travels(args.count, ground=args.ground))
    ]
    print("| what changes | keys that show their colour | ways without a step back | largest step back |")
    print("|---|---|---|---|")
    for part in ("colour", "background"):
        clips = [(travel, frames) for travel, frames in made if travel.part == part]
        if clips:
            right = [hit for clip in clips for hit in keys_right(*clip)]
            print(row(part, right, [step for clip in clips for step in steps_back(*clip)]))
    if args.sheet:
        rows = [np.concatenate(list(frames), axis=1) for _, frames in made]
        cv2.imwrite(str(args.sheet), np.concatenate(rows)[..., ::-1])


if __name__ == "__main__":
    main()
