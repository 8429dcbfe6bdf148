"""Read a clip of the sticker world back: which subject, colour and ground, which motion, how steady.

The detectors look at frames alone. A subject is the nearest of all drawn ones, cut out, centred and scaled; a ground
is the nearest drawn one along the rim. They are for a camera that stands still; `train_demo.detect.read_camera` reads
one that moves over spots. `python -m scripts.train_stickers.detect` prints how often rendered truth is read right.
"""

import math
from collections import Counter
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from scripts.train_demo.detect import nearest_colour
from scripts.train_demo.world import COLOURS
from scripts.train_stickers.artwork import Artwork, artwork
from scripts.train_stickers.grounds import GROUNDS
from scripts.train_stickers.patches import PERIOD, cut, distances, filled, patches_of
from scripts.train_stickers.subjects import STICKERS, SUBJECTS
from scripts.train_stickers.world import PATTERNS, Range, Scene, draw_ground, render, sample_scene

_RIM = 10  # pixels of 128
_APART = 30.0  # RGB distance from the ground that counts as subject
_LEAST = 0.004  # share of the picture that is a subject
_MOVES = 0.12  # way between first and last frames, fraction of the side; the world's is 0.34 to 0.42
_GROWS = math.log(1.25)  # |ln| of last radius over first; the world's is ln 2
_BOUNCES = 0.025  # deviation of the height; the world's is 0.055
_SHAKES = 0.012  # deviation of the place across; the world's is 0.032
_TURNS = 40.0  # degrees in the clip; the world's is 120
_ROCKS = 8.0  # deviation of the angle, degrees; the world's is 14
_LOOKED_AT = 5  # frames that vote for the subject
JUDGED = Range(along=0.0, moving_camera=0.0)  # what scores ask for: the subject in view, the camera still


@dataclass(frozen=True, slots=True)
class Reading:
    """What a clip shows. `subject` and `motion` are "none" where none was seen; `colour` is a shape's, else ""."""

    subject: str
    colour: str
    ground: str
    pattern: str
    motion: str
    flicker: float  # mean frame-to-frame change of the ground, of 255
    distance: float  # of the subject's cut-outs from the nearest drawn one, of 255
    ways: np.ndarray  # centre x, y (fractions of the side), log radius and angle (degrees) [F, 4]; not seen: NaN


