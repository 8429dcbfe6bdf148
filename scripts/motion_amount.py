"""What motion amount and strength do, measured on the embedded model: `python -m scripts.motion_amount`.

Prints how far shapes travel, grow and turn, and how much the frames differ from the first, at several values
of `motion_scale` and `motion_effect`; `--sheet` writes the clips as a picture.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np

from scripts.train_demo.detect import read_clip
from scripts.train_demo.score import make_frames

PROMPTS = (
    "a red circle moving right on a blue background",
    "a yellow square moving left on a purple background",
    "a white heart moving down on a black background",
    "a cyan triangle moving up on an orange background",
    "a green cross growing on a white background",
    "a black square shrinking on a yellow background",
    "a big yellow star rotating on a red background",
    "a big pink heart rotating on a green background",
)
SCALES = (0.0, 0.5, 0.8, 1.0, 1.2, 1.5)
EFFECTS = (0.0, 0.5, 1.0)


def measure(clips: list[np.ndarray]) -> str:
    """Mean way, size change, turn and difference from the first frame, as cells of a table."""
    seen = [read_clip(clip) for clip in clips]
    way = np.mean([np.hypot(*one.way) for one in seen[:4]])
    growth = np.mean([abs(np.log(one.growth)) for one in seen[4:6]])
    turn = np.mean([abs(one.angle) for one in seen[6:]])
    change = np.mean([np.abs(clip.astype(np.float32) - clip[:1]).mean() for clip in clips])
    return f"{way:.2f} | {growth:.2f} | {turn:.0f}° | {change:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sheet", type=Path, help="where to write the clips at each scale, one row a prompt")
    parser.add_argument("--scales", type=float, nargs="*", default=SCALES)
    parser.add_argument("--effects", type=float, nargs="*", default=EFFECTS)
    args = parser.parse_args()
    print("| setting | way of the side | log size change | turn | change from the first frame, of 255 |")
    print("|---|---|---|---|---|")
    columns = []
    for name, values in (("motion_scale", args.scales), ("motion_effect", args.effects)):
        for value in values:
            clips = [make_frames(prompt, seed, **{name: value}) for seed, prompt in enumerate(PROMPTS)]
            print(f"| {name} {value:g} | {measure(clips)} |", flush=True)
            if name == "motion_scale" and value in (0.5, 1.0, 1.5):
                columns.append(np.concatenate([np.concatenate(list(clip[::5]), axis=1) for clip in clips]))
    if args.sheet:
        cv2.imwrite(str(args.sheet), np.concatenate(columns, axis=1)[..., ::-1])


if __name__ == "__main__":
    main()
