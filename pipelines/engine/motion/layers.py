"""Motion layers, computed as each family's authors do.

They take over the parts of diffusers' own layers, so that names, shapes and state dicts stay diffusers'; the arithmetic
differs where the authors' does (arXiv:2307.04725 and their code).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.unets.unet_motion_model import AnimateDiffTransformer3D
from torch import nn

from pipelines.engine.interruptible import Pace
from pipelines.plan.choices import MotionNorm
from pipelines.plan.context import Window
from pipelines.plan.motion_families import SpatialNorm

MAX_ROWS = 65_535
"""Rows of one call of attention over time, the positions of all windows: CUDA's kernels have no larger grids."""


@dataclass
class MotionState:
    """State that one UNet's layers read in every call, set outside.

    Args:
        num_frames: Frames of the window; the UNet notes it itself at every call.
        norm: Whose arithmetic.
        spatial_norm: What ResNet norms see in the original's arithmetic.
        scale: Factors of the attention keys, [B, F] or None: how much the frames' times tell, so how much moves.
        effect: Factors of what motion layers add, [B, F] or None: how strongly the module acts at all.
        inner_windows: What attention over time sees at once, if not all frames.
        seen: The frames it is looking at; the motion modules note it themselves.
        clips: The windows of the batch it is looking at; noted likewise.
        pace: When its layers begin within a call.
    """

    num_frames: int = 1
    norm: MotionNorm = MotionNorm.ORIGINAL
    spatial_norm: SpatialNorm = SpatialNorm.PER_FRAME
    scale: torch.Tensor | None = None
    effect: torch.Tensor | None = None
    inner_windows: Sequence[Window] = ()
    seen: slice = field(default_factory=lambda: slice(None))
    clips: slice = field(default_factory=lambda: slice(None))
    pace: Pace = field(default_factory=Pace)


def replace_motion_layers(network: nn.Module, state: MotionState) -> None:
    """Put `MotionModule`s into the places of a network's motion layers."""
    for name, module in [*network.named_modules()]:
        if isinstance(module, AnimateDiffTransformer3D):
            network.set_submodule(name, MotionModule(module, state))


class MotionModule(nn.Module):
    """Motion module with per-frame norm, as its authors (or diffusers) do.

    Args:
        layers: diffusers' motion layers, whose parts it takes over.
        state: What it reads in every call.
    """

    def __init__(self, layers: AnimateDiffTransformer3D, state: MotionState) -> None:
        super().__init__()
        self.norm, self.proj_in = layers.norm, layers.proj_in
        self.transformer_blocks, self.proj_out = layers.transformer_blocks, layers.proj_out
        self.state, self.is_idle = state, False
        for block in self.transformer_blocks:
            for attention in (block.attn1, block.attn2):
                if attention is not None:  # SparseCtrl's layers have one
                    attention.to_k = ScaledKey(attention.to_k, state)

    def forward(
        self,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        timestep: torch.Tensor | None = None,
        class_labels: torch.Tensor | None = None,
        num_frames: int = 1,
        cross_attention_kwargs: dict[str, object] | None = None,
    ) -> torch.Tensor:
        """Attend over time at every position; [B·F, C, h, w]."""
        del encoder_hidden_states, timestep, class_labels, cross_attention_kwargs
        if self.is_idle:
            return hidden_states
        frames, channels, height, width = hidden_states.shape
        batch, area = frames // num_frames, height * width
        if self.state.norm is MotionNorm.DIFFUSERS:
            x = hidden_states.unflatten(0, (batch, num_frames)).transpose(1, 2)
            x = self.norm(x).permute(0, 3, 4, 2, 1)
        else:
            x = self.norm(hidden_states)
            x = x.view(batch, num_frames, channels, area).permute(0, 3, 1, 2)
        # Contiguous, for one clip too: of odd strides a linear layer of frozen weights copies them for every position.
        x = self.proj_in(x.reshape(batch * area, num_frames, channels).contiguous())
        x = self._over_time(x, batch)
        # Contiguous, for one clip too: else its odd strides go on through every layer that follows.
        x = self.proj_out(x).view(batch, area, num_frames, channels).permute(0, 2, 3, 1).contiguous()
        if self.state.effect is not None:
            x = x * self.state.effect.to(x.device, x.dtype)[:, :, None, None]
        return x.reshape(frames, channels, height, width) + hidden_states

    def _over_time(self, x: torch.Tensor, batch: int) -> torch.Tensor:
        """Run the transformer's blocks on [B·h·w, F, C], split if too large."""
        if len(x) <= MAX_ROWS:
            return self._through_blocks(x)
        parts = []
        try:
            for clip, rows in enumerate(x.chunk(batch)):
                self.state.clips = slice(clip, clip + 1)
                parts += [self._through_blocks(part) for part in rows.split(MAX_ROWS)]
        finally:
            self.state.clips = slice(None)
        return torch.cat(parts)

    def _through_blocks(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.transformer_blocks:
            x = _in_inner_windows(block, x, self.state) if self.state.inner_windows else block(x)
        return x


def _in_inner_windows(block: BasicTransformerBlock, x: torch.Tensor, state: MotionState) -> torch.Tensor:
    """Run a block whose attention sees inner windows; [B·h·w, F, C].

    What the inner windows make of a frame is averaged before the feed-forward layer, which sees one frame anyway.

    Source: window-based attention fusion of FreeNoise, arXiv:2310.15169.
    """
    mixed = torch.zeros_like(x, dtype=torch.float32)  # in bfloat16 the weights of a frame would not sum to 1
    for window in state.inner_windows:
        state.seen = slice(window.frame_indices[0], window.frame_indices[-1] + 1)
        part = x[:, state.seen]
        for norm, attention in ((block.norm1, block.attn1), (block.norm2, block.attn2)):
            if attention is None:  # SparseCtrl's layers have one
                continue
            part = attention(block.pos_embed(norm(part))) + part
        mixed[:, state.seen] += part * torch.tensor(window.weights, device=x.device)[:, None]
    state.seen = slice(None)
    x = mixed.to(x.dtype)
    return block.ff(block.norm3(x)) + x


class ScaledKey(nn.Linear):
    """Key projection of temporal attention, with a factor for each frame."""

    def __init__(self, key: nn.Linear, state: MotionState) -> None:
        super().__init__(key.in_features, key.out_features, bias=key.bias is not None, device="meta")
        self.weight, self.bias, self.state = key.weight, key.bias, state

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Project keys, [B·h·w, F, C] in and out."""
        return self.scaled(super().forward(x))

    def scaled(self, keys: torch.Tensor) -> torch.Tensor:
        """Scale keys [B·h·w, F, C] by each frame's factor."""
        if self.state.scale is None:
            return keys
        scale = self.state.scale[self.state.clips, self.state.seen].to(keys.device, keys.dtype)
        return (keys.unflatten(0, (len(scale), -1)) * scale[:, None, :, None]).flatten(0, 1)


class WindowNorm(nn.GroupNorm):
    """ResNet norm with statistics over the window, where trained so."""

    def __init__(self, norm: nn.GroupNorm, state: MotionState) -> None:
        super().__init__(norm.num_groups, norm.num_channels, norm.eps, norm.affine, device="meta")
        self.weight, self.bias, self.state = norm.weight, norm.bias, state

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise, [B·F, C, h, w] in and out."""
        state = self.state
        if state.spatial_norm is SpatialNorm.PER_FRAME or state.norm is MotionNorm.DIFFUSERS:
            return super().forward(x)
        clips = x.unflatten(0, (-1, state.num_frames)).transpose(1, 2)
        return super().forward(clips).transpose(1, 2).flatten(0, 1)
