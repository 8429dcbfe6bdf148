"""Draw what every preprocessor without a download makes of a photograph and of a frame of a film.

python -m scripts.preprocessor_gallery SHEET.png
"""

import sys
import tempfile
from fractions import Fraction
from pathlib import Path

import gradio
import numpy as np
from PIL import Image, ImageDraw
from skimage import data

from controlnet.control_cache import ControlCache
from controlnet.control_clip import prepare_control
from controlnet.preprocessors import OFFLINE, PREPROCESSORS
from media.read import iter_frames
from pipelines.plan.image_fit import Frames
from pipelines.plan.request_fields.units import ControlUnit

SIDE = 320
CAPTION = 18  # pixels
FILM = Path(gradio.__file__).parent / "media_assets" / "videos" / "b.mp4"


class Picture:
    """One picture as a clip."""

    num_frames = 1
    fps: Fraction | None = None

    def __init__(self, picture: Frames) -> None:
        self._picture = picture
        self.height, self.width = picture.shape[:2]

    def frames(self, indices: object) -> Frames:
        """The picture; nothing else can be asked for."""
        del indices
        return self._picture[None]


def seen_by(name: str, picture: Frames, cache: ControlCache) -> Frames:
    """What a preprocessor makes of a picture with its usual options."""
    unit = ControlUnit(model="any", preprocessor=name)
    making = prepare_control(unit, Picture(picture), width=SIDE, height=SIDE, seed=1, cache=cache)
    while True:
        try:
            next(making)
        except StopIteration as end:
            found: Frames = end.value.frames([0])[0]
            return found


def main(path: Path) -> None:
    """Write one sheet: a row for each picture, a column for each preprocessor."""
    pictures = [data.astronaut(), next(iter_frames(FILM))]
    sheet = Image.new("RGB", (SIDE * len(OFFLINE), (SIDE + CAPTION) * len(pictures)), "white")
    pen = ImageDraw.Draw(sheet)
    with tempfile.TemporaryDirectory() as folder:
        cache = ControlCache(Path(folder))
        for row, picture in enumerate(pictures):
            for column, name in enumerate(OFFLINE):
                left, top = column * SIDE, row * (SIDE + CAPTION)
                pen.text((left + 4, top + 3), PREPROCESSORS[name].label, fill="black")
                sheet.paste(Image.fromarray(seen_by(name, np.asarray(picture), cache)), (left, top + CAPTION))
    sheet.save(path, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
