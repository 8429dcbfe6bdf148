"""Motion modules: AnimateDiff's temporal layers, computed as each family's authors do.

diffusers' own networks hold the weights; where their arithmetic differs from the authors' (arXiv:2307.04725 and
their code), a layer of ours takes a layer's place and its parts, so names, shapes and state dicts stay diffusers'.

- A motion module's GroupNorm takes statistics of each frame; diffusers takes the whole clip, 11 % off at
  the UNet's output.
- AnimateDiff v1 and HotShot-XL were trained with ResNet norms over the whole window; diffusers takes each
  frame, 45 % off.

One UNet holds every family of its architecture: it has motion layers in its middle block and places for 128
frames, and a module without middle layers leaves those idle. So another module is put in by handing over
tensors (`fill_motion_unet`), and nothing is built or compiled again, unless its table of positions is longer still.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import MotionAdapter, UNet2DConditionModel, UNetMotionModel
from diffusers.models.embeddings import SinusoidalPositionalEmbedding
from diffusers.models.resnet import ResnetBlock2D
from torch import nn

from pipelines.engine.cross_attention import TextAttention, cross_attentions
from pipelines.engine.interruptible import Pace, watch
from pipelines.engine.motion.files import FIELD, NORM_GROUPS, inspect_motion
from pipelines.engine.motion.layers import MotionModule, MotionState, WindowNorm, replace_motion_layers
from pipelines.plan.context import Frames, plan_inner_windows
from pipelines.plan.errors import WeightsError
from pipelines.plan.faults import Fault
from pipelines.plan.motion_families import MotionFamily
from pipelines.plan.request import GenerationRequest
from pipelines.plan.schedules import is_constant, values_at

PLACES = 128  # frames the one UNet has positions for: LongAnimateDiff's, the most of all published modules
_POSITIONS = ".pos_embed.pe"
_FIX = "Choose another motion module"


@dataclass(frozen=True, slots=True)
class LoadedMotionModule:
    """A motion module in memory.

    Args:
        adapter: Its weights, exactly as the file has them.
        family: How it must be run: window, noise schedule, sampler, steps, guidance, base architecture.
    """

    adapter: MotionAdapter
    family: MotionFamily


def load_motion_module(path: str | Path, *, dtype: torch.dtype | None = None) -> LoadedMotionModule:
    """Load a motion module of any public family and format.

    Args:
        path: A .safetensors, .ckpt, .pth, .pt or .bin file, or a diffusers folder.
        dtype: The number type to hold it in; as stored by default.

    Raises:
        WeightsError: It is missing, damaged, unsafe, not whole, or no motion module; the text says what it is.
    """
    files = inspect_motion(Path(path))
    return LoadedMotionModule(files.read(dtype), files.family)


def build_motion_unet(unet: UNet2DConditionModel, loaded: LoadedMotionModule) -> UNetMotionModel:
    """Join a base UNet and a motion module, sharing their tensors.

    Args:
        unet: Any UNet with as many blocks, layers and channels as the motion module was made for.
        loaded: The motion module.

    Returns:
        A frozen UNet that computes what the module's authors compute: latents [B, 4, F, h, w] and text
        states [B·F, T, D] in, a prediction [B, 4, F, h, w] out.

    Raises:
        WeightsError: The two don't fit.
    """
    made_for = tuple(loaded.adapter.config.block_out_channels)
    if made_for != tuple(unet.config.block_out_channels):
        raise WeightsError(
            Fault(
                code="motion_module.other_channels",
                field=FIELD,
                rule="fit the base model, which has blocks of {limit:s} channels",
                got=_listed(made_for),
                seen="one made for {got:s}",
                fix=_FIX,
                limit=_listed(unet.config.block_out_channels),
            )
        )
    fixed = dict(loaded.adapter.config) | {
        "use_motion_mid_block": True,
        "motion_max_seq_length": max(PLACES, loaded.adapter.config.motion_max_seq_length),
        "conv_in_channels": None,
    }
    try:
        with torch.device("meta"):
            spatial = UNet2DConditionModel.from_config(unet.config)
            adapter = MotionAdapter(**{key: value for key, value in fixed.items() if not key.startswith("_")})
            motion_unet = UNetMotionModel.from_unet2d(spatial, adapter, load_weights=False)
    except ValueError as err:
        raise WeightsError(
            Fault(
                code="motion_module.other_depth",
                field=FIELD,
                rule="fit the base model, which has {limit} layers a block",
                got="one made for another number of layers",
                fix=_FIX,
                limit=unet.config.layers_per_block,
            )
        ) from err
    state = MotionState(pace=Pace.of(motion_unet))
    watch(motion_unet)
    motion_unet.motion_state = state
    motion_unet.built_for = _architecture(unet, loaded)
    motion_unet.places = fixed["motion_max_seq_length"]
    replace_motion_layers(motion_unet, state)
    for layer in cross_attentions(motion_unet):
        layer.processor = TextAttention()
    for name, norm in _spatial_norms(motion_unet):
        motion_unet.set_submodule(name, WindowNorm(norm, state))
    motion_unet.register_forward_pre_hook(_before_call, with_kwargs=True)
    fill_motion_unet(motion_unet, unet, loaded)
    return motion_unet


def can_hold(motion_unet: UNetMotionModel, unet: UNet2DConditionModel, loaded: LoadedMotionModule) -> bool:
    """Tell whether `fill_motion_unet` would take these two."""
    has_places = loaded.adapter.config.motion_max_seq_length <= motion_unet.places
    return bool(has_places and motion_unet.built_for == _architecture(unet, loaded))


def fill_motion_unet(motion_unet: UNetMotionModel, unet: UNet2DConditionModel, loaded: LoadedMotionModule) -> None:
    """Put other tensors into a UNet of `build_motion_unet`, without copying.

    Args:
        motion_unet: The UNet to fill.
        unet: The base model's, of the same architecture as the one it was built from.
        loaded: A motion module of the same architecture.

    Raises:
        WeightsError: They don't fit; the UNet is of no use then until it is filled again.
    """
    motion = loaded.adapter.state_dict()
    weights = unet.state_dict()
    device, dtype = unet.device, unet.dtype
    if loaded.adapter.conv_in is not None:  # PIA's own channels beside the base model's four
        extra_channels = motion["conv_in.weight"][:, unet.config.in_channels :].to(device, dtype)
        weights["conv_in.weight"] = torch.cat([weights["conv_in.weight"], extra_channels], dim=1)
    # On the CPU wherever the rest is: ZeroGPU would pack what is expanded of it at full size.
    nothing = torch.zeros((), dtype=dtype)
    for name, place in motion_unet.state_dict().items():
        if name in weights:
            continue
        tensor = motion.get(name)
        if tensor is None:  # a middle block the module does not have: it is idle, costs no memory and no device
            weights[name] = nothing.expand(place.shape)
        elif name.endswith(_POSITIONS):
            weights[name] = _with_places(tensor, place.shape[1]).to(device, dtype)
        else:
            weights[name] = tensor.to(device, dtype)
    with torch.device("meta"):
        channels = weights["conv_in.weight"].shape[1]
        motion_unet.conv_in = nn.Conv2d(channels, unet.config.block_out_channels[0], 3, padding=1)
    try:
        motion_unet.load_state_dict(weights, strict=True, assign=True)
    except RuntimeError as err:
        raise WeightsError(
            Fault(
                code="motion_module.other_layers",
                field=FIELD,
                rule="fit the base model, which has the layers of its UNet",
                got="one made for other layers",
                fix=_FIX,
            )
        ) from err
    motion_unet.requires_grad_(False).eval()
    motion_unet.motion_state.spatial_norm = loaded.family.spatial_norm
    groups = _norm_groups(unet, loaded.adapter)
    for name, module in motion_unet.named_modules():
        if isinstance(module, MotionModule):
            module.norm.num_groups = groups
            module.is_idle = f"{name}.proj_out.weight" not in motion


def set_motion(unet: UNetMotionModel, request: GenerationRequest, clips: Sequence[Frames]) -> None:
    """Set the motion layers' options for the UNet's next call.

    Args:
        unet: One that `build_motion_unet` made.
        request: Its `motion_scale`, `motion_effect` and `inner_*` are read.
        clips: The frames of each window in the batch, all of one length; twice where it goes twice, as guided.
    """
    state = unet.motion_state
    state.scale, state.effect = (
        None if is_constant(keys, 1) else torch.tensor([values_at(keys, frames) for frames in clips])
        for keys in (request.motion_scale, request.motion_effect)
    )
    state.inner_windows = plan_inner_windows(request, len(clips[0]))


def _before_call(
    unet: UNetMotionModel, args: tuple[torch.Tensor, ...], kwargs: dict[str, object]
) -> tuple[tuple[torch.Tensor, ...], dict[str, object]]:
    """Note the window's length, and pad PIA's missing condition channels."""
    sample = args[0] if args else kwargs.pop("sample")
    assert isinstance(sample, torch.Tensor)
    unet.motion_state.num_frames = sample.shape[2]
    missing = unet.conv_in.in_channels - sample.shape[1]
    if missing > 0:
        sample = torch.cat([sample, sample.new_zeros(sample.shape[0], missing, *sample.shape[2:])], dim=1)
    return (sample, *args[1:]), kwargs


def _architecture(unet: UNet2DConditionModel, loaded: LoadedMotionModule) -> tuple[dict[str, object], ...]:
    """Describe the joint UNet's layers, positions and middle block excepted."""
    adapter = loaded.adapter.config
    motion = ("motion_layers_per_block", "motion_transformer_layers_per_block", "motion_num_attention_heads")
    spatial = {key: value for key, value in unet.config.items() if not key.startswith("_") and key != "sample_size"}
    return spatial, {key: adapter[key] for key in motion}