def read_clip(frames: np.ndarray, art: Artwork) -> Reading:
    """Read a clip, uint8 [F, H, W, 3]."""
    video = frames.astype(np.float32)
    ground, pattern, picture = _ground(video)
    masks = np.stack([_mask(frame, picture) for frame in video])
    flicker = _flicker(video, masks)
    areas = masks.mean(axis=(1, 2))
    seen = np.flatnonzero(areas > _LEAST)
    ways = np.full((len(video), 4), np.nan)
    if len(seen) < max(1, len(video) // 2):
        return Reading("none", "", ground, pattern, "none", flicker, 255.0, ways)
    cuts = {i: cut(video[i], masks[i]) for i in seen}
    whole = [i for i in seen if not _touches(masks[i])] or list(seen)
    subject, distance = _subject(art, [cuts[i] for i in sorted(whole, key=lambda i: -areas[i])[:_LOOKED_AT]])
    for i in seen:
        ways[i] = *_middle(masks[i]), 0.5 * math.log(areas[i]), _angle(art, subject, *cuts[i])
    colour = "" if subject in STICKERS else _paint(video, masks, but=ground)
    motion = _motion(subject, ways[whole], np.array(whole), len(video))
    return Reading(subject, colour, ground, pattern, motion, flicker, distance, ways)


def _ground(video: np.ndarray) -> tuple[str, str, np.ndarray]:
    """The nearest drawn ground along the rim of a clip: its name, its pattern, and the picture of it."""
    height, width = video.shape[1:3]
    typical = np.median(video, axis=0)
    rim = np.ones((height, width), bool)
    rim[_RIM:-_RIM, _RIM:-_RIM] = False
    # A subject may cover some of the rim: far is far, however far.
    far = {
        which: np.minimum(np.linalg.norm(drawn[rim] - typical[rim], axis=-1), 90).mean()
        for which, drawn in _drawn_grounds(height, width).items()
    }
    ground, pattern = min(far, key=lambda which: far[which])
    drawn = _drawn_grounds(height, width)[ground, pattern]
    if ground in COLOURS and pattern == "plain":  # a flat ground a little off its colour is no subject
        drawn = np.broadcast_to(np.median(typical[rim], axis=0), drawn.shape)
    return ground, pattern, drawn


@cache
def _drawn_grounds(height: int, width: int) -> dict[tuple[str, str], np.ndarray]:
    kinds = [(ground, pattern) for ground in GROUNDS for pattern in PATTERNS if ground in COLOURS or pattern == "plain"]
    return {
        (ground, pattern): draw_ground(
            Scene("circle", "red", ground, "small", "static", pattern=pattern), 0, height=height, width=width
        )
        for ground, pattern in kinds
    }


def _mask(frame: np.ndarray, ground: np.ndarray) -> np.ndarray:
    apart = (np.linalg.norm(frame - ground, axis=-1) > _APART).astype(np.uint8)
    return filled(cv2.morphologyEx(apart, cv2.MORPH_OPEN, np.ones((2, 2), np.uint8)).astype(np.float32))


def _touches(mask: np.ndarray) -> bool:
    return bool(max(mask[0].max(), mask[-1].max(), mask[:, 0].max(), mask[:, -1].max()) > 0.5)


def _middle(mask: np.ndarray) -> tuple[float, float]:
    moments = cv2.moments(mask)
    side = min(mask.shape)
    return moments["m10"] / moments["m00"] / side, moments["m01"] / moments["m00"] / side


def _flicker(video: np.ndarray, masks: np.ndarray) -> float:
    if len(video) < 2:
        return 0.0
    wide = np.stack([cv2.dilate((mask > 0.05).astype(np.uint8), np.ones((11, 11), np.uint8)) for mask in masks])
    outside = ~(wide[1:] | wide[:-1]).astype(bool)
    change = np.abs(np.diff(video, axis=0)).mean(axis=-1)
    return float(change[outside].mean()) if outside.any() else 255.0


def _subject(art: Artwork, cuts: list[tuple[np.ndarray, np.ndarray]]) -> tuple[str, float]:
    """The subject that is nearest over all cut-outs together, and how far it is."""
    far = {
        name: float(np.mean([distances(patches_of(art, name), *one).min() for one in cuts]))
        for name in SUBJECTS
        if name in art.names or name not in STICKERS
    }
    nearest = min(far, key=lambda name: far[name])
    return nearest, far[nearest]


def _angle(art: Artwork, subject: str, colours: np.ndarray, mask: np.ndarray) -> float:
    patches = patches_of(art, subject)
    return float(patches.angles[int(distances(patches, colours, mask).argmin())])


def _paint(video: np.ndarray, masks: np.ndarray, *, but: str) -> str:
    inner = np.stack([cv2.erode((mask > 0.5).astype(np.uint8), np.ones((5, 5), np.uint8)) for mask in masks])
    core = inner.astype(bool) if inner.any() else masks > 0.5
    return nearest_colour(np.median(video[core], axis=0), but=but)


def _motion(subject: str, ways: np.ndarray, frames: np.ndarray, count: int) -> str:
    """The motion that centres, sizes and angles [N, 4] at some frames of a clip make."""
    if len(frames) < 4:
        return "none"
    x, y, size, angle = ways.T
    line = np.polyfit(frames, np.stack([x, y, size], axis=1), 1)
    dx, dy, growth = line[0] * (count - 1)
    off_x, off_y = (values - np.polyval(line[:, i], frames) for i, values in enumerate((x, y)))
    across = abs(dx) > abs(dy)
    what_happens = {
        "growing": growth > _GROWS,
        "shrinking": growth < -_GROWS,
        "bouncing": off_y.std() > _BOUNCES,
        "left": across and dx < -_MOVES,
        "right": across and dx > _MOVES,
        "up": dy < -_MOVES,
        "down": dy > _MOVES,
        "rotating": _rotates(subject, angle, frames, count),  # the middle of what rocks moves, too
        "shaking": off_x.std() > _SHAKES,
    }
    return next((motion for motion, happens in what_happens.items() if happens), "static")


def _rotates(subject: str, angle: np.ndarray, frames: np.ndarray, count: int) -> bool:
    if not SUBJECTS[subject].turns:
        return bool(angle.std() > _ROCKS)
    followed = np.unwrap(angle, period=PERIOD.get(subject, 360))
    return bool(abs(np.polyfit(frames, followed, 1)[0]) * (count - 1) > _TURNS)


def main(count: int = 600) -> None:
    """Print how often rendered truth is read right, and what is taken for what."""
    rng, art = np.random.default_rng(7), artwork()
    right, wrong, farthest = Counter(), Counter(), 0.0
    names = ("subject", "colour", "ground", "pattern", "motion")
    for _ in range(count):
        scene = sample_scene(rng, JUDGED)
        seen = read_clip(render(scene, art), art)
        farthest = max(farthest, seen.distance)
        for name in names:
            asked, got = getattr(scene, name), getattr(seen, name)
            right[name] += asked == got
            if asked != got:
                wrong[f"{name} {asked} → {got} ({scene.subject} {scene.colour} on {scene.ground}, {scene.motion})"] += 1
    print({name: f"{100 * right[name] / count:.1f} %" for name in names}, f"farthest {farthest:.0f}")
    print(*wrong, sep="\n")


if __name__ == "__main__":
    main()
