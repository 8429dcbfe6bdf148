"""Clips whose every frame and every colour can be told apart, for the tests of what cameras and programs write."""

from fractions import Fraction
from pathlib import Path

import numpy as np

from media.ffmpeg import raw_video, run_ffmpeg

RED, GREEN, BLUE = (200, 40, 40), (40, 180, 60), (40, 60, 200)
X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-qp", "8", "-bf", "2", "-g", "12")
H264 = (*X264, "-pix_fmt", "yuv420p")


def color_frames(count: int = 16, *, width: int = 96, height: int = 64) -> np.ndarray:
    """Red, green, blue and, at the lower right, a grey that tells the frame; uint8 [n, h, w, 3]."""
    frames = np.zeros((count, height, width, 3), np.uint8)
    frames[:, : height // 2, : width // 2], frames[:, : height // 2, width // 2 :] = RED, GREEN
    frames[:, height // 2 :, : width // 2] = BLUE
    frames[:, height // 2 :, width // 2 :] = (30 + 9 * np.arange(count, dtype=np.uint8))[:, None, None, None]
    return frames


def patches(frames: np.ndarray) -> np.ndarray:
    """The colours in the middle of each quarter, int [n, 4, 3]."""
    _, height, width, _ = frames.shape
    rows, columns = [height // 4, height // 4, 3 * height // 4, 3 * height // 4], [width // 4, 3 * width // 4] * 2
    return frames[:, rows, columns].astype(int)


def color_clip(
    path: Path,
    *output: str,
    fps: Fraction = Fraction(25),
    frames: np.ndarray | None = None,
) -> np.ndarray:
    """Encode the frames, of three channels or four, and return them."""
    frames = color_frames() if frames is None else frames
    raw = path.with_name("frames.raw")
    raw.write_bytes(np.ascontiguousarray(frames).data)
    pixels = raw_video("rgba" if frames.shape[3] == 4 else "rgb24", frames.shape[2], frames.shape[1], fps)
    run_ffmpeg("-y", *pixels, "-i", raw.name, *output, path.name, folder=path.parent)
    raw.unlink()
    return frames
