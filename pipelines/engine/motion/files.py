"""Motion-module files: locate, check, and rename tensors to diffusers' names.

The same weights come as a diffusers `MotionAdapter` folder, as the single file AnimateDiff's authors publish,
and under the names of HotShot-XL and of training runs. What a file is, is decided by its tensors' names and
shapes; its missing, extra and misshapen tensors are told before anything is allocated.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from inspect import signature
from pathlib import Path

import torch
from diffusers import MotionAdapter
from diffusers.models.embeddings import SinusoidalPositionalEmbedding
from torch import nn

from pipelines.engine.weights.config_values import block_channels
from pipelines.engine.weights.downloads import fetch_entry
from pipelines.engine.weights.reading import (
    FOLDER_CONFIG,
    missing,
    not_whole,
    read_folder,
    read_metadata,
    read_shapes,
    read_weights,
    require_layout,
)
from pipelines.engine.weights.scaled import refuse_whole_numbers
from pipelines.plan.catalog_entries import MotionModule
from pipelines.plan.findings import Finding
from pipelines.plan.model_files.kinds import WeightsKind, tell_kind, wrong_kind
from pipelines.plan.motion_families import FAMILIES, MotionFamily
from pipelines.plan.motion_layout import (
    Shapes,
    count_blocks,
    count_positions,
    rename_motion,
    tell_family,
)

FIELD = "motion_module"
_POSITIONS = ".pos_embed.pe"
_MAKES_NONE = Finding("weights.makes_no_network", "its layers make no module")
#: What shapes can't tell, with every published module's value; a .safetensors header may say otherwise.
_HEADS, NORM_GROUPS = 8, 32


@dataclass(frozen=True, slots=True)
class MotionFiles:
    """A motion module on this disk, inspected but not read.

    Args:
        name: What to call it in messages.
        path: Its weights file.
        config: The arguments of diffusers' `MotionAdapter`.
        family: How it must be run.
    """

    name: str
    path: Path
    config: dict[str, object]
    family: MotionFamily

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of the blocks it moves, outermost first."""
        return block_channels(self.config, name=self.name, field=FIELD, file=FOLDER_CONFIG)

    def read(self, dtype: torch.dtype | None = None) -> MotionAdapter:
        """Read into a frozen `MotionAdapter` on the CPU; as stored by default.

        Raises:
            WeightsError: The file is damaged, unsafe, or holds NaN or infinity.
        """
        stored = read_weights(self.path, field=FIELD, dtype=dtype)
        weights = {new: stored[old] for old, new in rename_motion(stored).items()}
        refuse_whole_numbers(weights, field=FIELD, file=self.name)
        with torch.device("meta"):
            adapter = MotionAdapter(**self.config)
        weights |= absent_positions(adapter, weights)
        if adapter.conv_in is not None:
            weights |= {name: stored[name] for name in ("conv_in.weight", "conv_in.bias")}
        adapter.load_state_dict({name: weights[name] for name in adapter.state_dict()}, assign=True)
        return adapter.requires_grad_(False).eval()


def locate_motion(entry: MotionModule) -> MotionFiles:
    """Fetch a catalog's motion module if needed, and identify it.

    Raises:
        WeightsError: It can't be had, is damaged, or is no motion module.
    """
    files = inspect_motion(fetch_entry(entry, field=FIELD), name=entry.id)
    if entry.motion_family is None:
        return files
    return replace(files, family=replace(FAMILIES[entry.motion_family], max_positions=files.family.max_positions))


