"""Preprocessors without networks: a few lines of pixel arithmetic each.

Each filters every frame alone, with nothing random or measured per frame, so a clip does not flicker.
"""

import cv2
import numpy as np
import numpy.typing as npt

from controlnet.preprocessor import Filter, Setting
from pipelines.plan.image_fit import Frames

_NEAR, _FAR = 0.5, 5.0  # pixels; the two blurs whose difference is a stroke


def none(setting: Setting) -> Filter:
    """Pass the frames through unchanged."""
    del setting
    return lambda frames: frames


def invert(setting: Setting) -> Filter:
    """Black to white."""
    del setting
    return lambda frames: 255 - frames


def canny(setting: Setting) -> Filter:
    """Canny's edges, white on black. Source: Canny 1986, doi:10.1109/TPAMI.1986.4767851."""
    low, high = setting.options["low"], setting.options["high"]
    return lambda frames: as_rgb(np.stack([cv2.Canny(frame, low, high) for frame in frames]))


def lineart_standard(setting: Setting) -> Filter:
    """Darkness of pixels against their surroundings, float32 [n, h, w]."""
    sigma = setting.options["sigma"]

    def apply(frames: Frames) -> npt.NDArray[np.float32]:
        pictures = frames.astype(np.float32)
        darker = [_blurred(picture, sigma) - picture for picture in pictures]
        return np.clip(np.stack(darker).min(axis=-1), 0, 255)

    return apply


def scribble_xdog(setting: Setting) -> Filter:
    """Strokes by extended difference of Gaussians, white on black.

    Source: doi:10.1016/j.cag.2012.03.004.
    """
    threshold = setting.options["threshold"]

    def apply(frames: Frames) -> Frames:
        pictures = frames.astype(np.float32)
        darker = np.stack([(_blurred(picture, _FAR) - _blurred(picture, _NEAR)).min(axis=-1) for picture in pictures])
        return as_rgb(np.where(darker > threshold, 255, 0))

    return apply


def shuffle(setting: Setting) -> Filter:
    """Warp every frame by one and the same smooth random flow."""
    width, height = setting.width, setting.height
    rng = np.random.default_rng(setting.seed)
    cell = int(setting.options["cell"])
    x, y = (_smooth_noise(rng, width=width, height=height, cell=cell) for _ in range(2))
    flow = np.stack([x * (width - 1), y * (height - 1)], axis=-1)
    return lambda frames: np.stack([cv2.remap(frame, flow, None, cv2.INTER_LINEAR) for frame in frames])


def tile(setting: Setting) -> Filter:
    """Make it smaller, and as large again."""
    rate = setting.options["rate"]
    small = max(1, round(setting.width / rate)), max(1, round(setting.height / rate))

    def apply(frames: Frames) -> Frames:
        shrunk = (cv2.resize(frame, small, interpolation=cv2.INTER_AREA) for frame in frames)
        size = setting.width, setting.height
        return np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_CUBIC) for frame in shrunk])

    return apply


def blur(setting: Setting) -> Filter:
    """Gaussian blur."""
    sigma = setting.options["sigma"]
    return lambda frames: np.stack([_blurred(frame, sigma) for frame in frames])


def as_rgb(grey: npt.NDArray[np.generic]) -> Frames:
    """Grey values [n, h, w] from 0 to 255 as frames."""
    return np.repeat(as_bytes(grey)[..., None], 3, axis=-1)


def as_bytes(values: npt.NDArray[np.generic]) -> Frames:
    """Values from 0 to 255, rounded; what is beyond is cut."""
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _blurred(picture: np.ndarray, sigma: float) -> np.ndarray:
    return cv2.GaussianBlur(picture, (0, 0), sigma)


def _smooth_noise(rng: np.random.Generator, *, width: int, height: int, cell: int) -> npt.NDArray[np.float32]:
    """Draw smooth noise with waves as long as a cell.

    Returns:
        float32 [height, width] from 0 to 1.
    """
    grid = rng.random((height // cell + 2, width // cell + 2), dtype=np.float32)
    # A cell more on every side, so that the picture lies where the waves are free of the grid's border.
    size = width + 2 * cell, height + 2 * cell
    waves = cv2.resize(grid, size, interpolation=cv2.INTER_CUBIC)[cell : cell + height, cell : cell + width]
    return (waves - waves.min()) / max(float(waves.max() - waves.min()), 1e-6)
