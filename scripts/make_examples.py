"""Make the examples of the page with the embedded model: pictures and clips to start from, and what comes of them.

python -m scripts.make_examples

Thumbnails are the engine's own frames. A few minutes on two cores.
"""

import shutil
import tempfile
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from media.read import read_frames
from media.write import open_clip
from pipelines.plan.choices import OutputFormat
from pipelines.plan.events import Clip
from pipelines.plan.settings import Settings, use_settings
from scripts.train_demo.world import Scene, render
from studio.engine import build_request, make_clip, run_folder
from studio.examples import EXAMPLES, FOLDER, Example
from studio.stored_inputs import keep

SIDE = 96
FPS = 8
PICTURES = {
    "star.png": Scene("star", "yellow", "blue", "large", "right"),
    "heart.png": Scene("heart", "pink", "black", "large", "static"),
}
CLIPS = {
    "circle.mp4": Scene("circle", "red", "blue", "large", "right"),
    "cross.mp4": Scene("cross", "white", "purple", "large", "down"),
}


def main() -> None:
    """Make all of them anew."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    for name, scene in PICTURES.items():
        Image.fromarray(render(scene)[0]).save(FOLDER / name, optimize=True)
    for name, scene in CLIPS.items():
        _write_source(name, render(scene))
    for example in EXAMPLES:
        _write_thumbnail(example.thumbnail, _frames(example))
        print(example.thumbnail.name, example.thumbnail.stat().st_size)


def _write_source(name: str, frames: np.ndarray) -> None:
    height, width = frames.shape[1:3]
    with open_clip(
        FOLDER,
        stem=Path(name).stem,
        formats=(OutputFormat.MP4,),
        fps=Fraction(FPS),
        width=width,
        height=height,
        recipe="",
    ) as writer:
        writer.write(frames)


def _frames(example: Example) -> np.ndarray:
    files = {name: keep([path], field=name) for name, path in example.files.items()}
    values = {"base_model": "demo", "formats": ["PNG"], **example.fields, **files}
    with run_folder() as folder:
        *_, clip = make_clip(build_request(**values), folder)
        assert isinstance(clip, Clip)
        return read_frames(clip.files[0])


def _write_thumbnail(path: Path, frames: np.ndarray) -> None:
    first, *others = (Image.fromarray(frame).resize((SIDE, SIDE), Image.Resampling.LANCZOS) for frame in frames)
    first.save(path, save_all=True, append_images=others, duration=1000 // FPS, loop=0, quality=70, method=6)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as kept, use_settings(Settings(inputs_dir=Path(kept))):
        main()
