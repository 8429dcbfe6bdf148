"""LoRA and textual-inversion files: what a file is, and what it adds to which layer.

The same addition, ΔW = scale · up @ down, is published under half a dozen naming schemes. All of them are
brought to one: the layer's path in diffusers' model with `_` for `.`, as kohya's files have it.
`pipelines/lora/merged.py` finds those among the names of the model at hand, so there is no table of layers to keep
and nothing is matched by likeness. What a file is, is decided by its tensors' names and shapes alone.
"""

import json
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import torch

from pipelines.errors import WeightsError
from pipelines.weights.digests import sha256_of
from pipelines.weights.kinds import BELONGS, tell_kind
from pipelines.weights.reading import read_metadata, read_weights

FIELD = "lora"

_FACTOR = re.compile(
    r"(?P<layer>.+?)(?:[._]lora\.|\.lora_linear_layer\.|\.lora_)(?P<role>down|up|mid|A|B)(?:\.default)?\.weight"
)
_ALPHA = re.compile(r"(?P<layer>.+?)(?:[._]lora)?\.(?P<role>alpha)")
_ROLES = {"A": "down", "B": "up"}

_COMPONENTS = (  # how files begin the names of a component's layers; the longer one first
    ("lora_unet_", "unet"),
    ("unet_", "unet"),
    ("base_model_model_", "unet"),
    ("lora_te2_", "text_encoder_2"),
    ("text_encoder_2_", "text_encoder_2"),
    ("lora_te1_", "text_encoder"),
    ("lora_te_", "text_encoder"),
    ("text_encoder_", "text_encoder"),
)
_RENAMES = (
    ("_processor_", "_"),
    ("_temporal_transformer_", "_"),
    ("_attention_blocks_0_", "_attn1_"),
    ("_attention_blocks_1_", "_attn2_"),
)
_TEXT_RENAMES = tuple((f"_self_attn_to_{part}", f"_self_attn_{part}_proj") for part in ("q", "k", "v", "out"))
_FIRST_RELEASE_RESNET = {
    "in_layers_0": "norm1",
    "in_layers_2": "conv1",
    "emb_layers_1": "time_emb_proj",
    "out_layers_0": "norm2",
    "out_layers_3": "conv2",
    "skip_connection": "conv_shortcut",
}
_HEADER = "lora_adapter_metadata"
_UNREAD_SETTINGS = ("alpha_pattern", "use_rslora")
_MOTION = "_motion_modules_"

_UNSUPPORTED = (
    ("hada_", "a LoHa"),
    ("lokr_", "a LoKr"),
    ("dora_scale", "a DoRA"),
    ("lora_magnitude_vector", "a DoRA"),
    ("oft_", "an OFT"),
)


class LoraKind(StrEnum):
    """What a file changes. A v3 domain adapter and an LCM-LoRA are spatial ones."""

    MOTION = "motion"
    SPATIAL = "spatial"
    TEXTUAL_INVERSION = "textual_inversion"


@dataclass(frozen=True, slots=True)
class Factors:
    """What is added to one layer's weight at strength 1, as low-rank factors.

    Args:
        down: [r, in], or [r, in, kh, kw] of a convolution.
        up: [out, r], or [out, r, 1, 1].
        mid: [r, r, kh, kw] of a convolution whose `down` is 1×1 (LoCon with a core), else None.
        scale: alpha / r; 1 for files without alpha.
    """

    down: torch.Tensor
    up: torch.Tensor
    mid: torch.Tensor | None
    scale: float

    def fits(self, shape: torch.Size) -> bool:
        """Whether the addition has the shape of this weight; a 1×1 convolution is a matrix, too."""
        out, inside, *kernel = shape
        own = (self.down if self.mid is None else self.mid).shape[2:]
        return (self.up.shape[0], self.down.shape[1]) == (out, inside) and own.numel() == torch.Size(kernel).numel()

    def delta(self, device: torch.device) -> torch.Tensor:
        """ΔW in float32, [out, in] or [out, in · kh · kw]; with a core [out, in, kh, kw]."""
        up, down = (tensor.to(device, torch.float32).flatten(1) for tensor in (self.up, self.down))
        if self.mid is None:
            return self.scale * (up @ down)
        mid = self.mid.to(device, torch.float32)
        return self.scale * torch.einsum("op,pqhw,qi->oihw", up, mid, down)

    def pair(self, shape: torch.Size) -> tuple[torch.Tensor, torch.Tensor]:
        """Weights of two layers, float32, that one after the other do what ΔW does.

        Args:
            shape: Of the weight it is added to, [out, in] or [out, in, kh, kw].

        Returns:
            [r, in] and [out, r], or [r, in, kh, kw] and [out, r, 1, 1]; core and scale are in them.
        """
        up, down = (tensor.to(torch.float32).flatten(1) for tensor in (self.up, self.down))
        if self.mid is not None:
            down = torch.einsum("pqhw,qi->pihw", self.mid.to(torch.float32), down)
        return down.reshape(-1, *shape[1:]), (self.scale * up).view(*up.shape, *[1] * len(shape[2:]))


