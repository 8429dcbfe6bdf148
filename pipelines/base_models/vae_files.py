"""VAEs of their own: full ones and tiny ones, from diffusers folders and single files.

A tiny one (TAESD) has the same latents and a twentieth of the work.
"""

import json
from pathlib import Path
from typing import TypeAlias

import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from safetensors import SafetensorError

from pipelines import catalog
from pipelines.base_models.architecture import Architecture
from pipelines.base_models.builds import BUILDS
from pipelines.catalog_entries import Vae
from pipelines.errors import WeightsError
from pipelines.weights.downloads import fetch, fetch_folder
from pipelines.weights.kinds import WeightsKind, tell_kind, wrong_kind
from pipelines.weights.reading import (
    FOLDER_CONFIG,
    as_safetensors,
    read_model,
    read_shapes,
    settle,
    weights_in,
)

FIELD = "vae"
AnyVae: TypeAlias = AutoencoderKL | AutoencoderTiny
_CLASSES = {"AutoencoderKL": AutoencoderKL, "AutoencoderTiny": AutoencoderTiny}
_LATENT_CHANNELS = 4
_LIKE = "vae"  # the folder in the base model whose VAE single files are like


def locate_vae(entry: Vae, architecture: Architecture) -> Path:
    """Fetch a VAE if need be, and look at what it is; the folder or single file it lies in.

    Raises:
        WeightsError: It can't be had, is damaged, or is none that fits.
    """
    path = _fetch(entry)
    if path.is_dir():
        _refuse_other_folders(entry, path)
        read_shapes(weights_in(path), field=FIELD)
        return path
    kind = tell_kind(read_shapes(path, field=FIELD))
    if kind is not WeightsKind.VAE:
        raise wrong_kind(kind, field=FIELD, name=entry.id)
    _like_folder(architecture)
    return path


def load_vae(
    entry: Vae, path: Path, architecture: Architecture, *, device: str, dtype: torch.dtype
) -> tuple[AnyVae, Path]:
    """Read a VAE and put it on the device, frozen; the file its weights are in comes with it.

    It is of the type asked for, unless it would overflow in float16: then it is float32.

    Raises:
        WeightsError: A file does not hold what the configuration promises.
    """
    try:
        vae = _from_folder(path, dtype) if path.is_dir() else _from_file(path, architecture, dtype)
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError, SafetensorError) as err:
        raise WeightsError(
            f"{FIELD} must hold a whole VAE, got '{entry.id}', whose weights are not what its configuration says. "
            "Download it again or choose another."
        ) from err
    if dtype == torch.float16 and _overflows(path, architecture):
        vae.to(torch.float32)
    settle(vae, device, field=FIELD, name=entry.id)
    return vae, weights_in(path) if path.is_dir() else path


def _fetch(entry: Vae) -> Path:
    if entry.source != "hub":
        return entry.folder
    if entry.file:
        return fetch(entry.repo, entry.file, entry.revision, field=FIELD)
    return fetch_folder(entry.repo, entry.revision, field=FIELD)


def _refuse_other_folders(entry: Vae, folder: Path) -> None:
    try:
        config = json.loads((folder / FOLDER_CONFIG).read_text("utf-8"))
        kind, channels = config["_class_name"], config.get("latent_channels", _LATENT_CHANNELS)
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise WeightsError(
            f"{FIELD} must be a folder with a {FOLDER_CONFIG} and weights, got '{entry.id}', which has no readable "
            f"{FOLDER_CONFIG}. Install it again or choose another."
        ) from err
    if kind not in _CLASSES or channels != _LATENT_CHANNELS:
        raise WeightsError(
            f"{FIELD} must be made for {_LATENT_CHANNELS} latent channels, got '{entry.id}', a {kind} of {channels}. "
            "Choose another VAE."
        )


def _overflows(path: Path, architecture: Architecture) -> bool:
    """Whether its configuration says so; the library takes its silence for a yes."""
    folder = path if path.is_dir() else _like_folder(architecture)
    return bool(json.loads((folder / FOLDER_CONFIG).read_text("utf-8")).get("force_upcast", False))


def _like_folder(architecture: Architecture) -> Path:
    """The folder that describes single files: the VAE of the base model they are like."""
    like = catalog.find_base_model(BUILDS[architecture].configs)
    return fetch(like.repo, [f"{_LIKE}/{FOLDER_CONFIG}"], like.revision, field=FIELD) / _LIKE


def _from_folder(folder: Path, dtype: torch.dtype) -> AnyVae:
    kind = json.loads((folder / FOLDER_CONFIG).read_text("utf-8"))["_class_name"]
    vae: AnyVae = read_model(_CLASSES[kind], folder, weights_in(folder), dtype)
    return vae


def _from_file(path: Path, architecture: Architecture, dtype: torch.dtype) -> AnyVae:
    return AutoencoderKL.from_single_file(
        str(as_safetensors(path, field=FIELD)),
        config=str(_like_folder(architecture)),
        torch_dtype=dtype,
        local_files_only=True,
    )
