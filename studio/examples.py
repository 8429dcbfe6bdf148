"""Examples for each mode, whose files `scripts/make_examples.py` makes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.plan.catalog_entries import ASSETS
from studio.modes import Mode

FOLDER = ASSETS / "examples"


@dataclass(frozen=True, slots=True)
class Example:
    """An example, with a moving picture of what comes of it.

    Args:
        label: What it shows, in a few words.
        mode: Where it belongs.
        fields: Of the request, as JSON; the others are the demo model's own.
        inputs: Files that fields name, by their names in `FOLDER`.
    """

    label: str
    mode: Mode
    fields: Mapping[str, object]
    inputs: Mapping[str, str] = field(default_factory=dict)

    @property
    def thumbnail(self) -> Path:
        """A small animated WebP."""
        return FOLDER / f"{self.mode.value}-{self.label.replace(' ', '-')}.webp"

    @property
    def files(self) -> dict[str, Path]:
        """The files by the fields that name them."""
        return {name: FOLDER / file for name, file in self.inputs.items()}


def _words(label: str, prompt: str) -> Example:
    return Example(label, Mode.TXT2VID, {"prompt": prompt, "seed": 7})


def _picture(label: str, prompt: str, file: str) -> Example:
    return Example(label, Mode.IMG2VID, {"prompt": prompt, "seed": 7}, {"first_frame": file})


def _clip(label: str, prompt: str, file: str, model: str, preprocessor: str) -> Example:
    unit = {"model": model, "preprocessor": preprocessor}
    fields = {"prompt": prompt, "seed": 7, "strength": 1.0, "num_frames": 16, "fps": 8, "controls": [unit]}
    return Example(label, Mode.VID2VID, fields, {"source_video": file})


EXAMPLES: tuple[Example, ...] = (
    _words("red circle moving right", "a red circle moving right on a blue background"),
    _words("growing pink heart", "a pink heart growing on a black background"),
    _words("green triangle moving up", "a green triangle moving up on a white background"),
    _words("big yellow cross moving down", "a big yellow cross moving down on a purple background"),
    _words("cyan square moving left", "a cyan square moving left on an orange background"),
    _words("shrinking white cross", "a big white cross shrinking on a red background"),
    _words("blue triangle moving right", "a big blue triangle moving right on a yellow background"),
    _words("purple heart moving down", "a purple heart moving down on a cyan background"),
    _picture("star sets off to the right", "a big yellow star moving right on a blue background", "star.png"),
    _picture("heart shrinks", "a big pink heart shrinking on a black background", "heart.png"),
    _clip(
        "circle in other colours by its edges",
        "a big yellow circle moving right on a green background",
        "circle.mp4",
        "demo-canny",
        "canny",
    ),
    _clip(
        "cross in other colours by a scribble",
        "a big orange cross moving down on a cyan background",
        "cross.mp4",
        "demo-scribble",
        "scribble_xdog",
    ),
)


def examples_of(mode: Mode) -> list[Example]:
    """List the examples of a mode, in order."""
    return [example for example in EXAMPLES if example.mode is mode]
