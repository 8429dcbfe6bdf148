"""Rename tensors of published checkpoint layouts to diffusers' and transformers' names.

The converters are diffusers' own; what they know nothing of is here: text encoders without `text_model.`, and the
names that VAEs had in 2022.
"""

import re
from collections.abc import Mapping

from diffusers.loaders.single_file_utils import (
    LDM_UNET_KEY,
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
    convert_open_clip_checkpoint,
)
from torch import Tensor, nn

_TEXT = "text_model."
_OLD_VAE = {r"\.query\.": ".to_q.", r"\.key\.": ".to_k.", r"\.value\.": ".to_v.", r"\.proj_attn\.": ".to_out.0."}
_DIFFUSERS_VAE = ("encoder.down_blocks.", "decoder.up_blocks.")
_ATTENTION = re.compile(r"\.attentions\.\d+\.(to_[qkv]|to_out\.0)\.weight$")


def unet_tensors(stored: Mapping[str, Tensor], unet: nn.Module) -> dict[str, Tensor]:
    """Rename a single file's UNet tensors, without prefix, to diffusers' names."""
    return _drop_missing(convert_ldm_unet_checkpoint({f"{LDM_UNET_KEY}{k}": v for k, v in stored.items()}, unet.config))


def vae_tensors(stored: Mapping[str, Tensor], vae: nn.Module) -> dict[str, Tensor]:
    """Rename a VAE's tensors, without prefix, to diffusers' current names."""
    if not any(name.startswith(_DIFFUSERS_VAE) for name in stored):
        return _drop_missing(convert_ldm_vae_checkpoint(dict(stored), vae.config))
    renamed = {}
    for name, tensor in stored.items():
        for old, new in _OLD_VAE.items():
            name = re.sub(old, new, name)
        is_convolution = _ATTENTION.search(name) and tensor.ndim > 2
        renamed[name] = tensor.flatten(1) if is_convolution else tensor
    return renamed


def text_tensors(stored: Mapping[str, Tensor], encoder: nn.Module) -> dict[str, Tensor]:
    """Rename a CLIP text encoder's tensors to transformers' names."""
    if "positional_embedding" in stored:
        return _drop_missing(convert_open_clip_checkpoint(encoder, dict(stored), prefix=""))
    expected = encoder.state_dict().keys()
    prefix = _TEXT if any(name.startswith(_TEXT) for name in expected) else ""
    bare = {name.removeprefix(_TEXT): tensor for name, tensor in stored.items()}
    return {name if name in expected else f"{prefix}{name}": tensor for name, tensor in bare.items()}


def _drop_missing(converted: Mapping[str, Tensor | None]) -> dict[str, Tensor]:
    """Drop the tensors that a converter looked for in vain."""
    return {name: tensor for name, tensor in converted.items() if tensor is not None}