def inspect_motion(path: Path, *, name: str = "") -> MotionFiles:
    """Identify a file or diffusers folder without reading its tensors.

    Args:
        path: The file or folder.
        name: What to call it in messages; its own name by default.

    Raises:
        WeightsError: It is missing, damaged, no motion module, or lacks tensors or has too many.
    """
    name = name or path.name
    file, folder_config = path, None
    if path.is_dir() or not path.suffix:
        file, folder_config = read_folder(path, kind="MotionAdapter", what="a motion module", field=FIELD, name=name)
    stored, header = read_shapes(file, field=FIELD), read_metadata(file)
    kind = tell_kind(stored)
    if kind is not WeightsKind.MOTION_MODULE:
        raise wrong_kind(kind, field=FIELD, name=name)
    shapes = {new: stored[old] for old, new in rename_motion(stored).items()}
    family = tell_family(stored, header, file_name=file.name)
    try:
        config = _supported_arguments(folder_config) if folder_config else _config(shapes, header, family)
        if family.id == "pia":
            config["conv_in_channels"] = stored["conv_in.weight"][1]
    except KeyError as err:
        raise not_whole(missing(err), what="motion module", field=FIELD, name=name) from err
    except (IndexError, ValueError) as err:
        raise not_whole(_MAKES_NONE, what="motion module", field=FIELD, name=name) from err
    _require_whole(config, shapes, name)
    return MotionFiles(name, file, config, family)


def layout_of(model: nn.Module, stored: Shapes) -> dict[str, tuple[int, ...]]:
    """Map tensor names to shapes; without positions if `stored` has none."""
    layout = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    if count_positions(stored) is not None:
        return layout
    return {name: shape for name, shape in layout.items() if not name.endswith(_POSITIONS)}


def absent_positions(model: nn.Module, weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Build the position tables that a file leaves out, in its dtype."""
    dtype = next(iter(weights.values())).dtype
    return {
        name: SinusoidalPositionalEmbedding(place.shape[2], place.shape[1]).pe.to(dtype)
        for name, place in model.state_dict().items()
        if name.endswith(_POSITIONS) and name not in weights
    }


def _supported_arguments(config: Mapping[str, object]) -> dict[str, object]:
    """Keep the arguments that this diffusers' `MotionAdapter` has."""
    return {name: value for name, value in config.items() if name in signature(MotionAdapter.__init__).parameters}


def _config(shapes: Shapes, header: Mapping[str, str], family: MotionFamily) -> dict[str, object]:
    """Derive `MotionAdapter`'s arguments from shapes and the file's header."""
    channels = tuple(
        shapes.get(f"down_blocks.{block}.motion_modules.0.proj_in.weight", (0,))[0]
        for block in range(count_blocks(shapes))
    )
    return {
        "block_out_channels": channels,
        "motion_num_attention_heads": _parse_count(header.get("motion_num_attention_heads", _HEADS)),
        "motion_norm_num_groups": _parse_count(header.get("motion_norm_num_groups", math.gcd(NORM_GROUPS, *channels))),
        "motion_layers_per_block": 1 + _highest(r"^down_blocks\.\d+\.motion_modules\.(\d+)\.", shapes),
        "motion_transformer_layers_per_block": 1 + _highest(r"\.transformer_blocks\.(\d+)\.", shapes),
        "motion_max_seq_length": count_positions(shapes) or family.max_positions,
        "use_motion_mid_block": any(key.startswith("mid_block.") for key in shapes),
    }


def _parse_count(value: str | int) -> int:
    """Parse a header's number of heads or groups.

    Raises:
        ValueError: There can't be as many.
    """
    number = int(value)
    if number < 1:
        raise ValueError(value)
    return number


def _require_whole(config: dict[str, object], shapes: Shapes, name: str) -> None:
    """Compare a file with the module its shapes promise."""
    try:
        with torch.device("meta"):
            expected = layout_of(MotionAdapter(**config), shapes)
    except (ValueError, TypeError, ZeroDivisionError, RuntimeError, IndexError) as err:
        raise not_whole(_MAKES_NONE, what="motion module", field=FIELD, name=name) from err
    expected = {key: shape for key, shape in expected.items() if not key.startswith("conv_in.")}
    require_layout(shapes, expected, what="motion module", field=FIELD, name=name)


def _highest(pattern: str, names: Iterable[str]) -> int:
    return max((int(match[1]) for name in names if (match := re.search(pattern, name))), default=-1)
