"""Motion-module files: where they are, whether they fit, and their tensors under diffusers' names.

Two formats hold the same weights: a diffusers `MotionAdapter` folder, and the single file AnimateDiff's
authors publish. What a file is, is decided by its tensors' names and shapes, never by its own name. Here
AnimateDiff v2 and v3 for Stable Diffusion 1.5 are read; other kinds are recognised and refused.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pipelines.catalog import MotionModule
from pipelines.errors import WeightsError
from pipelines.weights import aligned, fetch, read_shapes, read_weights

FIELD = "motion_module"
_CONFIG = "config.json"
_WEIGHTS = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")
_HEADS = 8  # of every published module; shapes do not tell it
_V1_POSITIONS = 24
_RENAMES = (
    (r"\.temporal_transformer\.", "."),
    (r"\.attention_blocks\.0\.pos_encoder\.", ".pos_embed."),
    (r"\.attention_blocks\.0\.", ".attn1."),
    (r"\.attention_blocks\.1\.", ".attn2."),
    (r"\.norms\.0\.", ".norm1."),
    (r"\.norms\.1\.", ".norm2."),
    (r"\.ff_norm\.", ".norm3."),
)
_POSITIONS = ".pos_embed.pe"
_SECOND_POSITIONS = ".attention_blocks.1.pos_encoder."  # the authors store the same table once more


@dataclass(frozen=True, slots=True)
class MotionFiles:
    """A motion module on this disk, looked at but not read.

    Args:
        entry: What was asked for.
        path: Its weights file.
        config: The arguments of diffusers' `MotionAdapter`.
    """

    entry: MotionModule
    path: Path
    config: dict[str, Any]

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of the blocks it moves, outermost first."""
        return tuple(self.config["block_out_channels"])

    @property
    def max_positions(self) -> int:
        """The longest window it can see, frames."""
        return int(self.config["motion_max_seq_length"])

    def read(self, dtype: torch.dtype) -> dict[str, torch.Tensor]:
        """The tensors under diffusers' names, on the CPU.

        Raises:
            WeightsError: The file is damaged or unsafe.
        """
        weights = read_weights(self.path, field=FIELD)
        return {new: aligned(weights[old].to(dtype)) for old, new in _names(weights).items()}


def locate_motion(entry: MotionModule) -> MotionFiles:
    """Fetch a motion module if need be, and find out what it is.

    Raises:
        WeightsError: It can't be had, is damaged, or is of a kind that is not supported.
    """
    if entry.source == "hub" and entry.file:
        path = fetch(entry.repo, entry.file, entry.revision, field=FIELD)
    elif entry.source == "hub":
        path = fetch(entry.repo, [_CONFIG, _WEIGHTS[0]], entry.revision, field=FIELD)
        if not (path / _WEIGHTS[0]).is_file():
            path = fetch(entry.repo, [_CONFIG, _WEIGHTS[1]], entry.revision, field=FIELD)
    else:
        path = entry.folder
    return _from_folder(entry, path) if path.is_dir() or not path.suffix else _from_file(entry, path)


def _from_folder(entry: MotionModule, folder: Path) -> MotionFiles:
    try:
        config = json.loads((folder / _CONFIG).read_text("utf-8"))
        kind = config["_class_name"]
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise WeightsError(
            f"{FIELD} must be a folder with a {_CONFIG} and weights, got '{entry.id}', which has no readable "
            f"{_CONFIG}. Install it again or choose another."
        ) from err
    path = next((folder / name for name in _WEIGHTS if (folder / name).is_file()), folder / _WEIGHTS[0])
    shapes = read_shapes(path, field=FIELD)
    if kind != "MotionAdapter":
        raise _unsupported(entry, f"a {kind}")
    _refuse_other_kinds(entry, shapes)
    return MotionFiles(entry, path, {key: value for key, value in config.items() if not key.startswith("_")})


def _from_file(entry: MotionModule, path: Path) -> MotionFiles:
    shapes = read_shapes(path, field=FIELD)
    _refuse_other_kinds(entry, shapes)
    return MotionFiles(entry, path, _config({new: shapes[old] for old, new in _names(shapes).items()}))


def _config(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """The arguments of `MotionAdapter`, read off the shapes of a module that passed `_refuse_other_kinds`."""
    return {
        "block_out_channels": _channels(shapes),
        "motion_layers_per_block": 1 + _highest(r"^down_blocks\.\d+\.motion_modules\.(\d+)\.", shapes),
        "motion_transformer_layers_per_block": 1 + _highest(r"\.transformer_blocks\.(\d+)\.", shapes),
        "motion_num_attention_heads": _HEADS,
        "motion_max_seq_length": _length(shapes),
        "use_motion_mid_block": any(name.startswith("mid_block.") for name in shapes),
    }


def _refuse_other_kinds(entry: MotionModule, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Say what a file is if it is anything but an AnimateDiff v2 or v3 module (or shaped like one)."""
    names = "\n".join(shapes)
    motion = {new: shapes[old] for old, new in _names(shapes).items()}
    kind = next((kind for mark, kind in _OTHER_KINDS if mark in names), None)
    if kind:
        raise _unsupported(entry, kind)
    if shapes.get("conv_in.weight", (0, 4))[1] != 4:
        raise _unsupported(entry, "PIA, which starts from a picture")
    if not any(name.startswith("down_blocks.0.motion_modules.0.proj_in.") for name in motion):
        raise _unsupported(entry, "a file without motion layers")
    length, has_mid = _length(motion), any(name.startswith("mid_block.") for name in motion)
    if length is None:
        raise _unsupported(entry, "a module without positions, such as AnimateLCM")
    if length == _V1_POSITIONS and len(_channels(motion)) > 3 and not has_mid:
        raise _unsupported(entry, "an AnimateDiff v1 module, which needs another norm in the whole model")


_OTHER_KINDS = (
    ("_lora.", "a LoRA"),
    ("lora_", "a LoRA"),
    ("controlnet_cond_embedding", "a SparseCtrl encoder"),
    ("img_encoder.", "AnimateLCM-I2V, which starts from a picture"),
    ("temporal_attentions.", "a HotShot-XL module"),
    ("model.diffusion_model.", "a base model"),
)


def _unsupported(entry: MotionModule, kind: str) -> WeightsError:
    return WeightsError(
        f"{FIELD} must be an AnimateDiff v2 or v3 module, got '{entry.id}', which is {kind}. "
        "Choose another motion module."
    )


def _names(keys: Mapping[str, object]) -> dict[str, str]:
    """Stored name -> diffusers' name, for the motion layers only; some files hold the UNet as well."""
    renamed = {}
    for key in keys:
        if ".motion_modules." in key and _SECOND_POSITIONS not in key:
            name = key
            for pattern, replacement in _RENAMES:
                name = re.sub(pattern, replacement, name)
            renamed[key] = name
    return renamed


def _channels(shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
    blocks = 1 + _highest(r"^down_blocks\.(\d+)\.", shapes)
    names = (f"down_blocks.{block}.motion_modules.0.proj_in.weight" for block in range(blocks))
    return tuple(shapes.get(name, (0,))[0] for name in names)


def _length(shapes: Mapping[str, tuple[int, ...]]) -> int | None:
    return next((shape[1] for name, shape in shapes.items() if name.endswith(_POSITIONS)), None)


def _highest(pattern: str, names: Mapping[str, object]) -> int:
    return max((int(match[1]) for name in names if (match := re.search(pattern, name))), default=-1)
