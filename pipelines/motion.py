"""Motion modules: the temporal layers AnimateDiff adds to a UNet, computed as its authors do."""

import torch
from diffusers import UNetMotionModel
from diffusers.models.unets.unet_motion_model import AnimateDiffTransformer3D


class PerFrameMotionModule(AnimateDiffTransformer3D):
    """A motion module that normalises each frame on its own, as guoyww's code does.

    diffusers' `AnimateDiffTransformer3D` takes GroupNorm statistics over the whole clip, so a frame
    depends on the brightness of its neighbours and on the window length. Weights and state-dict keys
    are the same; only the class of an existing module is swapped (`set_motion_norm`).
    """

    def forward(
        self,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        timestep: torch.Tensor | None = None,
        class_labels: torch.Tensor | None = None,
        num_frames: int = 1,
        cross_attention_kwargs: dict[str, object] | None = None,
    ) -> torch.Tensor:
        """Attend over time at every position; [B·F, C, h, w] in and out."""
        del encoder_hidden_states, timestep, class_labels, cross_attention_kwargs
        frames, channels, height, width = hidden_states.shape
        batch, area = frames // num_frames, height * width
        x = self.norm(hidden_states)
        x = x.view(batch, num_frames, channels, area).permute(0, 3, 1, 2)
        x = self.proj_in(x.reshape(batch * area, num_frames, channels))
        for block in self.transformer_blocks:
            x = block(x)
        x = self.proj_out(x).view(batch, area, num_frames, channels).permute(0, 2, 3, 1)
        return x.reshape(frames, channels, height, width) + hidden_states


def set_motion_norm(unet: UNetMotionModel, *, per_frame: bool) -> UNetMotionModel:
    """Choose whose GroupNorm the motion modules use, in place: the authors' (per frame) or diffusers'."""
    kind = PerFrameMotionModule if per_frame else AnimateDiffTransformer3D
    for module in unet.modules():
        if isinstance(module, AnimateDiffTransformer3D):
            module.__class__ = kind
    return unet