@dataclass(frozen=True, slots=True)
class Lora:
    """What one file adds.

    Args:
        name: The file's name, for people.
        layers: Component of the base model -> flattened layer name -> what is added to it.
        vectors: Of a textual inversion: text encoder -> what it puts in the place of words, [n, width].
        sha256: Of the file.
        unread: Names of tensors that are no part of a low-rank addition.
    """

    name: str
    kind: LoraKind
    layers: Mapping[str, Mapping[str, Factors]]
    vectors: Mapping[str, torch.Tensor]
    sha256: str
    unread: tuple[str, ...] = ()


def read_lora(path: Path) -> Lora:
    """Read a LoRA or textual inversion of any known format and say what it is.

    Raises:
        WeightsError: The file is damaged or unsafe, half of a pair is missing, or it is something else.
    """
    tensors = read_weights(path, field=FIELD)
    for mark, kind in _UNSUPPORTED:
        if any(mark in name for name in tensors):
            raise _refusal(path, kind, "Choose a plain LoRA or LoCon")
    parts, unread = _by_layer(tensors)
    digest = sha256_of(path)
    if parts:
        layers = _by_component(path, {layer: _factors(path, layer, found) for layer, found in parts.items()})
        is_motion = any(_MOTION in name for name in layers.get("unet", {}))
        return Lora(path.name, LoraKind.MOTION if is_motion else LoraKind.SPATIAL, layers, {}, digest, unread)
    if vectors := _vectors(tensors):
        return Lora(path.name, LoraKind.TEXTUAL_INVERSION, {}, vectors, digest)
    kind = tell_kind(tensors)
    raise _refusal(path, kind, BELONGS[kind])


def _by_layer(tensors: Mapping[str, torch.Tensor]) -> tuple[dict[str, dict[str, torch.Tensor]], tuple[str, ...]]:
    """Factors and alphas by the layer's name as stored, and the names of what is neither."""
    parts: dict[str, dict[str, torch.Tensor]] = defaultdict(dict)
    unread = []
    for name, tensor in tensors.items():
        if match := _FACTOR.fullmatch(name) or _ALPHA.fullmatch(name):
            parts[match["layer"]][_ROLES.get(match["role"], match["role"])] = tensor
        else:
            unread.append(name)
    return dict(parts), tuple(unread)


def _factors(path: Path, layer: str, parts: Mapping[str, torch.Tensor]) -> Factors:
    down, up, mid, alpha = (parts.get(role) for role in ("down", "up", "mid", "alpha"))
    if down is None or up is None or not _belong_together(down, up, mid) or (alpha is not None and alpha.numel() != 1):
        raise WeightsError(
            f"{FIELD} must hold both factors of every layer, got '{path.name}', where those of '{layer}' don't "
            "belong together. Download it again or choose another."
        )
    return Factors(down, up, mid, 1.0 if alpha is None else float(alpha) / down.shape[0])


def _belong_together(down: torch.Tensor, up: torch.Tensor, mid: torch.Tensor | None) -> bool:
    if down.ndim < 2 or up.ndim < 2 or up.shape[1] != down.shape[0] or up.numel() != up.shape[0] * up.shape[1]:
        return False
    rank = down.shape[0]
    return mid is None or (mid.ndim == 4 and mid.shape[:2] == (rank, rank) and down.numel() == rank * down.shape[1])


