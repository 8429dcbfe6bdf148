"""Stages 4 and 5: the image UNet on single frames, then UNet and motion modules together on clips.

    python -m scripts.train_demo.diffusion image --checkpoint build/image.pt
    python -m scripts.train_demo.diffusion clip --checkpoint build/clip.pt --warm-start build/image.pt

v-prediction on AnimateDiff's linear betas (at this size the epsilon objective divides errors by
sqrt(alpha_bar) = 0.04 at the noisy end, and frames never clean up). The text encoder is frozen, as CLIP is
in SD 1.5. Clips are trained on random subsets of their frames at their true positions: neighbouring frames
say nearly the same, so fewer frames of more clips teach more a second; the last run uses all of them.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, MotionAdapter, UNet2DConditionModel, UNetMotionModel
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.attention_processor import Attention, AttnProcessor
from diffusers.models.embeddings import SinusoidalPositionalEmbedding
from diffusers.models.unets.unet_motion_model import AnimateDiffTransformer3D
from torch import nn
from transformers import CLIPTextModel, CLIPTokenizer

from pipelines.motion import MotionModule
from scripts.train_demo import trainer
from scripts.train_demo.captions import OPEN, caption, plain_caption
from scripts.train_demo.detect import read_clip
from scripts.train_demo.latents import reversed_scene
from scripts.train_demo.text import build_text_encoder, tokenize
from scripts.train_demo.vae import SIDE
from scripts.train_demo.world import CLIP_FRAMES, DIRECTIONS, MOTIONS, Scene, is_held_out, sample_scene

CHANNELS = (32, 96, 128)
GROUPS = 4
CAPTIONS_A_CLIP = 3
COMPASS_WEIGHT = 0.5
STILL_EVERY = 4  # of the clip stage's steps, the one that learns stills with the motion modules set aside
#: How often a clip of a motion is drawn. Changes of size and angle move few pixels and are learned last; clips
#: of "rotating" have no reversed twin in the corpus.
MOTION_WEIGHTS = {"growing": 2.0, "shrinking": 2.0, "rotating": 4.0}


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
    """A motion module that can stand aside, so that single frames train the plain image UNet."""

    aside = False

    def forward(self, hidden_states: torch.Tensor, *args: object, **kwargs: object) -> torch.Tensor:
        return hidden_states if TrainableMotionModule.aside else super().forward(hidden_states, *args, **kwargs)


class Compass(nn.Module):
    """Linear read-outs of the UNet's middle: which motion was told, and the pose it means at each frame.

    Direction is a product of two weak signals, a word and a frame's time, and neither lowers the denoising
    loss without the other; asked for directly they are found at once. Dropped by the export.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.motion = nn.Linear(channels, len(MOTIONS))
        self.pose = nn.Linear(channels, 4)
        # Per motion: sign of the way in x and y, of the growth, and of the turn.
        table = torch.zeros(len(MOTIONS), 4)
        for name, row in zip(MOTIONS, table, strict=True):
            row[:2] = torch.tensor(DIRECTIONS.get(name, (0, 0)))
            row[2] = {"growing": 1, "shrinking": -1}.get(name, 0)
            row[3] = float(name == "rotating")
        self.register_buffer("table", table, persistent=False)

    def forward(self, middle: torch.Tensor, motion: torch.Tensor, frames: torch.Tensor) -> torch.Tensor:
        """Loss of reading [B·F, C, h, w] for told motions [B] (OPEN where untold) at frames [F]."""
        told = motion != OPEN
        if not bool(told.any()):
            return middle.sum() * 0
        features = middle.float().mean(dim=(2, 3)).unflatten(0, (len(motion), len(frames)))[told]
        progress = (frames.to(middle.device) / (CLIP_FRAMES - 1) - 0.5) * 2
        pose = self.table[motion[told]][:, None] * progress[:, None]
        label = motion[told][:, None].expand(-1, len(frames)).flatten()
        named = nn.functional.cross_entropy(self.motion(features).flatten(0, 1), label)
        return named + (self.pose(features) - pose).pow(2).mean() * 4


