"""Whether a draft shows what its clip will show, on the embedded model: `python -m scripts.measure_draft`.

For each of some prompts: the clip in full, its draft, its draft in the full size (few steps alone), the draft of a
clip of another seed, and a draft whose noise is its own. Printed is how far apart the shape's middle is in each, mean
over the frames, in sides of the picture, how alike the pictures are, and how often the draft shows the shape asked for.
"""

import argparse
from collections.abc import Iterator

import cv2
import numpy as np

from pipelines.plan.draft import draft_of
from pipelines.plan.request import GenerationRequest
from scripts.train_demo.captions import plain_caption
from scripts.train_demo.detect import read_clip
from scripts.train_demo.score import make_frames
from scripts.train_demo.world import Scene, sample_scene
from studio.engine import build_request

SMALL = 32  # pixels at which pictures are compared
APART = 60  # of an RGB colour from the ground's, so that a pixel is the shape's


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=20)
    args = parser.parse_args()
    found: dict[str, list[tuple[float, float, bool]]] = {}
    for number, scene in enumerate(_scenes(args.prompts)):
        for name, row in _compare(scene, number).items():
            found.setdefault(name, []).append(row)
        print(f"{number + 1} of {args.prompts}", flush=True)
    print("| beside the clip in full | middle apart, sides | pictures correlate | shape as asked |\n|---|---|---|---|")
    for name, rows in found.items():
        apart, alike, right = (np.array(column) for column in zip(*rows, strict=True))
        print(f"| {name} | {np.nanmedian(apart):.2f} | {np.median(alike):.2f} | {right.mean():.0%} |")


def _scenes(count: int) -> Iterator[Scene]:
    rng = np.random.default_rng(5)
    for _ in range(count):
        yield sample_scene(rng, ground="plain", camera="still")


def _compare(scene: Scene, seed: int) -> dict[str, tuple[float, float, bool]]:
    full = _request(scene, seed)
    draft = draft_of(full)
    steps = full.model_copy(update={"num_inference_steps": draft.num_inference_steps})
    half = {"width": full.width // 2, "height": full.height // 2, "draft": 2}
    small = full.model_copy(update=half)
    others = {
        "draft as the app makes it": draft,
        "same size, few steps": steps,
        "half size, all steps": small,
        "half size, few steps": steps.model_copy(update=half),
        "half size, few steps, noise of its own": steps.model_copy(update=half | {"draft": 1}),
        "another seed in full": full.model_copy(update={"seed": seed + 1000}),
    }
    reference = _frames(full)
    return {name: _row(reference, _frames(one), scene) for name, one in others.items()}


def _request(scene: Scene, seed: int) -> GenerationRequest:
    return build_request(base_model="demo", prompt=plain_caption(scene), seed=seed)


def _row(full: np.ndarray, other: np.ndarray, scene: Scene) -> tuple[float, float, bool]:
    apart = np.linalg.norm(_middles(full) - _middles(other), axis=-1)
    a, b = (_small(clip).reshape(-1) for clip in (full, other))
    large = np.stack([cv2.resize(frame, full.shape[2:0:-1], interpolation=cv2.INTER_CUBIC) for frame in other])
    return float(np.nanmean(apart)), float(np.corrcoef(a, b)[0, 1]), read_clip(large).shape == scene.shape


def _middles(clip: np.ndarray) -> np.ndarray:
    """The middle of what is not ground in each frame, [F, 2] in sides; NaN where there is nothing."""
    video = clip.astype(np.float32)
    rim = np.concatenate([video[:, 0], video[:, -1], video[:, :, 0], video[:, :, -1]], axis=1)
    ground = np.median(rim.reshape(-1, 3), axis=0)
    found = []
    for frame in video:
        y, x = np.nonzero(np.linalg.norm(frame - ground, axis=-1) > APART)
        found.append((x.mean() / frame.shape[1], y.mean() / frame.shape[0]) if len(x) else (np.nan, np.nan))
    return np.array(found)


def _small(clip: np.ndarray) -> np.ndarray:
    """A clip in few pixels, less its mean colour."""
    small = np.stack([cv2.resize(frame, (SMALL, SMALL), interpolation=cv2.INTER_AREA) for frame in clip])
    return small.astype(np.float32) - small.mean((0, 1, 2))


def _frames(request: GenerationRequest) -> np.ndarray:
    values = request.model_dump(exclude={"prompt", "seed"})
    return make_frames(request.prompt, request.seed, **values)


if __name__ == "__main__":
    main()
