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

from scripts.train_demo.world import (
    CAMERAS,
    CLIP_FRAMES,
    COLOURS,
    GROUNDS,
    SHAPES,
    coverage,
    render,
    sample_scene,
    spot_colour,
    view,
)

#: Angle after which a shape looks the same again, degrees.
_PERIOD = {"circle": 1, "square": 90, "triangle": 120, "star": 72, "heart": 360, "cross": 90}
_ANGLE_STEP = 6
_MOVES = 0.12  # way between first and last frames, fraction of the side; the world's is 0.32 to 0.42
_GROWS = math.log(1.25)  # |ln| of last radius over first; the world's is ln 2
_TURNS = 40.0  # degrees in the clip; the world's is 120
_APART = 45.0  # RGB distance from the ground that counts as shape
_APART_FROM_SPOTS = 28.0  # the same of a spotted one; pink lies 39 from the mixtures of red and white
_TEMPLATE = 48
_SPOTTED = 0.06  # share of a clip's rim that is spots; the world's is 0.13 to 0.25
_CAMERA_MOVES = 0.025  # mean way of the ground's points in the clip, fraction of the side; the world's is 0.09 to 0.3


@dataclass(frozen=True, slots=True)
class Reading:
    """What a clip shows. `shape`, `colour` and `motion` are "none" where no shape was found.

    `motion` is the shape's way in the picture, whoever moves: with a camera that moves too, read `read_camera`.
    """

    shape: str
    colour: str
    background: str
    motion: str
    flicker: float  # mean frame-to-frame change of the ground, of 255
    angle: float  # degrees turned in the clip, clockwise
    way: tuple[float, float]  # dx, dy from first to last frame, fraction of the side
    growth: float  # last radius over first
    ground: str


@dataclass(frozen=True, slots=True)
class CameraReading:
    """How the ground of a clip moves from first to last frame, by dense optical flow, and what camera that means."""

    camera: str
    shift: tuple[float, float]  # of the picture, fraction of the side
    zoom: float  # last magnification over first
    roll: float  # degrees, clockwise in the picture
    way: float  # mean way of the ground's points, fraction of the side


