"""Load base models: tokenizers, text encoders, VAE and the UNet's weights."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTokenizer

from pipelines.engine.base_models.builds import BUILDS, TextEncoder
from pipelines.engine.base_models.files import CHECKPOINT, FIELD, BaseFiles
from pipelines.engine.base_models.layouts import text_tensors, unet_tensors, vae_tensors
from pipelines.engine.base_models.networks import Renamer, Words, empty_network, fill_network, fit_tensors, meta_tensors
from pipelines.engine.base_models.single_files import UNET, VAE
from pipelines.engine.base_models.vae_files import vae_dtype
from pipelines.engine.weights.digests import sha256_of
from pipelines.engine.weights.reading import read_shapes, read_weights
from pipelines.plan.errors import WeightsError
from pipelines.plan.faults import Fault

Read = Callable[[Path, str], dict[str, Tensor]]
"""Tensors of a file whose names begin with a prefix, which is taken off."""


@dataclass(frozen=True, slots=True)
class BaseParts:
    """A base model in memory, ready for any motion module.

    Args:
        tokenizers, text_encoders: One of each, or two for Stable Diffusion XL.
        unet: Draws stills; its tensors are shared with the UNet that moves them.
        weights: File name in `BaseFiles.paths` -> sha256.
    """

    tokenizers: tuple[CLIPTokenizer, ...]
    text_encoders: tuple[TextEncoder, ...]
    vae: AutoencoderKL
    unet: UNet2DConditionModel
    weights: dict[str, str]


def check_base(files: BaseFiles) -> None:
    """Compare a base model's files with its configuration, without reading weights.

    Raises:
        WeightsError: A tensor is missing or misshapen, or a configuration makes no network.
    """
    shapes_by_path: dict[Path, dict[str, tuple[int, ...]]] = {}

    def read(path: Path, prefix: str) -> dict[str, Tensor]:
        if path not in shapes_by_path:
            shapes_by_path[path] = read_shapes(path, field=FIELD)
        return meta_tensors(shapes_by_path[path], prefix)

    for name in BUILDS[files.architecture].components:
        _match(files, name, read)


def load_base(files: BaseFiles, device: str, dtype: torch.dtype) -> BaseParts:
    """Load a base model to the device, frozen and in evaluation mode.

    All of it is of the type asked for, but for the VAE, which `vae_dtype` decides about.

    Raises:
        WeightsError: A file does not hold what the configuration promises, or holds NaN or infinity.
    """
    classes = BUILDS[files.architecture].text_encoders
    tokenizers = tuple(_tokenizer(files, name.replace("text_encoder", "tokenizer")) for name in classes)
    of_vae = vae_dtype(device, dtype, overflows=files.vae_overflows)
    networks = {name: _network(files, name, of_vae if name == "vae" else dtype).to(device) for name in files.configs}
    weights = {
        name if len(paths) == 1 else f"{name}_{number}": sha256_of(path)
        for name, paths in files.paths.items()
        for number, path in enumerate(paths, 1)
    }
    text_encoders: Any = tuple(networks[name] for name in classes)
    vae: Any = networks["vae"]
    unet: Any = networks["unet"]
    return BaseParts(tokenizers, text_encoders, vae, unet, weights)


def _network(files: BaseFiles, name: str, dtype: torch.dtype) -> nn.Module:
    def read(path: Path, prefix: str) -> dict[str, Tensor]:
        return read_weights(path, field=FIELD, dtype=dtype, prefix=prefix)

    network, tensors, words = _match(files, name, read)
    return fill_network(network, tensors, words)


def _match(files: BaseFiles, name: str, read: Read) -> tuple[nn.Module, dict[str, Tensor], Words]:
    """Build a component without memory, and its tensors under its own names."""
    build = BUILDS[files.architecture]
    kinds: dict[str, type[nn.Module]] = {**build.text_encoders, "unet": UNet2DConditionModel, "vae": AutoencoderKL}
    words = Words(f"{build.label} model", FIELD, files.entry.id)
    network = empty_network(kinds[name], files.configs[name], words)
    stored: dict[str, Tensor] = {}
    if name in files.paths:
        for path in files.paths[name]:
            stored |= read(path, "")
    else:
        prefixes = dict(zip(build.text_encoders, build.checkpoint_parts, strict=True)) | {"unet": UNET, "vae": VAE}
        stored = read(files.paths[CHECKPOINT][0], prefixes[name])
    return network, fit_tensors(network, stored, _key_converter(files, name), words), words


def _key_converter(files: BaseFiles, name: str) -> Renamer:
    if name == "vae":
        return vae_tensors
    if name == "unet":
        return unet_tensors if CHECKPOINT in files.paths else _keep_names
    return text_tensors


def _keep_names(stored: Mapping[str, Tensor], _: nn.Module) -> dict[str, Tensor]:
    return dict(stored)


def _tokenizer(files: BaseFiles, name: str) -> CLIPTokenizer:
    try:
        return CLIPTokenizer.from_pretrained(files.folder / name, local_files_only=True)
    except Exception as err:  # the library raises whatever it meets in four files of text
        raise WeightsError(
            Fault(
                code="base_model.part_unreadable",
                field=FIELD,
                rule="be a whole diffusers folder",
                got=files.entry.id,
                seen="'{got:s}', whose {part:s} can't be read",
                fix="Download it again or choose another",
                values={"part": name},
            )
        ) from err