def _by_component(path: Path, layers: Mapping[str, Factors]) -> dict[str, dict[str, Factors]]:
    """Layers by component and flattened name, scaled as a diffusers file's header says, if it does."""
    found: dict[str, dict[str, Factors]] = defaultdict(dict)
    settings = _settings(path)
    for name, factors in layers.items():
        component, flat = _flattened(name)
        alpha = settings.get(f"{component}.lora_alpha")
        found[component][flat] = factors if alpha is None else replace(factors, scale=alpha / factors.down.shape[0])
    return dict(found)


def _settings(path: Path) -> dict[str, Any]:
    """How a diffusers file was trained, as "component.setting" -> value; empty if it does not say.

    Raises:
        WeightsError: It was trained with a scale of its own for each layer, which is not supported.
    """
    try:
        settings = json.loads(read_metadata(path, field=FIELD).get(_HEADER, "{}"))
    except ValueError:
        settings = None
    if not isinstance(settings, dict) or any(settings.get(f"unet.{name}") for name in _UNREAD_SETTINGS):
        raise _refusal(path, "one with a scale of its own for each layer", "Choose another file")
    return settings


def _flattened(name: str) -> tuple[str, str]:
    """Component and flattened name of a layer.

    Example:
        >>> _flattened("mid_block.motion_modules.0.temporal_transformer.proj_in")
        ('unet', 'mid_block_motion_modules_0_proj_in')
    """
    flat = name.replace(".", "_")
    prefix, component = next(((start, kind) for start, kind in _COMPONENTS if flat.startswith(start)), ("", "unet"))
    flat = flat.removeprefix(prefix)
    for old, new in _RENAMES if component == "unet" else _TEXT_RENAMES:
        flat = flat.replace(old, new)
    return component, _from_first_release(flat) if component == "unet" else flat.removeprefix("text_model_")


def _from_first_release(name: str) -> str:
    """A UNet layer's name from Stable Diffusion's first release in diffusers' terms; others as they are.

    There a block is three entries of one list, the third its down- or upsampler (two layers a block, as in
    Stable Diffusion 1.5 and XL).

    Example:
        >>> _from_first_release("input_blocks_4_1_proj_in"), _from_first_release("output_blocks_5_0_in_layers_2")
        ('down_blocks_1_attentions_0_proj_in', 'up_blocks_1_resnets_2_conv1')
    """
    if match := re.fullmatch(r"middle_block_([012])_(.+)", name):
        part, rest = ("resnets_0", "attentions_0", "resnets_1")[int(match[1])], match[2]
        return f"mid_block_{part}_{_FIRST_RELEASE_RESNET.get(rest, rest)}"
    if not (match := re.fullmatch(r"(input|output)_blocks_(\d+)_(\d)_(.+)", name)):
        return name
    side, index, part, rest = match[1], int(match[2]), match[3], match[4]
    if rest == "op":
        return f"down_blocks_{index // 3 - 1}_downsamplers_0_conv"
    if rest == "conv":
        return f"up_blocks_{index // 3}_upsamplers_0_conv"
    block, layer = divmod(index - (side == "input"), 3)
    kind = "resnets" if part == "0" else "attentions"
    rest = _FIRST_RELEASE_RESNET.get(rest, rest)
    return f"{'down' if side == 'input' else 'up'}_blocks_{block}_{kind}_{layer}_{rest}"


def _vectors(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The vectors of a textual inversion by text encoder; empty if it is none.

    It holds one tensor, whose name is a word (`emb_params`, `*`, `<my-cat>`) and no path, or one for each
    of Stable Diffusion XL's encoders.
    """
    if tensors.keys() == {"clip_l", "clip_g"}:
        named = {"text_encoder": tensors["clip_l"], "text_encoder_2": tensors["clip_g"]}
    elif len(tensors) == 1 and "." not in next(iter(tensors)):
        named = {"text_encoder": next(iter(tensors.values()))}
    else:
        return {}
    if any(tensor.ndim not in (1, 2) or not tensor.is_floating_point() for tensor in named.values()):
        return {}
    return {component: tensor.reshape(-1, tensor.shape[-1]) for component, tensor in named.items()}


def _refusal(path: Path, kind: str, remedy: str) -> WeightsError:
    return WeightsError(f"{FIELD} must be a LoRA or a textual inversion, got '{path.name}', which is {kind}. {remedy}.")