def read_clip(frames: np.ndarray) -> Reading:
    """Read a clip, uint8 [F, H, W, 3]."""
    video = frames.astype(np.float32)
    plain, spots = _ground_colours(video)
    background = nearest_colour(plain)
    ground = "plain" if spots is None else "spotted"
    masks, paint = _shape_masks(video, plain, spots)
    flicker = _flicker(video, masks)
    seen = [i for i, mask in enumerate(masks) if mask.sum() > 30]
    if len(seen) < max(1, len(masks) // 2):
        return Reading("none", "none", background, "none", flicker, 0.0, (0.0, 0.0), 1.0, ground)
    shape = _shape(masks, seen)
    way, growth = _way(masks, seen)
    angle = _turn(masks, seen, shape)
    motion = _motion(way, growth, angle)
    colour = nearest_colour(paint, but=background)
    return Reading(shape, colour, background, motion, flicker, angle, way, growth, ground)


def read_camera(frames: np.ndarray) -> CameraReading:
    """Read how the camera of a clip, uint8 [F, H, W, 3], moves from the flow of its spotted ground.

    Farnebäck's flow between neighbours, on the picture of the spots alone; a shift, a zoom and a roll about
    the middle are fitted to it by least squares where spots have edges and the shape is far, and summed.
    """
    video = frames.astype(np.float32)
    plain, spots = _ground_colours(video)
    if spots is None or len(video) < 2:
        return CameraReading("still", (0.0, 0.0), 1.0, 0.0, 0.0)
    masks, _ = _shape_masks(video, plain, spots)
    line = spots - plain
    pattern = (np.clip((video - plain) @ line / float(line @ line), 0, 1) * 255).astype(np.uint8)
    near = [cv2.dilate((mask > 0.05).astype(np.uint8), np.ones((11, 11), np.uint8)) for mask in masks]
    steps = [_fit_view(pattern[i], pattern[i + 1], (near[i] | near[i + 1]).astype(bool)) for i in range(len(video) - 1)]
    dx, dy, growth, turn = np.sum(steps, axis=0)
    # Each part's mean way over the picture: a point's mean distance from the middle of a square is 0.383 sides.
    parts = {"pan": math.hypot(dx, dy), "zoom": 0.383 * abs(growth), "roll": 0.383 * abs(turn)}
    kind = max(parts, key=lambda name: parts[name])
    return CameraReading(
        camera=_camera(kind, dx, dy, growth, turn) if parts[kind] > _CAMERA_MOVES else "still",
        shift=(float(dx), float(dy)),
        zoom=float(math.exp(growth)),
        roll=math.degrees(turn),
        way=max(parts.values()),
    )


def _fit_view(first: np.ndarray, second: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """Shift x, y (fraction of the side), log zoom and turn (radians, clockwise) from one frame to the next."""
    flow = cv2.calcOpticalFlowFarneback(first, second, None, 0.5, 3, 15, 3, 5, 1.2, 0)
    slope = np.hypot(cv2.Sobel(first, cv2.CV_32F, 1, 0), cv2.Sobel(first, cv2.CV_32F, 0, 1))
    weight = np.sqrt(np.where(hidden, 0, slope))
    height, width = first.shape
    side = min(height, width)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    x, y = (x - (width - 1) / 2) / side, (y - (height - 1) / 2) / side
    one, none = np.ones_like(x), np.zeros_like(x)
    rows = np.stack([np.stack([one, none, x, -y], -1), np.stack([none, one, y, x], -1)])
    use = weight > 0
    if use.sum() < 50:
        return np.zeros(4)
    a = (rows[:, use] * weight[use][None, :, None]).reshape(-1, 4)
    b = (np.moveaxis(flow, -1, 0)[:, use] * weight[use] / side).reshape(-1)
    return np.linalg.lstsq(a, b, rcond=None)[0]


def _camera(kind: str, dx: float, dy: float, growth: float, turn: float) -> str:
    if kind == "zoom":
        return "zoom in" if growth > 0 else "zoom out"
    if kind == "roll":  # the picture turns against the camera, as it shifts against it
        return "roll anticlockwise" if turn > 0 else "roll clockwise"
    if abs(dx) > abs(dy):
        return "pan left" if dx > 0 else "pan right"
    return "pan up" if dy > 0 else "pan down"


def frame_colours(frame: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Colour of the ground and of the shape in one frame, uint8 [H, W, 3]; float RGB of 255, alike without a shape."""
    video = frame[None].astype(np.float32)
    plain, spots = _ground_colours(video)
    return plain, _shape_masks(video, plain, spots)[1]


def nearest_colour(rgb: np.ndarray, *, but: str = "") -> str:
    """Name of the palette colour nearest to an RGB triple."""
    return min((name for name in COLOURS if name != but), key=lambda name: float(np.linalg.norm(rgb - COLOURS[name])))


def _ground_colours(video: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """The ground's colour, and that of its spots if it is spotted."""
    rim = np.concatenate([video[:, :8].reshape(-1, 3), video[:, -8:].reshape(-1, 3),
                          video[:, :, :8].reshape(-1, 3), video[:, :, -8:].reshape(-1, 3)])  # fmt: skip
    edge = np.concatenate([video[:, :4].reshape(-1, 3), video[:, -4:].reshape(-1, 3),
                           video[:, :, :4].reshape(-1, 3), video[:, :, -4:].reshape(-1, 3)])  # fmt: skip
    plain = np.median(edge, axis=0)
    spots = np.array(COLOURS[spot_colour(nearest_colour(plain))], np.float32)
    is_spot = np.linalg.norm(rim - spots, axis=-1) < _APART
    return plain, spots if is_spot.mean() > _SPOTTED else None


def _shape_masks(video: np.ndarray, ground: np.ndarray, spots: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Soft masks [F, H, W] in [0, 1] and the shape's colour: the median of its inner pixels."""
    apart = _from_ground(video, ground, spots)
    hard = (apart > (_APART if spots is None else _APART_FROM_SPOTS)).astype(np.uint8)
    inner = np.stack([cv2.erode(frame, np.ones((5, 5), np.uint8)) for frame in hard]).astype(bool)
    core = inner if inner.sum() > 50 else hard.astype(bool)
    if not core.any():
        return np.zeros(apart.shape, np.float32), ground
    paint = np.median(video[core], axis=0)
    if spots is None:
        line = paint - ground
        soft = np.clip((video - ground) @ line / max(float(line @ line), 1.0), 0, 1)
    else:
        soft = np.clip(apart / max(float(_from_ground(paint, ground, spots)), 1.0), 0, 1)
    return np.stack([_largest_part(frame) for frame in soft]), paint


def _from_ground(colours: np.ndarray, ground: np.ndarray, spots: np.ndarray | None) -> np.ndarray:
    """RGB distance of colours [..., 3] from the ground: from every mixture of it with its spots, if it has any."""
    if spots is None:
        return np.linalg.norm(colours - ground, axis=-1)
    line = spots - ground
    share = np.clip((colours - ground) @ line / float(line @ line), 0, 1)
    return np.linalg.norm(colours - ground - share[..., None] * line, axis=-1)


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
    """Print how often the detectors read rendered truth right: shapes under a still camera, and moving cameras."""
    rng = np.random.default_rng(7)
    for ground in GROUNDS:
        right = Counter()
        wrong = Counter()
        for _ in range(count):
            scene = sample_scene(rng, ground=ground, camera="still")
            seen = read_clip(render(scene))
            for name in ("shape", "colour", "background", "motion", "ground"):
                hit = getattr(seen, name) == getattr(scene, name)
                right[name] += hit
                if not hit:
                    wrong[name, getattr(scene, name), getattr(seen, name)] += 1
        print(ground, {name: f"{100 * n / count:.1f} %" for name, n in right.items()}, dict(wrong))
    ways = {name: [] for name in CAMERAS}
    for number in range(count):
        scene = sample_scene(rng, ground="spotted", camera=CAMERAS[number % len(CAMERAS)])
        seen = read_camera(render(scene))
        ways[scene.camera].append((seen.camera == scene.camera, *seen.shift, seen.zoom, seen.roll, seen.way))
    for name, rows in ways.items():
        share, *means = np.mean(rows, axis=0)
        print(f"{name}: {100 * share:.1f} %", np.round(means, 3), "true", np.round(view(name, CLIP_FRAMES - 1), 3))


if __name__ == "__main__":
    main()
