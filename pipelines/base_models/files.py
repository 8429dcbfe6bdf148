"""Base-model files: where they are, and whether they are Stable Diffusion 1.5 or XL.

A base model is a diffusers folder, or a single file in the layout its authors published. A single file
holds weights only; configurations and tokenizers come from Stable Diffusion 1.5 or XL itself, a download
of 2 or 4 MB.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines import catalog
from pipelines.base_models.architecture import Architecture
from pipelines.base_models.builds import BUILDS
from pipelines.catalog_entries import BaseModel
from pipelines.errors import WeightsError
from pipelines.weights.downloads import fetch
from pipelines.weights.reading import read_shapes

FIELD = "base_model"
_CONFIGS = [
    "model_index.json",
    "scheduler/*.json",
    "tokenizer/*",
    "tokenizer_2/*",
    "text_encoder/config.json",
    "text_encoder_2/config.json",
    "unet/config.json",
    "vae/config.json",
]
_SAFE = {
    "text_encoder": "text_encoder/model.safetensors",
    "text_encoder_2": "text_encoder_2/model.safetensors",
    "unet": "unet/diffusion_pytorch_model.safetensors",
    "vae": "vae/diffusion_pytorch_model.safetensors",
}
_PICKLED = {
    "text_encoder": "text_encoder/pytorch_model.bin",
    "text_encoder_2": "text_encoder_2/pytorch_model.bin",
    "unet": "unet/diffusion_pytorch_model.bin",
    "vae": "vae/diffusion_pytorch_model.bin",
}
_SD2_WIDTH = 1024
_UNET_PREFIX = "model.diffusion_model."
_REFINER = "a Stable Diffusion XL refiner, which only finishes pictures another model began"


@dataclass(frozen=True, slots=True)
class BaseFiles:
    """A base model on this disk, looked at but not read.

    Args:
        entry: What was asked for.
        architecture: What it was found to be.
        folder: The diffusers folder; for a single file the one that describes it.
        paths: Component -> weights file; a single file is all of it, under "checkpoint".
        unet_config, prediction_type: The UNet's configuration; what it predicts, as diffusers spells it.
        zero_empty_negative: It was trained with zeros for an empty prompt, not with the states of one.
        vae_overflows: Its VAE's activations leave the range of float16.
    """

    entry: BaseModel
    architecture: Architecture
    folder: Path
    paths: dict[str, Path]
    unet_config: dict[str, Any]
    prediction_type: str
    zero_empty_negative: bool
    vae_overflows: bool

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of the UNet's blocks, outermost first."""
        return tuple(self.unet_config["block_out_channels"])


def locate_base(entry: BaseModel) -> BaseFiles:
    """Fetch a base model if need be, and check what it is before any memory is spent.

    Raises:
        WeightsError: It can't be had, is damaged, or is neither a Stable Diffusion 1.5 nor an XL model.
    """
    if entry.source != "hub" and entry.folder.is_dir():
        return _from_folder(entry, entry.folder)
    if entry.source == "hub" and not entry.file:
        return _from_folder(entry, _fetch_folder(entry))
    if entry.source == "folder":
        raise WeightsError(
            f"{FIELD} must be installed, got '{entry.id}', whose folder is missing. Install the app again."
        )
    path = fetch(entry.repo, entry.file, entry.revision, field=FIELD) if entry.file else entry.folder
    architecture = _checkpoint_architecture(entry, read_shapes(path, field=FIELD))
    like = catalog.find_base_model(BUILDS[architecture].configs)
    folder = fetch(like.repo, _CONFIGS, like.revision, field=FIELD)
    return _described(entry, architecture, folder, {"checkpoint": path})


def _fetch_folder(entry: BaseModel) -> Path:
    """Fetch configurations and .safetensors weights; pickles only for a component that has no other."""
    folder = fetch(entry.repo, [*_CONFIGS, *_SAFE.values()], entry.revision, field=FIELD)
    components = BUILDS[_folder_architecture(entry, folder)].components
    lacking = [_PICKLED[name] for name in components if not (folder / _SAFE[name]).is_file()]
    return fetch(entry.repo, lacking, entry.revision, field=FIELD) if lacking else folder


def _from_folder(entry: BaseModel, folder: Path) -> BaseFiles:
    architecture = _folder_architecture(entry, folder)
    choices = {name: (folder / _SAFE[name], folder / _PICKLED[name]) for name in BUILDS[architecture].components}
    paths = {name: next((path for path in both if path.is_file()), both[0]) for name, both in choices.items()}
    return _described(entry, architecture, folder, paths)