def _spatial_norms(unet: UNetMotionModel) -> list[tuple[str, nn.GroupNorm]]:
    """List the ResNets' norms and the last one, by name."""
    resnets = [name for name, module in unet.named_modules() if isinstance(module, ResnetBlock2D)]
    names = [f"{name}.{norm}" for name in resnets for norm in ("norm1", "norm2")]
    names += ["conv_norm_out"] * (unet.conv_norm_out is not None)
    return [(name, unet.get_submodule(name)) for name in names]


def _norm_groups(unet: UNet2DConditionModel, adapter: MotionAdapter) -> int:
    """Choose norm groups, which no file stores: 32, else the UNet's."""
    if any(channels % NORM_GROUPS for channels in unet.config.block_out_channels):
        return int(unet.config.norm_num_groups)
    return int(adapter.config.motion_norm_num_groups)


def _with_places(table: torch.Tensor, places: int) -> torch.Tensor:
    """Extend a position table to [1, places, C] by sinusoids."""
    length, channels = table.shape[1:]
    if length >= places:
        return table
    # By device and type: as "like that tensor", ZeroGPU's stand-in for CUDA would leave it on the CPU.
    further = SinusoidalPositionalEmbedding(channels, places).pe.to(table.device, table.dtype)
    return torch.cat([table, further[:, length:]], dim=1)


def _listed(channels: Sequence[int]) -> str:
    return ", ".join(map(str, channels))