class Corpus:
    """Latent clips of this process in memory, each with captions already encoded."""

    def __init__(
        self, folder: Path, plan: trainer.Budget, rank: int, text: tuple[CLIPTokenizer, CLIPTextModel]
    ) -> None:
        shards = sorted(folder.glob("*.npy"))[rank :: plan.processes]
        self.latents = torch.from_numpy(np.concatenate([np.load(shard) for shard in shards]))
        forwards = [Scene(**s) for shard in shards for s in json.loads(shard.with_suffix(".json").read_text())]
        samples = [(i, False, scene) for i, scene in enumerate(forwards)]
        samples += [(i, True, back) for i, scene in enumerate(forwards) if (back := reversed_scene(scene))]
        self.clip = torch.tensor([i for i, _, _ in samples])
        self.backwards = torch.tensor([back for _, back, _ in samples])
        rng = np.random.default_rng((plan.seed, rank, 4))
        told = [caption(rng, scene) for _ in range(CAPTIONS_A_CLIP) for _, _, scene in samples]
        texts = [text for text, _ in told]
        self.motion = torch.tensor([said["motion"] for _, said in told]).view(CAPTIONS_A_CLIP, len(samples))
        self.states = _encode_texts(*text, texts, plan.device).view(CAPTIONS_A_CLIP, len(samples), 77, -1)
        self.weights = torch.tensor([MOTION_WEIGHTS.get(scene.motion, 1.0) for _, _, scene in samples])
        self.device = plan.device

    def batch(self, count: int, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Latents [count, 4, F, h, w] at the given frames, text states [count, 77, D], told motions [count]."""
        chosen = self.weights.multinomial(count, replacement=True)
        order = torch.where(self.backwards[chosen][:, None], CLIP_FRAMES - 1 - frames, frames)
        latents = self.latents[self.clip[chosen][:, None], order].float().transpose(1, 2)
        which = torch.randint(CAPTIONS_A_CLIP, (count,))
        states, motion = self.states[which, chosen].float(), self.motion[which, chosen]
        return latents.to(self.device), states.to(self.device), motion.to(self.device)


@torch.no_grad()
def _encode_texts(tokenizer: CLIPTokenizer, encoder: CLIPTextModel, texts: list[str], device: str) -> torch.Tensor:
    states = [
        encoder.to(device)(tokenize(tokenizer, texts[i : i + 128]).to(device))[0].to("cpu", torch.bfloat16)
        for i in range(0, len(texts), 128)
    ]
    return torch.cat(states)


def load_text(checkpoint: Path, tokenizer_folder: Path) -> tuple[CLIPTokenizer, CLIPTextModel]:
    """Tokenizer and text encoder of stage 2, read-outs dropped."""
    tokenizer = CLIPTokenizer.from_pretrained(tokenizer_folder)
    trained = torch.load(checkpoint, weights_only=True)["ema"]
    own = "text_encoder."
    encoder = build_text_encoder(tokenizer)
    encoder.load_state_dict({name.removeprefix(own): value for name, value in trained.items() if name.startswith(own)})
    return tokenizer, encoder.eval()


def build_trainable(kind: str) -> nn.Module:
    """The network of a stage: "image" is the 2D UNet, "clip" the same with motion modules."""
    unet = build_image_unet()
    if kind == "clip":
        unet = UNetMotionModel.from_unet2d(unet, build_motion_adapter())
        for module in unet.modules():
            if isinstance(module, AnimateDiffTransformer3D):
                module.__class__ = TrainableMotionModule
            if isinstance(module, SinusoidalPositionalEmbedding):
                module.__class__ = FramePositions
        unet.compass = Compass(CHANNELS[-1])
    unet.set_attn_processor(AttnProcessor())  # SDPA's backward was 39 % of a CPU step
    return unet


def stage(rank: int, plan: trainer.Budget, args: argparse.Namespace) -> None:
    """Train one stage on the cached latents."""
    corpus = Corpus(args.latents, plan, rank, load_text(args.text, args.tokenizer))
    scheduler = build_scheduler()
    task = trainer.Trainer(build_trainable(args.kind), plan, rank)
    is_clip = args.kind == "clip"

    middle: list[torch.Tensor] = [torch.empty(0)]
    if is_clip:
        task.model.mid_block.register_forward_hook(lambda *call: middle.__setitem__(0, call[-1]))

    held = Held(args, plan, (16 if is_clip else 32)) if rank == 0 else None

    def loss(step: int) -> torch.Tensor:
        still = is_clip and step % STILL_EVERY == 0
        TrainableMotionModule.aside = still
        frames = _frames(1 if still or not is_clip else args.frames, only=args.middle)
        FramePositions.frames = frames
        aside: torch.Tensor | float = 0.0
        latents, text, motion = corpus.batch(plan.batch * (args.frames if still else 1), frames)
        noise = torch.randn_like(latents)
        t, blind = _times(len(latents), plan.device)
        noisy, target = scheduler.add_noise(latents, noise, t), scheduler.get_velocity(latents, noise, t)
        noisy = torch.where(blind[:, None, None, None, None], noise, noisy)
        if is_clip:
            found = task.model(noisy, t, text.repeat_interleave(len(frames), dim=0)).sample
            if not still:
                aside = COMPASS_WEIGHT * task.model.compass(middle[0], motion, frames)
        else:
            found = task.model(noisy[:, :, 0], t, text).sample[:, :, None]
        return (found.float() - target).pow(2).mean() + aside

    task.run(loss, score=lambda ema: held.score(ema, is_clip=is_clip) if held else "", every_s=args.score_every)


class Held:
    """A few held-out prompts, drawn with a short sampler and read back: the score of a stage."""

    def __init__(self, args: argparse.Namespace, plan: trainer.Budget, count: int) -> None:
        rng = np.random.default_rng(40_000)
        self.scenes: list[Scene] = []
        while len(self.scenes) < count:
            if is_held_out(scene := sample_scene(rng)):
                self.scenes.append(scene)
        texts = [plain_caption(scene) for scene in self.scenes]
        states = _encode_texts(*load_text(args.text, args.tokenizer), ["", *texts], plan.device).float()
        self.states = torch.cat([states[:1].expand(count, -1, -1), states[1:]]).to(plan.device)
        self.vae = AutoencoderKL.from_pretrained(args.latents.parent / "vae").eval()
        self.device = plan.device

    @torch.no_grad()
    def score(self, network: nn.Module, *, is_clip: bool, steps: int = 12, guidance_scale: float = 3.0) -> str:
        """Share of attributes read right."""
        TrainableMotionModule.aside, FramePositions.frames = False, torch.arange(CLIP_FRAMES)
        frames = CLIP_FRAMES if is_clip else 1
        scheduler = build_scheduler()
        scheduler.set_timesteps(steps)
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(len(self.scenes), 4, frames, SIDE // 8, SIDE // 8, generator=generator).to(self.device)
        text = self.states.repeat_interleave(frames, dim=0) if is_clip else self.states
        for t in scheduler.timesteps:
            both = torch.cat([x, x])
            with torch.autocast(self.device, torch.bfloat16):
                found = network(both if is_clip else both[:, :, 0], t, text).sample.float()
            negative, positive = (found if is_clip else found[:, :, None]).chunk(2)
            x = scheduler.step(negative + guidance_scale * (positive - negative), t, x).prev_sample
        latents = x.transpose(1, 2).flatten(0, 1).cpu() / self.vae.config.scaling_factor
        pixels = ((self.vae.decode(latents).sample.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
        clips = pixels.permute(0, 2, 3, 1).unflatten(0, (-1, frames)).numpy()
        readings = [read_clip(clip) for clip in clips]
        names = ("colour", "background", "shape") + (("motion",) if is_clip else ())
        return "  ".join(
            f"{name} {sum(getattr(r, name) == getattr(s, name) for r, s in zip(readings, self.scenes, strict=True))}"
            f"/{len(readings)}"
            for name in names
        )


def _times(count: int, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Timesteps [count], and which samples see pure noise instead of their noised latents.

    Sampling starts from pure noise, but even at the last timestep these betas leave a trace of the picture
    (SNR 0.0015), and over all cells and frames of a clip the trace tells where the shape is and which way it
    goes. A model that has learned to read it reads the starting noise instead of the words: colours came
    right, directions by chance. So a share of the samples, at the timesteps where samplers start, see
    nothing but noise and must believe the words, and a share more come from the noisy end. A fifth each taught
    the directions; once those stand, fewer leave more for outlines.
    """
    kind = torch.rand(count, device=device)
    anywhere, late, last = (torch.randint(low, 1000, (count,), device=device) for low in (0, 800, 900))
    blind = kind < 0.15
    return torch.where(blind, last, torch.where(kind < 0.25, late, anywhere)), blind


def _frames(count: int, *, only: int) -> torch.Tensor:
    """Sorted random frames out of the `only` middle ones."""
    return torch.randperm(only)[:count].sort().values + (CLIP_FRAMES - only) // 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=("image", "clip"))
    trainer.add_arguments(parser, minutes=30, batch=64, lr=1.5e-3)
    parser.add_argument("--frames", type=int, default=8, help="frames of each clip a step sees (clip stage)")
    parser.add_argument("--middle", type=int, default=CLIP_FRAMES, help="only this many frames around the middle")
    parser.add_argument("--score-every", type=float, default=240, help="seconds between scores")
    parser.add_argument("--latents", type=Path, default=Path("build/latents"))
    parser.add_argument("--text", type=Path, default=Path("build/text.pt"))
    parser.add_argument("--tokenizer", type=Path, default=Path("build/tokenizer"))
    args = parser.parse_args()
    trainer.launch(stage, trainer.budget(args), args)


if __name__ == "__main__":
    main()
