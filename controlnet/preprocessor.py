"""Record type of preprocessors; imports no OpenCV."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from pipelines.plan.image_fit import Frames

MODEL_CONFIG = "config.json"
MODEL_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""What a model of transformers may call its weights; the first that is there is read."""

Filter = Callable[["Frames"], "Frames | npt.NDArray[np.float32]"]
"""Frames uint8 [n, h, w, 3] in; out the same, or float32 [n, h, w] where it is spread over the clip."""


@dataclass(frozen=True, slots=True)
class Option:
    """Number that may be set.

    Args:
        name: Its key in a unit's `options`.
        low, high, step: Its range, and the step of its slider.
    """

    name: str
    label: str
    help: str
    default: float
    low: float
    high: float
    step: float


@dataclass(frozen=True, slots=True)
class Weights:
    """File, or model, of a repository on the Hub.

    Args:
        repo: "owner/name".
        name: Of a file in it; empty for a model of transformers, which is a configuration and weights.
        size_mb: Megabytes to download.
        wanted_by: The option that must be 1 for it to be needed; always needed if empty.
    """

    repo: str
    name: str
    size_mb: int
    wanted_by: str = ""


@dataclass(frozen=True, slots=True)
class Spread:
    """Range by which raw maps become grey, over the whole clip.

    One range for all frames: they do not flicker.

    Args:
        low, high: Percentiles of the clip's values that become black and white; `low` None: zero becomes black.
        least: The smallest range, in the map's unit, so that the noise of an empty clip isn't made visible.
        above: Values up to this aren't counted for the percentiles.
        is_inverted: Whether black and white are exchanged.
    """

    low: float | None = 2
    high: float = 98
    least: float = 0
    above: float | None = None
    is_inverted: bool = False


@dataclass(frozen=True, slots=True)
class Setting:
    """Arguments with which a preprocessor is built.

    Args:
        options: All its options, by name.
        width, height: Of the frames, pixels.
        seed: For what is drawn at random.
        device: "cpu" or "cuda".
        files: Its weights, in the order of the record: a file, or a folder; None where one isn't needed.
    """

    options: Mapping[str, float]
    width: int
    height: int
    seed: int = 0
    device: str = "cpu"
    files: tuple[Path | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Preprocessor:
    """One way to see a clip.

    Args:
        id: Stable; what a unit's `preprocessor` says.
        code: "module:function" of a function from `Setting` to `Filter`.
        follows: The kinds of ControlNets that follow it, in their publishers' words.
        spread: How its values become grey, None where they are pictures already.
        weights: What it needs from the Hub.
        uses_seed: Whether the seed changes what comes out.
        unavailable: Why it can't be used and what to use instead; empty if it can.
        version: Raised when the same input gives another output, so that kept clips aren't taken.
    """

    id: str
    label: str
    help: str
    code: str = ""
    follows: tuple[str, ...] = ()
    options: tuple[Option, ...] = ()
    spread: Spread | None = None
    weights: tuple[Weights, ...] = field(default=())
    uses_seed: bool = False
    unavailable: str = ""
    version: int = 1

    @property
    def size_mb(self) -> int:
        """Megabytes to download at most."""
        return sum(files.size_mb for files in self.weights)

    def build(self, setting: Setting) -> Filter:
        """Import the code and build the filter, reading its weights.

        Raises:
            WeightsError: A file is damaged or another network's.
        """
        module, function = self.code.split(":")
        built_filter: Filter = getattr(import_module(module), function)(setting)
        return built_filter
