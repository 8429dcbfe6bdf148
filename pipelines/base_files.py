"""Base-model files: where they are, whether they are Stable Diffusion 1.5, and their components.

A base model is a diffusers folder, or a single file in the layout of the first Stable Diffusion release.
A single file holds weights only; configurations and the tokenizer come from Stable Diffusion 1.5 itself,
a download of 2 MB.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from safetensors import SafetensorError
from transformers import CLIPTextModel, CLIPTokenizer

from pipelines import catalog
from pipelines.errors import WeightsError
from pipelines.weights import aligned, fetch, read_shapes, require_finite, sha256_of

FIELD = "base_model"
_CONFIGS = [
    "model_index.json",
    "scheduler/*.json",
    "tokenizer/*",
    "text_encoder/config.json",
    "unet/config.json",
    "vae/config.json",
]
_SAFE = {
    "text_encoder": "text_encoder/model.safetensors",
    "unet": "unet/diffusion_pytorch_model.safetensors",
    "vae": "vae/diffusion_pytorch_model.safetensors",
}
_PICKLED = {
    "text_encoder": "text_encoder/pytorch_model.bin",
    "unet": "unet/diffusion_pytorch_model.bin",
    "vae": "vae/diffusion_pytorch_model.bin",
}
_SD2_WIDTH = 1024
_UNET_PREFIX = "model.diffusion_model."


@dataclass(frozen=True, slots=True)
class BaseFiles:
    """A base model on this disk, looked at but not read.

    Args:
        entry: What was asked for.
        folder: The diffusers folder; for a single file the one that describes it.
        paths: Component -> weights file; a single file is all of it, under "checkpoint".
        unet_config, prediction_type: The UNet's configuration; what it predicts, as diffusers spells it.
    """

    entry: catalog.BaseModel
    folder: Path
    paths: dict[str, Path]
    unet_config: dict[str, Any]
    prediction_type: str

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of the UNet's blocks, outermost first."""
        return tuple(self.unet_config["block_out_channels"])


@dataclass(frozen=True, slots=True)
class BaseParts:
    """A base model in memory, ready for any motion module.

    Args:
        unet: Draws stills; its tensors are shared with the UNet that moves them.
        weights: File name in `BaseFiles.paths` -> sha256.
    """

    tokenizer: CLIPTokenizer
    text_encoder: CLIPTextModel
    vae: AutoencoderKL
    unet: UNet2DConditionModel
    prediction_type: str
    weights: dict[str, str]


def locate_base(entry: catalog.BaseModel) -> BaseFiles:
    """Fetch a base model if need be, and check what it is before any memory is spent.

    Raises:
        WeightsError: It can't be had, is damaged, or is not a Stable Diffusion 1.5 model.
    """
    if entry.source != "hub" and entry.folder.is_dir():
        return _described(entry, entry.folder, _component_paths(entry.folder))
    if entry.source == "hub" and not entry.file:
        folder = _fetch_folder(entry)
        return _described(entry, folder, _component_paths(folder))
    if entry.source == "folder":
        raise WeightsError(
            f"{FIELD} must be installed, got '{entry.id}', whose folder is missing. Install the app again."
        )
    path = fetch(entry.repo, entry.file, entry.revision, field=FIELD) if entry.file else entry.folder
    _refuse_other_checkpoints(entry, read_shapes(path, field=FIELD))
    like = catalog.find_base_model(catalog.STABLE_DIFFUSION)
    return _described(entry, fetch(like.repo, _CONFIGS, like.revision, field=FIELD), {"checkpoint": path})


def load_base(files: BaseFiles, device: str, dtype: torch.dtype) -> BaseParts:
    """Read a base model and put it on the device, frozen and in evaluation mode.

    Raises:
        WeightsError: A file does not hold what the configuration promises.
    """
    with _words_for_failure(files.entry):
        if "checkpoint" in files.paths:
            tokenizer, text_encoder, vae, unet = _read_checkpoint(files, dtype)
        else:
            tokenizer = CLIPTokenizer.from_pretrained(files.folder / "tokenizer", local_files_only=True)
            text_encoder = _read_component(CLIPTextModel, files, "text_encoder", dtype)
            vae = _read_component(AutoencoderKL, files, "vae", dtype)
            unet = _read_component(UNet2DConditionModel, files, "unet", dtype)
    for module in (text_encoder, vae, unet):
        module.requires_grad_(False).eval()
        require_finite(module.state_dict(), field=FIELD, name=files.entry.id)
        for tensor in (*module.parameters(), *module.buffers()):
            tensor.data = aligned(tensor.data)
        module.to(device)
    weights = {name: sha256_of(path) for name, path in files.paths.items()}
    return BaseParts(tokenizer, text_encoder, vae, unet, files.prediction_type, weights)


