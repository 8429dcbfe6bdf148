"""The models people can choose: the catalog's, and those in the operator's models folder. No torch.

An id is the only thing a visitor may send. It names an entry of `assets/catalog.toml` or one file or
folder directly inside `MODELS_DIR/base_models` or `MODELS_DIR/motion_modules`, or one file inside
`MODELS_DIR/loras` or `MODELS_DIR/embeddings`; it is never a path.
"""

import difflib
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar

from pipelines.errors import InvalidRequestError
from pipelines.request import GenerationRequest, Scheduler

ASSETS = Path(__file__).resolve().parents[1] / "assets"
DEMO = "demo"
STABLE_DIFFUSION = "stable-diffusion-v1-5/stable-diffusion-v1-5"
STABLE_DIFFUSION_XL = "stabilityai/stable-diffusion-xl-base-1.0"
DROPPED_DIR = "DROPPED_DIR"
"""The environment variable that names the folder of LoRAs visitors have dropped; worker processes inherit it."""
WEIGHTS_FILES = (".safetensors", ".ckpt", ".pth", ".pt", ".bin")
_FOLDER_MARKERS = {"base_models": "model_index.json", "motion_modules": "config.json"}
_MOST_NAMED = 20
_XL_MARK = b'"conditioner.embedders.'  # how a tensor's name begins in single files of Stable Diffusion XL
_HEADER_LIMIT = 1 << 22  # bytes; ten times what such a file's list of names takes
_LOCAL = "Local file; its licence is the operator's business"

