"""Small clips, pictures and zips for the tests of inputs."""

import zipfile
from collections.abc import Mapping, Sequence
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from media.ffmpeg import raw_video, run_ffmpeg

FILM = Fraction(24000, 1001)
H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-g", "12", "-qp", "4", "-pix_fmt", "yuv420p")


def greys(levels: Sequence[int], *, width: int = 48, height: int = 32) -> np.ndarray:
    """Frames that are grey all over, uint8 [n, H, W, 3]."""
    return np.repeat(np.array(levels, np.uint8), height * width * 3).reshape(-1, height, width, 3)


def levels_of(frames: np.ndarray) -> list[int]:
    """The grey of each frame."""
    return [round(float(frame.mean())) for frame in frames]


def video(path: Path, frames: np.ndarray, *output: str, fps: Fraction = FILM, more: Sequence[str] = ()) -> Path:
    """Encode frames; `more` are inputs beside them."""
    raw = path.with_suffix(".raw")
    raw.write_bytes(np.ascontiguousarray(frames).data)
    source = raw_video("rgb24", frames.shape[2], frames.shape[1], fps)
    run_ffmpeg("-y", *source, "-i", raw.name, *more, *(output or H264), path.name, folder=path.parent)
    raw.unlink()
    return path


def picture_bytes(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def zipped(path: Path, members: Mapping[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return path


def png(level: int, size: tuple[int, int] = (48, 32)) -> bytes:
    return picture_bytes(Image.new("L", size, level))
