"""Read a clip of the procedural world back: which shape, which colours, which motion, how steady.

The detectors look at frames only. Their thresholds were fixed on rendered truth (`python -m
scripts.train_demo.detect` prints how often they read it right) before any model output was judged.
"""

import math
from collections import Counter
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from scripts.train_demo.world import COLOURS, SHAPES, coverage, render, sample_scene

#: Angle after which a shape looks the same again, degrees.
_PERIOD = {"circle": 1, "square": 90, "triangle": 120, "star": 72, "heart": 360, "cross": 90}
_ANGLE_STEP = 6
_MOVES = 0.12  # way between first and last frames, fraction of the side; the world's is 0.32 to 0.42
_GROWS = math.log(1.25)  # |ln| of last radius over first; the world's is ln 2
_TURNS = 40.0  # degrees in the clip; the world's is 120
_APART = 45.0  # RGB distance from the ground that counts as shape
_TEMPLATE = 48


@dataclass(frozen=True, slots=True)
class Reading:
    """What a clip shows. `shape`, `colour` and `motion` are "none" where no shape was found."""

    shape: str
    colour: str
    background: str
    motion: str
    flicker: float  # mean frame-to-frame change of the ground, of 255
    angle: float  # degrees turned in the clip, clockwise
    way: tuple[float, float]  # dx, dy from first to last frame, fraction of the side
    growth: float  # last radius over first


