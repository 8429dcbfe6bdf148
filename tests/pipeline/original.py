"""AnimateDiff as its authors compute it, for tests to compare with; it shares no code with the engine.

Written from the papers (arXiv:2307.04725, arXiv:2311.16933), the names in the published files and what is
known of the authors' norms. Where their UNet is Stable Diffusion's (convolutions, time embedding, attention
over space, down- and upsampling) the layers of a diffusers UNet are called; ResNet blocks and motion modules,
where the systems differ, and the walk through them are written out here.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from diffusers import UNet2DConditionModel
from torch import nn
from torch.nn import functional as F  # noqa: N812 - its usual name

Weights = dict[str, torch.Tensor]
GROUPS, HEADS = 32, 8  # of every published motion module
POSITIONS = 64  # places of a module that stores no positions


def motion_weights(
    channels: tuple[int, ...],
    *,
    positions: int | None = 32,
    mid_block: bool = False,
    is_encoder: bool = False,
    seed: int = 1,
) -> Weights:
    """A random motion module under the published names.

    Args:
        channels: Of the UNet's blocks.
        positions: Frames in its table of positions; None for a file that stores no table.
        mid_block: Whether it has layers in the UNet's middle, as v2 and AnimateLCM.
        is_encoder: SparseCtrl's: no layers on the way up, one attention a layer.
        seed: Of the random numbers.
    """
    places = [(f"down_blocks.{block}", layer, width) for block, width in enumerate(channels) for layer in range(2)]
    if mid_block:
        places.append(("mid_block", 0, channels[-1]))
    if not is_encoder:
        upwards = enumerate(reversed(channels))
        places += [(f"up_blocks.{block}", layer, width) for block, width in upwards for layer in range(3)]
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for block, layer, width in places:
        for name, shape in _module_layout(width, 1 if is_encoder else 2):
            weights[f"{block}.motion_modules.{layer}.temporal_transformer.{name}"] = random(shape, generator, name)
        for attention in range(0 if positions is None else 1 if is_encoder else 2):
            table = f"transformer_blocks.0.attention_blocks.{attention}.pos_encoder.pe"
            weights[f"{block}.motion_modules.{layer}.temporal_transformer.{table}"] = sinusoids(positions, width)
    return weights


def _module_layout(width: int, attentions: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of one motion module's tensors, positions excepted."""
    block = "transformer_blocks.0."
    linear = {"proj_in": (width, width), "proj_out": (width, width)}
    norms = ["norm", f"{block}ff_norm"]
    for i in range(attentions):
        norms.append(f"{block}norms.{i}")
        linear[f"{block}attention_blocks.{i}.to_out.0"] = (width, width)
        for projection in ("to_q", "to_k", "to_v"):
            yield f"{block}attention_blocks.{i}.{projection}.weight", (width, width)
    linear |= {f"{block}ff.net.0.proj": (8 * width, width), f"{block}ff.net.2": (width, 4 * width)}
    for name, shape in linear.items():
        yield f"{name}.weight", shape
        yield f"{name}.bias", shape[:1]
    for name in norms:
        yield f"{name}.weight", (width,)
        yield f"{name}.bias", (width,)


def random(shape: tuple[int, ...], generator: torch.Generator, name: str) -> torch.Tensor:
    """Weights that neither blow up nor fade, norms among them, so that no two can be mistaken."""
    noise = torch.randn(shape, generator=generator)
    if len(shape) > 1:
        return noise / math.sqrt(math.prod(shape[1:]))
    return noise * 0.3 + (1 if name.endswith("weight") else 0)


def sinusoids(positions: int, width: int) -> torch.Tensor:
    """The table of positions, [1, positions, width]: sines at even channels, cosines at odd ones."""
    angles = torch.arange(positions)[:, None] * 10000 ** (-torch.arange(0, width, 2) / width)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).reshape(1, positions, width)


def control_weights(channels: tuple[int, ...], kind: str, *, seed: int = 2) -> Weights:
    """What SparseCtrl has beside a UNet's encoder and motion layers: its way in, and a way out for each layer.

    Args:
        channels: Of the blocks.
        kind: "rgb" takes latents through one layer, "scribble" pixels through a network; both take a mask too.
        seed: Of the random numbers; the authors start the ways out at zero, where there is nothing to compare.
    """
    name = "controlnet_cond_embedding"
    layout = {name: (channels[0], 4 + 1, 3, 3)}
    if kind == "scribble":
        widths = (16, 32, 96, 256)
        layout = {f"{name}.conv_in": (widths[0], 3 + 1, 3, 3), f"{name}.conv_out": (channels[0], widths[-1], 3, 3)}
        for i, (width, wider) in enumerate(pairwise(widths)):
            layout[f"{name}.blocks.{2 * i}"] = (width, width, 3, 3)
            layout[f"{name}.blocks.{2 * i + 1}"] = (wider, width, 3, 3)
    ways_out = [channels[0]]
    for width in channels:
        ways_out += [width] * 3  # two layers and a downsampler
    layout |= {f"controlnet_down_blocks.{i}": (width, width, 1, 1) for i, width in enumerate(ways_out[:-1])}
    layout["controlnet_mid_block"] = (channels[-1], channels[-1], 1, 1)
    generator = torch.Generator().manual_seed(seed)
    return {
        f"{layer}.{part}": random(part_shape, generator, part)
        for layer, shape in layout.items()
        for part, part_shape in (("weight", shape), ("bias", shape[:1]))
    }


