"""Base models from their files into memory: tokenizers, text encoders, VAE and the UNet's weights."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors import SafetensorError
from transformers import CLIPTokenizer

from pipelines.base_models.builds import BUILDS, TextEncoder
from pipelines.base_models.files import FIELD, BaseFiles
from pipelines.errors import WeightsError
from pipelines.weights.digests import sha256_of
from pipelines.weights.reading import as_safetensors, read_model, settle


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


def load_base(files: BaseFiles, device: str, dtype: torch.dtype) -> BaseParts:
    """Read a base model and put it on the device, frozen and in evaluation mode.

    All of it is of the type asked for, but for a VAE that would overflow in float16: that is float32.

    Raises:
        WeightsError: A file does not hold what the configuration promises.
    """
    with _words_for_failure(files):
        read = _read_checkpoint if "checkpoint" in files.paths else _read_folder
        tokenizers, text_encoders, vae, unet = read(files, dtype)
    if files.vae_overflows and dtype == torch.float16:
        vae.to(torch.float32)
    for module in (*text_encoders, vae, unet):
        settle(module, device, field=FIELD, name=files.entry.id)
    weights = {name: sha256_of(path) for name, path in files.paths.items()}
    return BaseParts(tokenizers, text_encoders, vae, unet, weights)


def _read_folder(files: BaseFiles, dtype: torch.dtype) -> tuple[Any, ...]:
    """Tokenizers, text encoders, VAE, UNet."""
    classes = BUILDS[files.architecture].text_encoders
    tokenizers = tuple(
        CLIPTokenizer.from_pretrained(files.folder / name.replace("text_encoder", "tokenizer"), local_files_only=True)
        for name in classes
    )
    text_encoders = tuple(_read_component(kind, files, name, dtype) for name, kind in classes.items())
    vae = _read_component(AutoencoderKL, files, "vae", dtype)
    return tokenizers, text_encoders, vae, _read_component(UNet2DConditionModel, files, "unet", dtype)


def _read_component(kind: Any, files: BaseFiles, name: str, dtype: torch.dtype) -> Any:
    return read_model(kind, files.folder / name, files.paths[name], dtype)


def _read_checkpoint(files: BaseFiles, dtype: torch.dtype) -> tuple[Any, ...]:
    """Tokenizers, text encoders, VAE, UNet."""
    build = BUILDS[files.architecture]
    pipe = build.pipeline.from_single_file(
        str(as_safetensors(files.paths["checkpoint"], field=FIELD)),
        config=str(files.folder),
        torch_dtype=dtype,
        local_files_only=True,
        **build.pipeline_options,
    )
    text_encoders = tuple(getattr(pipe, name) for name in build.text_encoders)
    tokenizers = tuple(getattr(pipe, name.replace("text_encoder", "tokenizer")) for name in build.text_encoders)
    return tokenizers, text_encoders, pipe.vae, pipe.unet


@contextmanager
def _words_for_failure(files: BaseFiles) -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError, SafetensorError) as err:
        raise WeightsError(
            f"{FIELD} must hold a whole {BUILDS[files.architecture].label} model, got '{files.entry.id}', whose "
            "weights are not what its configuration says. Download it again or choose another."
        ) from err