Source = Literal["folder", "hub", "local"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """What base models and motion modules have in common.

    Args:
        id: The stable name that requests and recipes carry.
        label: What people call it.
        description: One plain line: what it can do.
        source: Where `repo` is: a folder of `assets`, a repository of the Hub, or a path on this disk
            inside the operator's models folder.
        repo: See `source`.
        file: The weights file in the repository, for single-file models; None for a diffusers folder.
        revision: Branch, tag or commit on the Hub.
        licence: The licence of the weights.
        family: Which base models and motion modules fit together; None until the file has been read.
    """

    id: str
    label: str
    description: str
    source: Source
    repo: str
    licence: str
    family: str | None = None
    file: str | None = None
    revision: str = "main"

    @property
    def folder(self) -> Path:
        """The path of a `folder` or `local` source (a `local` source may be a single file)."""
        return ASSETS / self.repo if self.source == "folder" else Path(self.repo)

    @property
    def names(self) -> tuple[str, ...]:
        """What it may be called by, the name to recommend first."""
        return (self.id,)


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseModel(_Entry):
    """A model that draws pictures, with the settings it looks best at.

    Args:
        width, height: Pixels.
        num_inference_steps, guidance_scale, scheduler, motion_module, context_length: As in the request.
    """

    width: int
    height: int
    num_inference_steps: int
    guidance_scale: float
    scheduler: Scheduler
    motion_module: str
    context_length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MotionModule(_Entry):
    """A model that makes pictures move.

    Args:
        max_positions: The longest window it can see, frames; None until the file has been read.
        motion_family: How it must be run, by an id of `motion_families`, where its tensors don't tell.
    """

    max_positions: int | None = None
    motion_family: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lora(_Entry):
    """A LoRA or textual inversion, named in prompts as `<lora:id:0.8>`; its kind is read off the file.

    Args:
        weight: How much of it looks best.
    """

    weight: float = 1.0

    @property
    def names(self) -> tuple[str, ...]:
        """Its file's name without the ending, as other programs call it, or its id."""
        return (Path(self.id).stem, self.id) if self.source == "local" else (self.id,)


_AnyEntry = TypeVar("_AnyEntry", bound=_Entry)


def base_models() -> tuple[BaseModel, ...]:
    """The catalog's base models, then those in `MODELS_DIR/base_models`, looked up now."""
    return (*_catalog()[0], *(_local_base_model(path) for path in _local_paths("base_models")))


def motion_modules() -> tuple[MotionModule, ...]:
    """The catalog's motion modules, then those in `MODELS_DIR/motion_modules`, looked up now."""
    return (*_catalog()[1], *(_local_motion_module(path) for path in _local_paths("motion_modules")))


def loras() -> tuple[Lora, ...]:
    """The catalog's LoRAs, then the files in `MODELS_DIR/loras` and `MODELS_DIR/embeddings`, looked up now."""
    local = (*_local_paths("loras"), *_local_paths("embeddings"))
    return (*_catalog()[2], *(_local_lora(path) for path in local))


def find_base_model(model_id: str) -> BaseModel:
    """The base model with this id.

    Raises:
        InvalidRequestError: There is none; the text names the nearest ones.

    Example:
        >>> find_base_model("demo").width
        128
    """
    return _find("base_model", model_id, base_models())


def find_motion_module(model_id: str) -> MotionModule:
    """The motion module with this id.

    Raises:
        InvalidRequestError: There is none; the text names the nearest ones.
    """
    return _find("motion_module", model_id, motion_modules())


def find_lora(name: str) -> Lora:
    """The LoRA or textual inversion with this id or, of a local file, this stem.

    A file that a visitor dropped is found by its exact name and offered to nobody else.

    Raises:
        InvalidRequestError: There is none; the text names the nearest ones.

    Example:
        >>> find_lora("v2_lora_ZoomIn").repo
        'guoyww/animatediff'
    """
    dropped = (_local_lora(path) for path in _weights_in(os.environ.get(DROPPED_DIR)))
    return next((entry for entry in dropped if entry.label == name), None) or _find("lora", name, loras())


def default_base_model() -> BaseModel:
    """Stable Diffusion 1.5 where there is a GPU, the demo model elsewhere; found out without torch."""
    return find_base_model(STABLE_DIFFUSION if _has_gpu() else DEMO)


def complete(values: Mapping[str, Any]) -> dict[str, Any]:
    """Fill what was left open (absent or None) with the chosen base model's own settings.

    What the model has no opinion on stays absent, so that the request's defaults apply. Values are not
    checked here but in `GenerationRequest.build`, the model id excepted.

    Raises:
        InvalidRequestError: `base_model` is not one of the list.

    Example:
        >>> complete({"prompt": "a red circle", "base_model": "demo", "width": None})["width"]
        128
    """
    fields = GenerationRequest.model_fields
    given = {name: value for name, value in values.items() if value is not None or name not in fields}
    chosen = given.setdefault("base_model", default_base_model().id)
    if not isinstance(chosen, str):
        return given
    base = find_base_model(chosen)
    own = {
        "width": base.width,
        "height": base.height,
        "num_inference_steps": base.num_inference_steps,
        "guidance_scale": base.guidance_scale,
        "scheduler": base.scheduler,
        "motion_module": base.motion_module,
        "context_length": base.context_length,
    }
    return own | given


@cache
def _catalog() -> tuple[tuple[BaseModel, ...], tuple[MotionModule, ...], tuple[Lora, ...]]:
    entries = tomllib.loads((ASSETS / "catalog.toml").read_text("utf-8"))
    for entry in entries["base_models"]:
        entry["scheduler"] = Scheduler(entry["scheduler"])
    bases = tuple(BaseModel(**entry) for entry in entries["base_models"])
    modules = tuple(MotionModule(**entry) for entry in entries["motion_modules"])
    return bases, modules, tuple(Lora(**entry) for entry in entries["loras"])


def _has_gpu() -> bool:
    """Whether ZeroGPU lends a card, or an NVIDIA card is here that CUDA_VISIBLE_DEVICES does not hide."""
    if os.environ.get("SPACES_ZERO_GPU"):
        return True
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in {"", "-1"}
    return not hidden and any(Path("/dev").glob("nvidia[0-9]*"))


def _find(field: str, wanted: str, entries: Sequence[_AnyEntry]) -> _AnyEntry:
    known: dict[str, _AnyEntry] = {}
    for entry in entries:
        for name in entry.names:
            known.setdefault(name, entry)  # of two namesakes the catalog's wins
    if wanted in known:
        return known[wanted]
    by_lower_case = {known_id.lower(): known_id for known_id in known}
    near = difflib.get_close_matches(wanted.lower()[:300], by_lower_case, n=3, cutoff=0.4)
    nearest = dict.fromkeys(known[by_lower_case[name]].names[0] for name in near)
    choices = ", ".join(f"'{name}'" for name in nearest or (entry.names[0] for entry in entries[:_MOST_NAMED]))
    raise InvalidRequestError(f"{field} must be one of the catalog, got '{wanted[:60]}'. Choose {choices}.")


def _local_paths(kind: str) -> list[Path]:
    """Model files and diffusers folders directly in `MODELS_DIR/<kind>`; links that lead out are left out."""
    root = os.environ.get("MODELS_DIR")
    return _weights_in(Path(root, kind) if root else None, marker=_FOLDER_MARKERS.get(kind))


def _weights_in(where: str | Path | None, *, marker: str | None = None) -> list[Path]:
    """Weights files directly in a folder, and folders that hold a file named `marker`."""
    folder = Path(where).resolve() if where else None
    if folder is None or not folder.is_dir():
        return []
    return [
        path
        for path in sorted(folder.iterdir())
        if path.resolve().is_relative_to(folder)
        and ((path.is_file() and path.suffix in WEIGHTS_FILES) or (marker and (path / marker).is_file()))
    ]


def _local_base_model(path: Path) -> BaseModel:
    """A local base model gets the settings of Stable Diffusion 1.5 or XL, whichever it looks like."""
    settings_of = STABLE_DIFFUSION_XL if _looks_like_xl(path) else STABLE_DIFFUSION
    like = next(entry for entry in _catalog()[0] if entry.id == settings_of)
    return BaseModel(
        id=path.name,
        label=path.stem,
        description="A model from the models folder.",
        source="local",
        repo=str(path),
        licence=_LOCAL,
        width=like.width,
        height=like.height,
        num_inference_steps=like.num_inference_steps,
        guidance_scale=like.guidance_scale,
        scheduler=like.scheduler,
        motion_module=like.motion_module,
        context_length=like.context_length,
    )


def _looks_like_xl(path: Path) -> bool:
    """A glance for the settings' sake; what a model is, is found out when it is loaded."""
    if path.is_dir():
        return (path / "text_encoder_2").is_dir()
    if path.suffix != ".safetensors":
        return False
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            return _XL_MARK in file.read(min(length, _HEADER_LIMIT))
    except OSError:
        return False


def _local_motion_module(path: Path) -> MotionModule:
    return MotionModule(
        id=path.name,
        label=path.stem,
        description="A motion module from the models folder.",
        source="local",
        repo=str(path),
        licence=_LOCAL,
    )


def _local_lora(path: Path) -> Lora:
    return Lora(
        id=path.name,
        label=path.stem,
        description="A file from the models folder.",
        source="local",
        repo=str(path),
        licence=_LOCAL,
    )