def base_unet(channels: tuple[int, ...], groups: int, *, seed: int = 0) -> UNet2DConditionModel:
    """A random Stable Diffusion UNet, norms not left at one and zero."""
    inner = len(channels) - 1
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet = UNet2DConditionModel(
            sample_size=16,
            block_out_channels=channels,
            down_block_types=("CrossAttnDownBlock2D",) * inner + ("DownBlock2D",),
            up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * inner,
            cross_attention_dim=24,
            attention_head_dim=8,
            norm_num_groups=groups,
        )
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in unet.named_parameters():
        tensor.data = random(tuple(tensor.shape), generator, name)
    return unet.requires_grad_(False).eval()


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    """The L2 norm of the difference over that of what is expected."""
    return float((found.double() - expected.double()).norm() / expected.double().norm())


@dataclass(frozen=True)
class Clip:
    """What all layers see beside their input: the embedded time [1, 4C], and the text once a frame [F, T, D]."""

    num_frames: int
    time: torch.Tensor
    text: torch.Tensor


@dataclass(frozen=True)
class Original:
    """The authors' UNet.

    Args:
        base: Holds the weights of its layers over space.
        motion: The motion module, under the published names.
        groups: Of the motion modules' norms.
        has_window_norms: Whether ResNet norms take statistics of all frames together (v1, HotShot-XL).
    """

    base: UNet2DConditionModel
    motion: Weights
    groups: int = GROUPS
    has_window_norms: bool = False

    @torch.no_grad()
    def predict(self, sample: torch.Tensor, timestep: int, text: torch.Tensor) -> torch.Tensor:
        """What the UNet says to latents [4, F, h, w] of one clip and a text [T, D]; shaped as the latents."""
        base, clip = self.base, self.clip(sample.shape[1], timestep, text)
        x, skips = self.down(base.conv_in(sample.transpose(0, 1)), clip)
        x = self.middle(x, clip)
        for i, block in enumerate(base.up_blocks):
            for j, resnet in enumerate(block.resnets):
                x = self.resnet(torch.cat([x, skips.pop()], dim=1), resnet, clip)
                x = self.attend_and_move(x, block, f"up_blocks.{i}", j, clip)
            for upsampler in block.upsamplers or ():
                x = upsampler(x)
        x = base.conv_out(F.silu(self.norm(x, base.conv_norm_out)))
        return x.transpose(0, 1)

    def clip(self, num_frames: int, timestep: int, text: torch.Tensor) -> Clip:
        time = self.base.time_embedding(self.base.time_proj(torch.tensor([timestep])))
        return Clip(num_frames, time, text.expand(num_frames, *text.shape))

    def down(self, x: torch.Tensor, clip: Clip) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Through the down blocks: their result, and what each layer hands to its counterpart."""
        skips = [x]
        for i, block in enumerate(self.base.down_blocks):
            for j, resnet in enumerate(block.resnets):
                x = self.resnet(x, resnet, clip)
                x = self.attend_and_move(x, block, f"down_blocks.{i}", j, clip)
                skips.append(x)
            for downsampler in block.downsamplers or ():
                x = downsampler(x)
                skips.append(x)
        return x, skips

    def middle(self, x: torch.Tensor, clip: Clip) -> torch.Tensor:
        """ResNet, attention, motion if the module has any here, ResNet."""
        block = self.base.mid_block
        x = self.resnet(x, block.resnets[0], clip)
        x = block.attentions[0](x, clip.text).sample
        weights = self._module("mid_block.motion_modules.0")
        if weights:
            x = motion_module(x, weights, groups=self.groups)
        return self.resnet(x, block.resnets[1], clip)

    def attend_and_move(self, x: torch.Tensor, block: nn.Module, name: str, layer: int, clip: Clip) -> torch.Tensor:
        """Attention over space, where the block has it, then the motion module of this layer."""
        if hasattr(block, "attentions"):
            x = block.attentions[layer](x, clip.text).sample
        return motion_module(x, self._module(f"{name}.motion_modules.{layer}"), groups=self.groups)

    def resnet(self, x: torch.Tensor, layers: nn.Module, clip: Clip) -> torch.Tensor:
        hidden = layers.conv1(F.silu(self.norm(x, layers.norm1)))
        hidden = hidden + layers.time_emb_proj(F.silu(clip.time))[:, :, None, None]
        hidden = layers.conv2(F.silu(self.norm(hidden, layers.norm2)))
        return hidden + (x if layers.conv_shortcut is None else layers.conv_shortcut(x))

    def norm(self, x: torch.Tensor, layer: nn.GroupNorm) -> torch.Tensor:
        if self.has_window_norms:
            return layer(x.transpose(0, 1)[None])[0].transpose(0, 1)  # [1, C, F, h, w]: statistics over F too
        return layer(x)

    def _module(self, prefix: str) -> Weights:
        start = f"{prefix}.temporal_transformer."
        return {name.removeprefix(start): tensor for name, tensor in self.motion.items() if name.startswith(start)}


@torch.no_grad()
def sparse_ctrl(
    encoder: Original,
    control: Weights,
    picture: torch.Tensor,
    mask: torch.Tensor,
    *,
    timestep: int,
    text: torch.Tensor,
) -> list[torch.Tensor]:
    """What SparseCtrl adds to a UNet's layers, outermost first, its middle last; all [F, C, h, w].

    Args:
        encoder: Its layers on the way down and in the middle, as of a UNet.
        control: Its further weights, as `control_weights` makes them.
        picture: [F, 4, h, w] latents or [F, 3, 8h, 8w] pixels; whatever, where the mask is zero.
        mask: One where a frame has a picture, of the picture's size with one channel.
        timestep: Of the diffusion.
        text: [T, D].
    """
    clip = encoder.clip(len(picture), timestep, text)
    x = _picture_in(torch.cat([picture, mask], dim=1), control)
    latents = torch.zeros(len(picture), 4, *x.shape[2:])  # it never sees the noise
    x, outputs = encoder.down(encoder.base.conv_in(latents) + x, clip)
    ways_out = [f"controlnet_down_blocks.{i}" for i in range(len(outputs))] + ["controlnet_mid_block"]
    outputs.append(encoder.middle(x, clip))
    return [_conv(output, control, name, padding=0) for name, output in zip(ways_out, outputs, strict=True)]


def _picture_in(x: torch.Tensor, control: Weights) -> torch.Tensor:
    name = "controlnet_cond_embedding"
    if f"{name}.weight" in control:
        return _conv(x, control, name)
    x = F.silu(_conv(x, control, f"{name}.conv_in"))
    for i in range(6):
        x = F.silu(_conv(x, control, f"{name}.blocks.{i}", stride=1 + i % 2))
    return _conv(x, control, f"{name}.conv_out")


def _conv(x: torch.Tensor, weights: Weights, name: str, *, stride: int = 1, padding: int = 1) -> torch.Tensor:
    return F.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], stride=stride, padding=padding)


def motion_module(x: torch.Tensor, weights: Weights, *, groups: int = GROUPS) -> torch.Tensor:
    """Attention over the frames at every place, added to the input; [F, C, h, w] in and out, one clip.

    Args:
        x: The frames.
        weights: Of one motion module, under the names that follow `temporal_transformer.`.
        groups: Of its norm, which takes statistics of each frame.
    """
    y = F.group_norm(x, groups, weights["norm.weight"], weights["norm.bias"], eps=1e-6)
    y = _linear(y.permute(2, 3, 0, 1), weights, "proj_in")  # [h, w, F, C]
    block = "transformer_blocks.0."
    for i in range(sum(name.endswith("to_q.weight") for name in weights)):
        y = y + _attention(_layer_norm(y, weights, f"{block}norms.{i}"), weights, f"{block}attention_blocks.{i}.")
    hidden = _layer_norm(y, weights, f"{block}ff_norm")
    value, gate = _linear(hidden, weights, f"{block}ff.net.0.proj").chunk(2, dim=-1)
    y = y + _linear(value * F.gelu(gate), weights, f"{block}ff.net.2")
    return x + _linear(y, weights, "proj_out").permute(2, 3, 0, 1)


def _attention(x: torch.Tensor, weights: Weights, prefix: str) -> torch.Tensor:
    """[h, w, F, C] in and out; the positions go to queries, keys and values alike."""
    num_frames, width = x.shape[2:]
    table = weights.get(f"{prefix}pos_encoder.pe", sinusoids(POSITIONS, width))
    x = x + table[0, :num_frames]
    query, key, value = (
        F.linear(x, weights[f"{prefix}{name}.weight"]).unflatten(-1, (HEADS, -1)).transpose(2, 3)
        for name in ("to_q", "to_k", "to_v")
    )
    shares = (query @ key.mT / math.sqrt(width // HEADS)).softmax(dim=-1)
    return _linear((shares @ value).transpose(2, 3).flatten(-2), weights, f"{prefix}to_out.0")


def _linear(x: torch.Tensor, weights: Weights, name: str) -> torch.Tensor:
    return F.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])


def _layer_norm(x: torch.Tensor, weights: Weights, name: str) -> torch.Tensor:
    return F.layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"])
