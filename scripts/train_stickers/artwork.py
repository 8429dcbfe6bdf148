"""The stickers' pictures: drawn once from Fluent Emoji Flat (MIT), kept as pixels.

    scripts/train_stickers/fetch_artwork.sh

Only drawing needs `resvg-py`; training and scores read `artwork.npz`.
"""

import io
import json
import sys
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from scripts.train_stickers.subjects import STICKERS

FOLDER = Path("build/stickers")
SIDE = 192  # pixels; the largest a sticker is seen at 128 pixels a picture is 111


def draw(icons: Path, names: dict[str, str]) -> dict[str, np.ndarray]:
    """Rasterise icons of an Iconify file, uint8 RGBA [SIDE, SIDE, 4] by subject; `names` are subject to icon."""
    import resvg_py

    book = json.loads(icons.read_text("utf-8"))
    pictures = {}
    for subject, icon in names.items():
        entry = book["icons"][icon]
        width, height = (entry.get(side, book.get(side, 16)) for side in ("width", "height"))
        svg = (
            '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
            f'viewBox="0 0 {width} {height}" width="{SIDE}" height="{SIDE}">{entry["body"]}</svg>'
        )
        png = resvg_py.svg_to_bytes(svg_string=svg, width=SIDE, height=SIDE)
        pictures[subject] = np.asarray(Image.open(io.BytesIO(bytes(png))).convert("RGBA"))
    return pictures


class Artwork:
    """Stickers as premultiplied pixels in halving sizes, so that any size is warped from one at most twice as large."""

    def __init__(self, pictures: dict[str, np.ndarray]) -> None:
        self.names = tuple(pictures)
        self._levels = {}
        for name, picture in pictures.items():
            level = picture.astype(np.float32) / 255
            level[..., :3] *= level[..., 3:]
            levels = [_stand(level, STICKERS[name].upright)]
            while len(levels) < 3:
                level = levels[-1]
                levels.append(cv2.resize(level, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))
            self._levels[name] = levels

    def place(
        self, name: str, *, x: float, y: float, radius: float, angle: float, mirrored: bool, height: int, width: int
    ) -> np.ndarray:
        """Place a sticker in a picture: premultiplied RGBA in [0, 1], float32 [height, width, 4].

        Lengths are fractions of the shorter side, the angle is in degrees, clockwise.
        """
        side = min(height, width)
        drawn = 2 * radius * side
        level = next((p for p in reversed(self._levels[name]) if len(p) >= drawn), self._levels[name][0])
        scale = drawn / len(level)
        turn = np.radians(angle)
        cos, sin = scale * np.cos(turn), scale * np.sin(turn)
        matrix = np.array([[cos, -sin], [sin, cos]]) @ np.diag([-1.0 if mirrored else 1.0, 1.0])
        centre = np.array([width / 2 + (x - 0.5) * side - 0.5, height / 2 + (y - 0.5) * side - 0.5])
        move = np.column_stack([matrix, centre - matrix @ np.full(2, len(level) / 2 - 0.5)])
        return cv2.warpAffine(level, move, (width, height), flags=cv2.INTER_LINEAR)


def _stand(picture: np.ndarray, upright: float) -> np.ndarray:
    if not upright:
        return picture
    middle = (SIDE - 1) / 2
    return cv2.warpAffine(picture, cv2.getRotationMatrix2D((middle, middle), -upright, 0.95), (SIDE, SIDE))


@cache
def artwork(folder: Path = FOLDER) -> Artwork:
    """Load the drawn stickers of a folder.

    Raises:
        FileNotFoundError: They were not drawn yet.
    """
    path = folder / "artwork.npz"
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: run scripts/train_stickers/fetch_artwork.sh first.")
    with np.load(path) as pictures:
        return Artwork({name: pictures[name] for name in STICKERS})


def main(folder: Path = FOLDER) -> None:
    """Draw all subjects."""
    pictures = draw(folder / "icons.json", {name: subject.icon for name, subject in STICKERS.items()})
    part = folder / "part.npz"
    np.savez_compressed(part, **pictures)
    part.replace(folder / "artwork.npz")
    print(f"{folder / 'artwork.npz'}: {len(pictures)} stickers")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
