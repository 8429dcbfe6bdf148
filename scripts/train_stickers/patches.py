"""Subjects cut out, centred and scaled to one area: how pictures of them are compared."""

import math
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from scripts.train_demo.detect import nearest_colour
from scripts.train_demo.world import COLOURS, coverage
from scripts.train_stickers.artwork import Artwork
from scripts.train_stickers.subjects import STICKERS, SUBJECTS

SIDE = 40
_FILLED = 0.3  # share of a patch that its subject fills
_STRANGE = 160.0  # distance, of 441, that a pixel counts which only one of the two has
_TURN_STEP, _TILT_STEP, _LARGEST_TILT = 10, 5, 30
#: Angle after which a subject looks the same again, degrees.
PERIOD = {"circle": 1, "square": 90, "triangle": 120, "star": 72, "heart": 360, "cross": 90}


@dataclass(frozen=True, slots=True)
class Patches:
    """Pictures of a subject at all its angles: masks [N, S, S] in [0, 1], colours [N, S, S, 3] of 255, degrees [N].

    A shape has any colour, so its `colours` are None.
    """

    masks: np.ndarray
    colours: np.ndarray | None
    angles: np.ndarray


def cut(picture: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cut out the masked part of a picture [H, W, 3] as colours [S, S, 3] and mask [S, S], float32."""
    moments = cv2.moments(mask.astype(np.float32))
    area = max(moments["m00"], 1e-6)
    scale = math.sqrt(_FILLED * SIDE**2 / area)
    x, y = moments["m10"] / area, moments["m01"] / area
    middle = (SIDE - 1) / 2
    move = np.array([[scale, 0, middle - scale * x], [0, scale, middle - scale * y]])
    # Smaller pictures of much larger ones are averaged, not picked from.
    soft = cv2.GaussianBlur(picture.astype(np.float32), (0, 0), max(0.01, 0.5 / scale - 0.35))
    return cv2.warpAffine(soft, move, (SIDE, SIDE)), cv2.warpAffine(mask.astype(np.float32), move, (SIDE, SIDE))


def distances(patches: Patches, colours: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Measure how far a cut-out is from each picture of a subject, [N], in RGB units over all that either covers."""
    both = np.minimum(patches.masks, mask)
    one = np.maximum(patches.masks, mask) - both
    if patches.colours is None:
        inner = mask > 0.9
        paint = np.median(colours[inner], axis=0) if inner.any() else colours.mean(axis=(0, 1))
        # Of the palette: else whatever has one colour is taken for a shape.
        apart = np.linalg.norm(colours - np.array(COLOURS[nearest_colour(paint)]), axis=-1)[None]
    else:
        apart = np.linalg.norm(patches.colours - colours, axis=-1)
    return (both * apart + one * _STRANGE).sum(axis=(1, 2)) / (both + one).sum(axis=(1, 2))


def angles_of(subject: str) -> np.ndarray:
    """List the angles at which a subject is looked for, degrees."""
    if SUBJECTS[subject].turns:
        return np.arange(0, PERIOD.get(subject, 360), _TURN_STEP if subject != "circle" else 1)
    return np.arange(-_LARGEST_TILT, _LARGEST_TILT + 1, _TILT_STEP)


@cache
def patches_of(art: Artwork, subject: str) -> Patches:
    """Draw a subject at all its angles, both ways if it faces a side."""
    masks, colours, angles = [], [], []
    place = {"x": 0.5, "y": 0.5, "radius": 0.33, "height": 128, "width": 128}
    for mirrored in (False, True) if SUBJECTS[subject].faces else (False,):
        for angle in angles_of(subject):
            if subject in STICKERS:
                sticker = art.place(subject, angle=float(angle), mirrored=mirrored, **place)
                mask = sticker[..., 3]
                picture = 255 * sticker[..., :3] / np.maximum(mask, 1e-3)[..., None]
                colour, mask = cut(picture, filled(mask))
                colours.append(colour)
            else:
                _, mask = cut(np.zeros((128, 128, 3)), coverage(subject, angle=float(angle), **place))
            masks.append(mask)
            angles.append(angle)
    return Patches(np.stack(masks), np.stack(colours) if colours else None, np.array(angles))


def filled(mask: np.ndarray) -> np.ndarray:
    """Keep the largest part of a mask with what lies near it, float32 in [0, 1]; gaps of a few pixels are closed."""
    near = max(3, round(len(mask) / 20)) | 1
    whole = cv2.morphologyEx((mask > 0.5).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((near, near), np.uint8))
    count, parts, stats, _ = cv2.connectedComponentsWithStats(whole)
    if count < 2:
        return np.zeros(mask.shape, np.float32)
    best = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    return np.where(parts == best, np.maximum(mask, cv2.erode(whole, np.ones((3, 3), np.uint8))), 0).astype(np.float32)
