"""ControlNet files: locate, identify, and check against the base model.

The same weights come as a diffusers folder, as a single file with diffusers' names, and as the authors' file,
whose tensors are called `control_model.…`. A single file has no configuration: a ControlNet is a copy of one
half of its base model's UNet, so it is built like the base model, or refused.
"""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count, takewhile
from pathlib import Path

import torch
from diffusers import ControlNetModel, SparseControlNetModel
from diffusers.loaders.single_file_utils import convert_controlnet_checkpoint

from pipelines.engine.interruptible import watch
from pipelines.engine.weights.config_values import block_channels, text_width
from pipelines.engine.weights.downloads import fetch_entry
from pipelines.engine.weights.reading import (
    missing,
    not_whole,
    read_folder,
    read_shapes,
    read_weights,
    require_layout,
)
from pipelines.engine.weights.scaled import refuse_whole_numbers
from pipelines.plan.catalog_entries import ControlNet
from pipelines.plan.errors import WeightsError
from pipelines.plan.faults import Fault
from pipelines.plan.findings import Finding
from pipelines.plan.model_files.kinds import TEXT_WIDTHS, WeightsKind, tell_kind, wrong_kind
from pipelines.plan.motion_layout import Shapes

FIELD = "controls"
AnyControlNet = ControlNetModel | SparseControlNetModel
_PUBLISHED = ("control_model.", "input_hint_block.")
_FIRST_HINT = "controlnet_cond_embedding.conv_in.weight"
_HINT_CHANNELS = 3


@dataclass(frozen=True, slots=True)
class ControlFiles:
    """A ControlNet or SparseCtrl encoder on this disk, inspected but not read.

    Args:
        entry: What was asked for.
        path: Its weights file.
        kind: Which of the two it is.
        names: Tensor name in diffusers -> name in the file.
        shapes: Shapes by names in diffusers.
        config: Its configuration; None for a single file.
    """

    entry: ControlNet
    path: Path
    kind: WeightsKind
    names: dict[str, str]
    shapes: Shapes
    config: dict[str, object] | None


def locate_control(entry: ControlNet) -> ControlFiles:
    """Fetch a ControlNet or SparseCtrl encoder if needed, and identify it.

    Raises:
        WeightsError: It can't be had, is damaged, or is something else; the text says what.
    """
    path, config = fetch_entry(entry, field=FIELD), None
    if path.is_dir():
        path, config = _read_folder(path, entry)
    stored = read_shapes(path, field=FIELD)
    kind = tell_kind(stored)
    if kind not in (WeightsKind.CONTROLNET, WeightsKind.SPARSE_CTRL):
        raise wrong_kind(kind, field=FIELD, name=entry.id)
    names = {name: name for name in stored}
    if kind is WeightsKind.CONTROLNET and any(name.startswith(_PUBLISHED) for name in stored):
        names = {new: old for new, old in convert_controlnet_checkpoint(names, {"layers_per_block": 2}).items() if old}
    return ControlFiles(entry, path, kind, names, {new: stored[old] for new, old in names.items()}, config)


def refuse_other_base(files: ControlFiles, unet: Mapping[str, object], base: str) -> None:
    """Refuse a control of another base model, before reading its tensors.

    Args:
        unet: The configuration of the base model's UNet.
        base: What to call the base model.

    Raises:
        WeightsError: Its blocks, its text or its pictures are not of the size they must have.
    """
    channels, width = _channels(files), _text_width(files)
    base_channels, base_width = block_channels(unet, name=base), text_width(unet, name=base)
    if channels != base_channels or width not in (None, base_width):
        values = {"base": base, **_describe_blocks("wanted_", base_channels, base_width)}
        raise WeightsError(
            Fault(
                code="control.other_size",
                field=FIELD,
                rule="fit the base model '{base:s}' (blocks of {wanted_channels:s} channels, text of {wanted_text:s})",
                got=files.entry.id,
                seen="'{got:s}' (blocks of {channels:s} channels, text of {text:s})",
                fix="Choose a control model made for it",
                values=values | _describe_blocks("", channels, width),
            )
        )
    hint = files.shapes.get(_FIRST_HINT, (0, _HINT_CHANNELS))[1]
    latent = files.shapes.get("conv_in.weight", (0, unet["in_channels"]))[1]
    if files.kind is WeightsKind.CONTROLNET and (hint != _HINT_CHANNELS or latent != unet["in_channels"]):
        raise WeightsError(
            Fault(
                code="control.other_channels",
                field=FIELD,
                rule="follow pictures of {wanted_hint} channels beside latents of {wanted_latent}",
                got=files.entry.id,
                seen="'{got:s}' ({hint} and {latent})",
                fix="Choose another control model",
                values={
                    "wanted_hint": _HINT_CHANNELS,
                    "wanted_latent": unet["in_channels"],
                    "hint": hint,
                    "latent": latent,
                },
            )
        )