def _fetch_folder(entry: catalog.BaseModel) -> Path:
    """Fetch configurations and .safetensors weights; pickles only for a component that has no other."""
    folder = fetch(entry.repo, [*_CONFIGS, *_SAFE.values()], entry.revision, field=FIELD)
    lacking = [_PICKLED[name] for name, path in _SAFE.items() if not (folder / path).is_file()]
    return fetch(entry.repo, lacking, entry.revision, field=FIELD) if lacking else folder


def _component_paths(folder: Path) -> dict[str, Path]:
    choices = {name: (folder / _SAFE[name], folder / _PICKLED[name]) for name in _SAFE}
    return {name: next((path for path in both if path.is_file()), both[0]) for name, both in choices.items()}


def _described(entry: catalog.BaseModel, folder: Path, paths: dict[str, Path]) -> BaseFiles:
    """Read the configurations and headers, and refuse what is not Stable Diffusion 1.5 or not whole."""
    unet = _config(entry, folder / "unet" / "config.json")
    text_encoder = _config(entry, folder / "text_encoder" / "config.json")
    scheduler = _config(entry, folder / "scheduler" / "scheduler_config.json")
    kind = None
    if unet.get("_class_name") != "UNet2DConditionModel":
        kind = f"built on a {unet.get('_class_name')}"
    elif unet.get("addition_embed_type") or (folder / "text_encoder_2").exists():
        kind = "a Stable Diffusion XL model"
    elif unet.get("cross_attention_dim") == _SD2_WIDTH:
        kind = "a Stable Diffusion 2 model"
    elif unet.get("in_channels") != 4:
        kind = f"made for inpainting or editing (its UNet takes {unet.get('in_channels')} channels)"
    elif unet.get("cross_attention_dim") != text_encoder.get("hidden_size"):
        kind = "put together of parts that don't fit: its text encoder is not its UNet's"
    if kind:
        raise _wrong_kind(entry, kind)
    for path in paths.values():
        read_shapes(path, field=FIELD)
    return BaseFiles(entry, folder, paths, unet, str(scheduler.get("prediction_type", "epsilon")))


def _refuse_other_checkpoints(entry: catalog.BaseModel, shapes: Mapping[str, tuple[int, ...]]) -> None:
    first = shapes.get(f"{_UNET_PREFIX}input_blocks.0.0.weight", (0, 0))
    kinds = (
        (not _any_with(shapes, _UNET_PREFIX) and _any_with(shapes, "motion_modules."), "a motion module"),
        (_any_with(shapes, "lora_"), "a LoRA"),
        (not _any_with(shapes, _UNET_PREFIX), "no Stable Diffusion checkpoint"),
        (_any_with(shapes, "conditioner.embedders."), "a Stable Diffusion XL model"),
        (_any_with(shapes, "cond_stage_model.model."), "a Stable Diffusion 2 model"),
        (not _any_with(shapes, "cond_stage_model.transformer."), "a checkpoint without its text encoder"),
        (not _any_with(shapes, "first_stage_model."), "a checkpoint without its VAE"),
        (first[1] != 4, f"made for inpainting or editing (its UNet takes {first[1]} channels)"),
    )
    for is_so, kind in kinds:
        if is_so:
            raise _wrong_kind(entry, kind)


def _any_with(names: Iterable[str], part: str) -> bool:
    return any(part in name for name in names)


def _wrong_kind(entry: catalog.BaseModel, kind: str) -> WeightsError:
    return WeightsError(
        f"{FIELD} must be a Stable Diffusion 1.5 model, got '{entry.id}', which is {kind}. Choose another base model."
    )


def _config(entry: catalog.BaseModel, path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError) as err:
        raise WeightsError(
            f"{FIELD} must be a whole diffusers folder, got '{entry.id}', which has no readable "
            f"{path.parent.name}/{path.name}. Install it again or choose another."
        ) from err


def _read_component(kind: Any, files: BaseFiles, name: str, dtype: torch.dtype) -> Any:
    model, loading = kind.from_pretrained(
        files.folder / name,
        torch_dtype=dtype,
        use_safetensors=files.paths[name].suffix == ".safetensors",
        local_files_only=True,
        output_loading_info=True,
    )
    if loading["missing_keys"]:
        # Both libraries would fill what is missing with random numbers.
        raise ValueError(f"{name} lacks {sorted(loading['missing_keys'])[0]}")
    return model


def _read_checkpoint(files: BaseFiles, dtype: torch.dtype) -> tuple[Any, ...]:
    pipe = StableDiffusionPipeline.from_single_file(
        str(files.paths["checkpoint"]),
        config=str(files.folder),
        torch_dtype=dtype,
        local_files_only=True,
        safety_checker=None,
        requires_safety_checker=False,
    )
    return pipe.tokenizer, pipe.text_encoder, pipe.vae, pipe.unet


@contextmanager
def _words_for_failure(entry: catalog.BaseModel) -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError, SafetensorError) as err:
        raise WeightsError(
            f"{FIELD} must hold a whole Stable Diffusion 1.5 model, got '{entry.id}', whose weights are not what "
            "its configuration says. Download it again or choose another."
        ) from err