def read_clip(frames: np.ndarray) -> Reading:
    """Read a clip, uint8 [F, H, W, 3]."""
    video = frames.astype(np.float32)
    ground = _ground_colour(video)
    masks, paint = _shape_masks(video, ground)
    flicker = _flicker(video, masks)
    background = nearest_colour(ground)
    seen = [i for i, mask in enumerate(masks) if mask.sum() > 30]
    if len(seen) < max(1, len(masks) // 2):
        return Reading("none", "none", background, "none", flicker, 0.0, (0.0, 0.0), 1.0)
    shape = _shape(masks, seen)
    way, growth = _way(masks, seen)
    angle = _turn(masks, seen, shape)
    motion = _motion(way, growth, angle)
    return Reading(shape, nearest_colour(paint, but=background), background, motion, flicker, angle, way, growth)


def frame_colours(frame: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Colour of the ground and of the shape in one frame, uint8 [H, W, 3]; float RGB of 255, alike without a shape."""
    video = frame[None].astype(np.float32)
    ground = _ground_colour(video)
    return ground, _shape_masks(video, ground)[1]


def nearest_colour(rgb: np.ndarray, *, but: str = "") -> str:
    """Name of the palette colour nearest to an RGB triple."""
    return min((name for name in COLOURS if name != but), key=lambda name: float(np.linalg.norm(rgb - COLOURS[name])))


def _ground_colour(video: np.ndarray) -> np.ndarray:
    edge = np.concatenate([video[:, :4].reshape(-1, 3), video[:, -4:].reshape(-1, 3),
                           video[:, :, :4].reshape(-1, 3), video[:, :, -4:].reshape(-1, 3)])  # fmt: skip
    return np.median(edge, axis=0)


def _shape_masks(video: np.ndarray, ground: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Soft masks [F, H, W] in [0, 1] and the shape's colour: the median of its inner pixels."""
    apart = np.linalg.norm(video - ground, axis=-1)
    hard = (apart > _APART).astype(np.uint8)
    inner = np.stack([cv2.erode(frame, np.ones((5, 5), np.uint8)) for frame in hard]).astype(bool)
    core = inner if inner.sum() > 50 else hard.astype(bool)
    if not core.any():
        return np.zeros(apart.shape, np.float32), ground
    paint = np.median(video[core], axis=0)
    line = paint - ground
    soft = np.clip((video - ground) @ line / max(float(line @ line), 1.0), 0, 1)
    return np.stack([_largest_part(frame) for frame in soft]), paint


def _largest_part(soft: np.ndarray) -> np.ndarray:
    count, parts, stats, _ = cv2.connectedComponentsWithStats((soft > 0.5).astype(np.uint8))
    if count < 2:
        return np.zeros_like(soft)
    best = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    near = cv2.dilate((parts == best).astype(np.uint8), np.ones((3, 3), np.uint8))
    return soft * near


def _flicker(video: np.ndarray, masks: np.ndarray) -> float:
    if len(video) < 2:
        return 0.0
    wide = np.stack([cv2.dilate((m > 0.05).astype(np.uint8), np.ones((9, 9), np.uint8)) for m in masks]).astype(bool)
    outside = ~(wide[1:] | wide[:-1])
    change = np.abs(np.diff(video, axis=0)).mean(axis=-1)
    return float(change[outside].mean()) if outside.any() else 255.0


def _centred(mask: np.ndarray) -> np.ndarray:
    """The mask moved to the middle of a square and scaled to a fixed area."""
    x, y, area = _moments(mask)
    scale = math.sqrt(0.22 * _TEMPLATE**2 / max(area, 1.0))
    move = np.array([[scale, 0, _TEMPLATE / 2 - scale * x], [0, scale, _TEMPLATE / 2 - scale * y]])
    return cv2.warpAffine(mask.astype(np.float32), move, (_TEMPLATE, _TEMPLATE), flags=cv2.INTER_LINEAR)


@cache
def _templates(shape: str) -> tuple[np.ndarray, np.ndarray]:
    """Centred masks of a shape at every angle [N, S, S], and the angles."""
    angles = np.arange(0, _PERIOD[shape], _ANGLE_STEP if shape != "circle" else 1)
    drawn = [coverage(shape, x=0.5, y=0.5, radius=0.25, angle=a, height=128, width=128) for a in angles]
    return np.stack([_centred(mask) for mask in drawn]), angles


def _overlaps(mask: np.ndarray, shape: str) -> np.ndarray:
    templates, _ = _templates(shape)
    both = np.minimum(templates, mask).sum(axis=(1, 2))
    return both / np.maximum(templates, mask).sum(axis=(1, 2))


def _shape(masks: np.ndarray, seen: list[int]) -> str:
    largest = sorted(seen, key=lambda i: -masks[i].sum())[:8]
    votes = Counter()
    for i in largest:
        centred = _centred(masks[i])
        votes[max(SHAPES, key=lambda shape: float(_overlaps(centred, shape).max()))] += 1
    return votes.most_common(1)[0][0]


def _moments(mask: np.ndarray) -> tuple[float, float, float]:
    m = cv2.moments(mask.astype(np.float32))
    area = max(m["m00"], 1e-6)
    return m["m10"] / area, m["m01"] / area, area


def _way(masks: np.ndarray, seen: list[int]) -> tuple[tuple[float, float], float]:
    """First-to-last displacement and growth, from straight-line fits over all frames."""
    side = min(masks.shape[1:])
    x, y, area = np.array([_moments(masks[i]) for i in seen]).T
    if len(seen) < 3:
        return (0.0, 0.0), 1.0
    length = len(masks) - 1
    dx, dy, growth = (np.polyfit(seen, values, 1)[0] * length for values in (x / side, y / side, np.log(area) / 2))
    return (float(dx), float(dy)), float(np.exp(growth))


def _turn(masks: np.ndarray, seen: list[int], shape: str) -> float:
    """Degrees the shape turns, its angle followed from frame to frame."""
    if shape == "circle" or len(seen) < 3:
        return 0.0
    _, angles = _templates(shape)
    found = np.array([angles[int(_overlaps(_centred(masks[i]), shape).argmax())] for i in seen], float)
    followed = np.unwrap(found, period=_PERIOD[shape])
    return float(np.polyfit(seen, followed, 1)[0] * (len(masks) - 1))


def _motion(way: tuple[float, float], growth: float, angle: float) -> str:
    dx, dy = way
    if abs(math.log(growth)) > _GROWS:
        return "growing" if growth > 1 else "shrinking"
    if max(abs(dx), abs(dy)) > _MOVES:
        if abs(dx) > abs(dy):
            return "right" if dx > 0 else "left"
        return "down" if dy > 0 else "up"
    return "rotating" if abs(angle) > _TURNS else "static"


def main(count: int = 400) -> None:
    """Print how often the detectors read rendered truth right."""
    rng = np.random.default_rng(7)
    right = Counter()
    wrong = Counter()
    for _ in range(count):
        scene = sample_scene(rng)
        seen = read_clip(render(scene))
        for name in ("shape", "colour", "background", "motion"):
            hit = getattr(seen, name) == getattr(scene, name)
            right[name] += hit
            if not hit:
                wrong[name, getattr(scene, name), getattr(seen, name)] += 1
    print({name: f"{100 * n / count:.1f} %" for name, n in right.items()}, dict(wrong))


if __name__ == "__main__":
    main()