def load_control_net(
    files: ControlFiles, unet: Mapping[str, object], *, device: str, dtype: torch.dtype
) -> ControlNetModel:
    """Load a ControlNet to the device, frozen.

    Args:
        unet: The configuration of the base model's UNet, which a single file is built like.

    Raises:
        WeightsError: The file does not hold what it should.
    """
    words = {"what": "ControlNet", "field": FIELD, "name": files.entry.id}
    try:
        with torch.device("meta"):
            net = ControlNetModel.from_config(files.config or _config(files.shapes, unet))
    except KeyError as err:
        raise not_whole(missing(err), **words) from err
    except (ValueError, TypeError, ZeroDivisionError, RuntimeError) as err:
        raise not_whole(Finding("weights.makes_no_network", "its layers make no ControlNet"), **words) from err
    require_layout(files.shapes, {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}, **words)
    tensors = read_weights(files.path, field=FIELD, dtype=dtype)
    weights = {new: tensors[old] for new, old in files.names.items()}  # beside it the first release holds a whole model
    refuse_whole_numbers(weights, field=FIELD, file=files.entry.id)
    net.load_state_dict(weights, assign=True)
    watch(net)
    return net.requires_grad_(False).eval().to(device)


def _read_folder(folder: Path, entry: ControlNet) -> tuple[Path, dict[str, object]]:
    words = {"field": FIELD, "name": entry.id}
    try:
        return read_folder(folder, kind="ControlNetModel", what=str(WeightsKind.CONTROLNET), **words)
    except WeightsError as err:
        try:
            return read_folder(folder, kind="SparseControlNetModel", what=str(WeightsKind.SPARSE_CTRL), **words)
        except WeightsError:
            raise err from None


def _channels(files: ControlFiles) -> tuple[int, ...]:
    """Return the channels of its blocks, outermost first."""
    names = (f"down_blocks.{block}.resnets.0.conv1.weight" for block in count())
    channels = tuple(files.shapes[name][0] for name in takewhile(lambda name: name in files.shapes, names))
    if not channels:
        finding = Finding("control.no_blocks", "it has no blocks")
        raise not_whole(finding, what="ControlNet", field=FIELD, name=files.entry.id)
    return channels


def _text_width(files: ControlFiles) -> int | None:
    return next((shape[1] for name, shape in files.shapes.items() if name.endswith(".attn2.to_k.weight")), None)


def _config(shapes: Shapes, unet: Mapping[str, object]) -> dict[str, object]:
    """Derive `ControlNetModel`'s arguments for a single file."""
    parameters = inspect.signature(ControlNetModel.__init__).parameters
    widening = (f"controlnet_cond_embedding.blocks.{i}.weight" for i in count(1, 2))
    channels = [shapes[name][0] for name in takewhile(lambda name: name in shapes, widening)]
    return {name: value for name, value in unet.items() if name in parameters} | {
        "conditioning_channels": _HINT_CHANNELS,
        "conditioning_embedding_out_channels": [shapes[_FIRST_HINT][0], *channels],
    }


def _describe_blocks(prefix: str, channels: Sequence[int], text: int | None) -> dict[str, str]:
    """Describe a model's blocks and text for an error message."""
    family = f": {TEXT_WIDTHS[text]}" if text in TEXT_WIDTHS else ""
    return {f"{prefix}channels": ", ".join(map(str, channels)), f"{prefix}text": f"{text or 'any'}{family}"}