def _folder_architecture(entry: BaseModel, folder: Path) -> Architecture:
    is_xl = _config(entry, folder, "unet/config.json").get("addition_embed_type") == "text_time"
    return Architecture.SDXL if is_xl else Architecture.SD15


def _described(entry: BaseModel, architecture: Architecture, folder: Path, paths: dict[str, Path]) -> BaseFiles:
    """Read the configurations and headers, and refuse what is of no use here or not whole."""
    unet = _config(entry, folder, "unet/config.json")
    _refuse_other_folders(entry, architecture, folder, unet)
    index = _config(entry, folder, "model_index.json")
    scheduler = _config(entry, folder, "scheduler/scheduler_config.json")
    vae = _config(entry, folder, "vae/config.json")
    for path in paths.values():
        read_shapes(path, field=FIELD)
    return BaseFiles(
        entry=entry,
        architecture=architecture,
        folder=folder,
        paths=paths,
        unet_config=unet,
        prediction_type=str(scheduler.get("prediction_type", "epsilon")),
        zero_empty_negative=bool(index.get("force_zeros_for_empty_prompt", architecture is Architecture.SDXL)),
        # Stated, that is: the library takes its absence, as in Stable Diffusion 1.5's own, for a yes.
        vae_overflows=bool(vae.get("force_upcast", False)),
    )


def _refuse_other_folders(entry: BaseModel, architecture: Architecture, folder: Path, unet: Mapping[str, Any]) -> None:
    width = unet.get("cross_attention_dim")
    if unet.get("_class_name") != "UNet2DConditionModel":
        raise _wrong_kind(entry, f"built on a {unet.get('_class_name')}")
    if architecture is Architecture.SD15 and width == _SD2_WIDTH:
        raise _wrong_kind(entry, "a Stable Diffusion 2 model")
    if unet.get("in_channels") != 4:
        raise _wrong_kind(entry, f"made for inpainting or editing (its UNet takes {unet.get('in_channels')} channels)")
    if architecture is Architecture.SDXL and width == _text_width(entry, folder, "text_encoder_2"):
        raise _wrong_kind(entry, _REFINER)
    if width != sum(_text_width(entry, folder, name) for name in BUILDS[architecture].text_encoders):
        raise _wrong_kind(entry, "put together of parts that don't fit: its text encoder is not its UNet's")


def _text_width(entry: BaseModel, folder: Path, name: str) -> int:
    return int(_config(entry, folder, f"{name}/config.json").get("hidden_size", 0))


def _checkpoint_architecture(entry: BaseModel, shapes: Mapping[str, tuple[int, ...]]) -> Architecture:
    """What a single file is, or its refusal, from its tensors' names and the first convolution's shape."""
    is_xl = _any_with(shapes, "conditioner.embedders.")
    architecture = Architecture.SDXL if is_xl else Architecture.SD15
    has_text = all(_any_with(shapes, part) for part in BUILDS[architecture].checkpoint_parts)
    first = shapes.get(f"{_UNET_PREFIX}input_blocks.0.0.weight", (0, 0))
    kinds = (
        (not _any_with(shapes, _UNET_PREFIX) and _any_with(shapes, "motion_modules."), "a motion module"),
        (_any_with(shapes, "lora_"), "a LoRA"),
        (not _any_with(shapes, _UNET_PREFIX), "no Stable Diffusion checkpoint"),
        (_any_with(shapes, "cond_stage_model.model."), "a Stable Diffusion 2 model"),
        (_any_with(shapes, "conditioner.embedders.0.model."), _REFINER),
        (not has_text, "a checkpoint without its text encoder"),
        (not _any_with(shapes, "first_stage_model."), "a checkpoint without its VAE"),
        (first[1] != 4, f"made for inpainting or editing (its UNet takes {first[1]} channels)"),
    )
    for is_so, kind in kinds:
        if is_so:
            raise _wrong_kind(entry, kind)
    return architecture


def _any_with(names: Iterable[str], part: str) -> bool:
    return any(part in name for name in names)


def _wrong_kind(entry: BaseModel, kind: str) -> WeightsError:
    return WeightsError(
        f"{FIELD} must be a Stable Diffusion 1.5 or XL model, got '{entry.id}', which is {kind}. "
        "Choose another base model."
    )


def _config(entry: BaseModel, folder: Path, name: str) -> dict[str, Any]:
    try:
        return dict(json.loads((folder / name).read_text("utf-8")))
    except (OSError, ValueError, TypeError) as err:
        raise WeightsError(
            f"{FIELD} must be a whole diffusers folder, got '{entry.id}', which has no readable {name}. "
            "Install it again or choose another."
        ) from err
