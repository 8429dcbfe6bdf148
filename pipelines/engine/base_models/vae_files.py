"""Separate VAEs, full or tiny, from diffusers folders and single files.

A tiny one (TAESD) has the same latents and a twentieth of the work.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from torch import Tensor, nn

from pipelines.engine.base_models.builds import BUILDS
from pipelines.engine.base_models.layouts import vae_tensors
from pipelines.engine.base_models.networks import Words, empty_network, fill_network, fit_tensors, meta_tensors
from pipelines.engine.weights.downloads import fetch, fetch_entry
from pipelines.engine.weights.reading import FOLDER_CONFIG, no_config, read_shapes, read_weights, weights_in
from pipelines.plan import catalog
from pipelines.plan.architecture import Architecture
from pipelines.plan.catalog_entries import Vae
from pipelines.plan.errors import WeightsError
from pipelines.plan.faults import Fault
from pipelines.plan.model_files.kinds import WeightsKind, tell_kind, wrong_kind

FIELD = "vae"
AnyVae: TypeAlias = AutoencoderKL | AutoencoderTiny
_CLASSES = {"AutoencoderKL": AutoencoderKL, "AutoencoderTiny": AutoencoderTiny}
_LATENT_CHANNELS = 4
_LIKE = "vae"  # the folder in the base model whose VAE single files are like
_PREFIX = "first_stage_model."


def vae_dtype(device: str, dtype: torch.dtype, *, overflows: bool) -> torch.dtype:
    """Choose the number type that a VAE computes in.

    Bfloat16 has too few digits for pictures: 52 dB beside float32 where float16 has 64
    (docs/decisions/0007-vae-in-float16.md).

    Args:
        device: Where it computes, as torch spells it.
        dtype: What everything else computes in.
        overflows: Its activations leave the range of float16.
    """
    is_half = dtype is not torch.float32 and device != "cpu"  # CPUs compute float16 several times slower than float32
    return torch.float16 if is_half and not overflows else torch.float32


def locate_vae(entry: Vae, architecture: Architecture) -> Path:
    """Fetch a VAE if needed and check it; return its path.

    Raises:
        WeightsError: It can't be had, is damaged, or is none that fits.
    """
    path = fetch_entry(entry, field=FIELD)
    file = weights_in(path) if path.is_dir() else path
    if path.is_dir():
        _refuse_other_folders(entry, path)
    shapes = read_shapes(file, field=FIELD)
    if path == file:
        kind = tell_kind(name.removeprefix(_PREFIX) for name in shapes)
        if kind is not WeightsKind.VAE:
            raise wrong_kind(kind, field=FIELD, name=entry.id)
    _match(entry, path, architecture, meta_tensors(shapes, _find_prefix(shapes)))
    return path


def load_vae(
    entry: Vae, path: Path, architecture: Architecture, *, device: str, dtype: torch.dtype
) -> tuple[AnyVae, Path]:
    """Load a VAE to the device, frozen, with its weights file.

    Its type is what `vae_dtype` makes of the one asked for.

    Raises:
        WeightsError: A file does not hold what the configuration promises.
    """
    file = weights_in(path) if path.is_dir() else path
    overflows = bool(_config(path, architecture).get("force_upcast", False))
    of_vae = vae_dtype(device, dtype, overflows=overflows)
    prefix = _find_prefix(read_shapes(file, field=FIELD))
    stored = read_weights(file, field=FIELD, dtype=of_vae, prefix=prefix)
    network, tensors, words = _match(entry, path, architecture, stored)
    vae: Any = fill_network(network, tensors, words).to(device)
    return vae, file


def _match(
    entry: Vae, path: Path, architecture: Architecture, stored: Mapping[str, Tensor]
) -> tuple[nn.Module, dict[str, Tensor], Words]:
    """Build the VAE without memory, and its tensors under its own names."""
    config = _config(path, architecture)
    kind = _CLASSES[str(config["_class_name"])]
    words = Words("VAE", FIELD, entry.id)
    network = empty_network(kind, config, words)
    return network, fit_tensors(network, stored, vae_tensors if kind is AutoencoderKL else _keep_names, words), words


def _keep_names(stored: Mapping[str, Tensor], _: nn.Module) -> dict[str, Tensor]:
    return dict(stored)


def _find_prefix(names: Mapping[str, object]) -> str:
    """Return the tensor prefix in a file cut out of a model."""
    return _PREFIX if any(name.startswith(_PREFIX) for name in names) else ""


def _refuse_other_folders(entry: Vae, folder: Path) -> None:
    try:
        config = json.loads((folder / FOLDER_CONFIG).read_text("utf-8"))
        kind, channels = config["_class_name"], config.get("latent_channels", _LATENT_CHANNELS)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as err:
        raise no_config(FIELD, entry.id) from err
    if kind not in _CLASSES or channels != _LATENT_CHANNELS:
        raise WeightsError(
            Fault(
                code="vae.other_channels",
                field=FIELD,
                rule="be made for {limit} latent channels",
                got=entry.id,
                seen="'{got:s}', a {class_name:s} of {channels:s}",
                fix="Choose another VAE",
                limit=_LATENT_CHANNELS,
                values={"class_name": str(kind), "channels": str(channels)},
            )
        )


def _config(path: Path, architecture: Architecture) -> dict[str, object]:
    """Read a folder's configuration, or the reference VAE's for single files."""
    folder = path if path.is_dir() else _like_folder(architecture)
    return dict(json.loads((folder / FOLDER_CONFIG).read_text("utf-8")))


def _like_folder(architecture: Architecture) -> Path:
    """Fetch the configuration of the reference VAE that describes single files."""
    like = catalog.find_base_model(BUILDS[architecture].configs)
    return fetch(like.repo, [f"{_LIKE}/{FOLDER_CONFIG}"], like.revision, field=FIELD) / _LIKE
