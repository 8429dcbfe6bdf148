"""What stands behind a sticker: plain colours, spots, and scenes drawn by rule.

Scenes repeat from side to side, so a camera may pan over them for ever; above and below they go on as they end.
"""

from functools import cache

import cv2
import numpy as np

from scripts.train_demo.world import COLOURS

SCENES = ("sky", "night", "meadow", "sea", "desert", "snow", "sunset", "space")
GROUNDS = (*COLOURS, *SCENES)
Rgb = tuple[int, int, int]
#: Of each scene the sky's colour above and below, and hills from behind to the front: middle height, waves (height,
#: how many a side, phase), colour.
_SKIES: dict[str, tuple[Rgb, Rgb]] = {
    "sky": ((70, 150, 240), (190, 225, 255)),
    "night": ((12, 14, 60), (60, 50, 130)),
    "meadow": ((90, 180, 250), (205, 238, 255)),
    "sea": ((150, 210, 250), (215, 242, 255)),
    "desert": ((250, 215, 150), (255, 242, 210)),
    "snow": ((130, 160, 200), (205, 222, 238)),
    "sunset": ((90, 40, 120), (255, 150, 60)),
    "space": ((14, 10, 34), (34, 16, 60)),
}
_HILLS: dict[str, tuple[tuple[float, tuple[tuple[float, int, float], ...], Rgb], ...]] = {
    "night": ((0.80, ((0.04, 1, 0.6), (0.02, 3, 0.1)), (22, 30, 45)),),
    "meadow": ((0.70, ((0.06, 1, 0.0),), (120, 200, 90)), (0.80, ((0.05, 1, 0.4),), (85, 175, 70))),
    "sea": ((0.60, ((0.015, 3, 0.0),), (40, 125, 205)), (0.80, ((0.02, 2, 0.3),), (25, 95, 175))),
    "desert": ((0.68, ((0.06, 1, 0.2),), (235, 185, 105)), (0.82, ((0.05, 1, 0.7),), (215, 155, 80))),
    "snow": ((0.72, ((0.05, 1, 0.35),), (228, 238, 250)), (0.84, ((0.03, 1, 0.9),), (250, 252, 255))),
    "sunset": ((0.84, ((0.03, 2, 0.2),), (70, 30, 70)),),
}
_CLOUDS = {"sky": ((0.16, 0.22, 0.075), (0.80, 0.34, 0.06))}  # left, top, size
_STARS = {"night": 1, "space": 2}  # the seed of each sky's stars
_FINE = 2  # texture pixels a picture's pixel
_BELOW, _ABOVE = 1, 2  # a scene is drawn from -1 to 2 sides, the picture being 0 to 1


def scene_picture(
    name: str, shift: tuple[float, float], zoom: float, roll: float, *, height: int, width: int
) -> np.ndarray:
    """Draw a scene under a camera, float32 [height, width, 3] of 255; `shift`, `zoom`, `roll` as in `world.view`."""
    side = min(height, width)
    texture = _texture(name, side)
    turn, scale = np.radians(roll), zoom / _FINE
    matrix = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    # The side-to-side period is one side: a pan of any length stays on the texture.
    dx = (shift[0] + 0.5) % 1 - 0.5
    middle = np.array([width / 2 + dx * side - 0.5, height / 2 + shift[1] * side - 0.5])
    move = np.column_stack([matrix, middle - matrix @ np.full(2, len(texture) / 2 - 0.5)])
    picture = cv2.warpAffine(texture, move, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return picture.astype(np.float32)


@cache
def _texture(name: str, side: int) -> np.ndarray:
    """Draw a scene from -1 to 2 sides both ways, uint8, finer than pictures: halving it makes its edges smooth."""
    grid = (np.arange((_BELOW + _ABOVE) * side * _FINE, dtype=np.float32) + 0.5) / (side * _FINE) - _BELOW
    return np.round(np.clip(_draw(name, grid[None, :], grid[:, None]), 0, 255)).astype(np.uint8)


def _draw(name: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    picture = _gradient(x, y, *_SKIES[name])
    for left, top, size in _CLOUDS.get(name, ()):
        picture = _over(picture, _cloud(x, y, left, top, size), (250, 252, 255))
    if name in _STARS:
        picture = _stars(picture, x, y, seed=_STARS[name])
    if name == "space":
        picture = _over(picture, np.hypot(_around(x, 0.82), y - 0.2) < 0.09, (235, 120, 90))
    for level, waves, colour in _HILLS.get(name, ()):
        ridge = level + sum(height * np.sin(2 * np.pi * (count * x + phase)) for height, count, phase in waves)
        picture = _over(picture, y > ridge, colour)
    return picture


def _gradient(x: np.ndarray, y: np.ndarray, top: Rgb, bottom: Rgb) -> np.ndarray:
    share = np.clip(y, 0, 1)[..., None] + 0 * x[..., None]
    return np.array(top, np.float32) * (1 - share) + np.array(bottom, np.float32) * share


def _over(picture: np.ndarray, mask: np.ndarray, colour: Rgb) -> np.ndarray:
    return np.where(np.broadcast_to(mask, picture.shape[:2])[..., None], np.array(colour, np.float32), picture)


def _around(x: np.ndarray, middle: float) -> np.ndarray:
    """Way from x to the nearest copy of a place, which comes again every side."""
    return (x - middle + 0.5) % 1 - 0.5


def _cloud(x: np.ndarray, y: np.ndarray, left: float, top: float, size: float) -> np.ndarray:
    puffs = ((-1.1, 0.25, 0.75), (0.0, 0.0, 1.0), (1.1, 0.25, 0.75))
    parts = [np.hypot(_around(x, left + dx * size), y - top - dy * size) < r * size for dx, dy, r in puffs]
    return np.logical_or.reduce(parts) & (y < top + 0.7 * size)


def _stars(picture: np.ndarray, x: np.ndarray, y: np.ndarray, *, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    lit = np.zeros(picture.shape[:2], bool)
    for column in range(4):
        for row in range(-4, 8):
            left, top = (column + rng.uniform(0.2, 0.8)) / 4, (row + rng.uniform(0.2, 0.8)) / 4
            lit |= np.hypot(_around(x, left), y - top) < rng.uniform(0.008, 0.014)
    return _over(picture, lit, (255, 245, 215))
