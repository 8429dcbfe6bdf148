"""The embedded model's networks while they are trained: the image UNet, its motion modules, and what reads them out."""

from pathlib import Path

import numpy as np
import torch
from diffusers import DDIMScheduler, MotionAdapter, UNet2DConditionModel, UNetMotionModel
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.attention_processor import Attention, AttnProcessor
from diffusers.models.embeddings import SinusoidalPositionalEmbedding
from diffusers.models.unets.unet_motion_model import AnimateDiffTransformer3D
from torch import nn

from pipelines.engine.motion.layers import MotionModule, MotionState
from scripts.train_demo.captions import OPEN
from scripts.train_demo.vae import SIDE
from scripts.train_demo.world import CAMERAS, CLIP_FRAMES, DIRECTIONS, MOTIONS, view

CHANNELS = (32, 96, 128)
GROUPS = 4


def build_scheduler() -> DDIMScheduler:
    """AnimateDiff's noise schedule, v-prediction."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="linear",
        clip_sample=False,
        steps_offset=1,
        prediction_type="v_prediction",
    )


def build_image_unet() -> UNet2DConditionModel:
    """SD 1.5's UNet in miniature; no attention on the widest level, where it costs most and says least."""
    levels = len(CHANNELS)
    return UNet2DConditionModel(
        sample_size=SIDE // 8,
        block_out_channels=CHANNELS,
        layers_per_block=1,
        down_block_types=("DownBlock2D",) + ("CrossAttnDownBlock2D",) * (levels - 1),
        up_block_types=("CrossAttnUpBlock2D",) * (levels - 1) + ("UpBlock2D",),
        cross_attention_dim=128,
        attention_head_dim=4,
        norm_num_groups=GROUPS,
    )


def build_motion_adapter() -> MotionAdapter:
    """A v2-style motion module (mid block, 32 positions) that starts as the identity."""
    adapter = MotionAdapter(
        block_out_channels=CHANNELS,
        motion_layers_per_block=1,
        motion_num_attention_heads=4,
        motion_norm_num_groups=GROUPS,
        motion_max_seq_length=32,
        use_motion_mid_block=True,
    )
    for name, parameter in adapter.named_parameters():
        if ".proj_out." in name:
            nn.init.zeros_(parameter)
    for module in adapter.modules():
        if isinstance(module, BasicTransformerBlock):
            look_at_yourself(module.attn2)
    return adapter


@torch.no_grad()
def look_at_yourself(attention: Attention) -> None:
    """Start an attention over time so that each frame sees itself and its neighbours, adding nothing yet.

    With torch's own start every frame sees the mean of all, so none learns its own time from the positions,
    and clips knew the axis of a motion but not its direction. Equal query and key weights make a frame's own
    position its best match.
    """
    width = attention.to_q.in_features
    attention.to_q.weight.normal_(0, (8 / width) ** 0.5)
    attention.to_k.weight.copy_(attention.to_q.weight)
    nn.init.zeros_(attention.to_out[0].weight)
    nn.init.zeros_(attention.to_out[0].bias)


class FramePositions(SinusoidalPositionalEmbedding):
    """Positions of the frames in the batch, so that a subset of a clip keeps its true times."""

    frames = torch.arange(CLIP_FRAMES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.pe[:, FramePositions.frames]


class TrainableMotionModule(MotionModule):
    """A motion module that can stand aside: all of them, so that single frames train the plain image UNet, or the
    middle one for a file of AnimateDiff v3's kind."""

    aside = False

    def forward(self, hidden_states: torch.Tensor, *args: object, **kwargs: object) -> torch.Tensor:
        return hidden_states if self.aside else super().forward(hidden_states, *args, **kwargs)


class Compass(nn.Module):
    """Linear read-outs of the UNet's middle: which movements of shape and camera were told, and the pose each
    means at each frame.

    Direction is a product of two weak signals, a word and a frame's time, and neither lowers the denoising
    loss without the other; asked for directly they are found at once. Dropped by the export.
    """

    def __init__(self, channels: int, motions: tuple[str, ...] = MOTIONS) -> None:
        super().__init__()
        self.motion, self.pose = nn.Linear(channels, len(motions)), nn.Linear(channels, 4)
        self.camera, self.camera_pose = nn.Linear(channels, len(CAMERAS)), nn.Linear(channels, 4)
        for which, names in (("ways", motions), ("views", CAMERAS)):
            self.register_buffer(which, torch.tensor([_way_of(name) for name in names]), persistent=False)

    def forward(self, middle: torch.Tensor, told: torch.Tensor, frames: torch.Tensor) -> torch.Tensor:
        """Loss of reading [B·F, C, h, w] at frames [F] for what was told [B, 2]: motion, camera (OPEN: nothing)."""
        pooled = middle.float().mean(dim=(2, 3)).unflatten(0, (len(told), len(frames)))
        progress = (frames.to(middle.device) / (CLIP_FRAMES - 1) - 0.5) * 2
        total = middle.sum() * 0
        for column, named, posed, table in (
            (told[:, 0], self.motion, self.pose, self.ways),
            (told[:, 1], self.camera, self.camera_pose, self.views),
        ):
            said = (column != OPEN)[:, None].expand(-1, len(frames)).flatten().float()
            label = column.clamp_min(0)
            pose = (table[label][:, None] * progress[:, None]).flatten(0, 1)
            names = label[:, None].expand(-1, len(frames)).flatten()
            error = nn.functional.cross_entropy(named(pooled).flatten(0, 1), names, reduction="none")
            error = error + (posed(pooled).flatten(0, 1) - pose).pow(2).mean(dim=1) * 4
            # A weighted mean even where nothing was said: every process must have the same gradients to average.
            total = total + (error * said).sum() / said.sum().clamp_min(1)
        return total


def _way_of(name: str) -> list[float]:
    """Signs of what a motion or a camera changes in the picture: x, y, size, angle."""
    x, y, zoom, roll = view(name, CLIP_FRAMES - 1)
    dx, dy = DIRECTIONS.get(name, (np.sign(x), np.sign(y)))
    size = {"growing": 1, "shrinking": -1}.get(name, np.sign(zoom - 1))
    return [float(sign) for sign in (dx, dy, size, 1 if name == "rotating" else np.sign(roll))]


def build_trainable(kind: str, motions: tuple[str, ...] = MOTIONS) -> nn.Module:
    """The network of a stage: "image" is the 2D UNet, "clip" the same with motion modules.

    `motions` are what the clip stage's captions may name.
    """
    unet = build_image_unet()
    if kind == "clip":
        unet = UNetMotionModel.from_unet2d(unet, build_motion_adapter())
        for name, module in [*unet.named_modules()]:
            if isinstance(module, AnimateDiffTransformer3D):
                unet.set_submodule(name, TrainableMotionModule(module, MotionState()))
            if isinstance(module, SinusoidalPositionalEmbedding):
                unet.set_submodule(name, FramePositions(*reversed(module.pe.shape[1:])))
        unet.compass = Compass(CHANNELS[-1], motions)
    unet.set_attn_processor(AttnProcessor())  # SDPA's backward was 39 % of a CPU step
    return unet


def load_clip(checkpoint: Path) -> nn.Module:
    """The network of the clip stage with the weights it ended with."""
    network = build_trainable("clip")
    weights = torch.load(checkpoint, map_location="cpu", weights_only=True)["ema"]
    own = network.compass.state_dict()  # what `unpack` writes has none; then it starts anew
    network.load_state_dict({f"compass.{name}": value for name, value in own.items()} | weights)
    return network
