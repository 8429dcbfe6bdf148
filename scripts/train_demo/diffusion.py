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
from diffusers import AutoencoderKL, DDIMScheduler, MotionAdapter, SchedulerMixin, UNet2DConditionModel, UNetMotionModel
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.attention_processor import Attention, AttnProcessor
from diffusers.models.embeddings import SinusoidalPositionalEmbedding
from diffusers.models.unets.unet_motion_model import AnimateDiffTransformer3D
from torch import nn
from transformers import CLIPTextModel, CLIPTokenizer

from pipelines.motion import MotionModule
from scripts.train_demo import trainer
from scripts.train_demo.captions import OPEN, caption, plain_caption
from scripts.train_demo.detect import CameraReading, Reading, read_camera, read_clip
from scripts.train_demo.latents import reversed_scene
from scripts.train_demo.text import build_text_encoder, tokenize
from scripts.train_demo.vae import SIDE
from scripts.train_demo.world import CAMERAS, CLIP_FRAMES, DIRECTIONS, MOTIONS, Scene, is_held_out, sample_scene, view

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

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.motion, self.pose = nn.Linear(channels, len(MOTIONS)), nn.Linear(channels, 4)
        self.camera, self.camera_pose = nn.Linear(channels, len(CAMERAS)), nn.Linear(channels, 4)
        for which, names in (("ways", MOTIONS), ("views", CAMERAS)):
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


class Corpus:
    """Latent clips of this process in memory, each with captions already encoded.

    With a `camera` it holds clips of that camera alone, whose captions don't speak of it.
    """

    def __init__(
        self,
        folder: Path,
        plan: trainer.Budget,
        rank: int,
        text: tuple[CLIPTokenizer, CLIPTextModel],
        *,
        camera: str | None = None,
    ) -> None:
        shards = sorted(folder.glob("*.npy"))[rank :: plan.processes]
        self.latents = torch.from_numpy(np.concatenate([np.load(shard) for shard in shards]))
        forwards = [Scene(**s) for shard in shards for s in json.loads(shard.with_suffix(".json").read_text())]
        samples = [(i, False, scene) for i, scene in enumerate(forwards)]
        samples += [(i, True, back) for i, scene in enumerate(forwards) if (back := reversed_scene(scene))]
        samples = [sample for sample in samples if camera in (None, sample[2].camera)]
        self.clip = torch.tensor([i for i, _, _ in samples])
        self.backwards = torch.tensor([back for _, back, _ in samples])
        rng = np.random.default_rng((plan.seed, rank, 4))
        told = [caption(rng, scene, camera=camera is None) for _ in range(CAPTIONS_A_CLIP) for _, _, scene in samples]
        texts = [text for text, _ in told]
        meant = None if camera is None else CAMERAS.index(camera)
        moves = torch.tensor([(said["motion"], said["camera"] if meant is None else meant) for _, said in told])
        self.told = moves.view(CAPTIONS_A_CLIP, len(samples), 2)
        self.states = encode_texts(*text, texts, plan.device).view(CAPTIONS_A_CLIP, len(samples), 77, -1)
        self.weights = torch.tensor([MOTION_WEIGHTS.get(scene.motion, 1.0) for _, _, scene in samples])
        self.device = plan.device

    def batch(self, count: int, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Latents [count, 4, F, h, w] at the given frames, text states [count, 77, D], and told [count, 2]: motion
        and camera."""
        chosen = self.weights.multinomial(count, replacement=True)
        order = torch.where(self.backwards[chosen][:, None], CLIP_FRAMES - 1 - frames, frames)
        latents = self.latents[self.clip[chosen][:, None], order].float().transpose(1, 2)
        which = torch.randint(CAPTIONS_A_CLIP, (count,))
        states, told = self.states[which, chosen].float(), self.told[which, chosen]
        return latents.to(self.device), states.to(self.device), told.to(self.device)


@torch.no_grad()
def encode_texts(tokenizer: CLIPTokenizer, encoder: CLIPTextModel, texts: list[str], device: str) -> torch.Tensor:
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


def load_clip(checkpoint: Path) -> nn.Module:
    """The network of the clip stage with the weights it ended with."""
    network = build_trainable("clip")
    # What `unpack` writes has no compass; then it starts anew.
    network.load_state_dict(torch.load(checkpoint, map_location="cpu", weights_only=True)["ema"], strict=False)
    return network


def stage(rank: int, plan: trainer.Budget, args: argparse.Namespace) -> None:
    """Train one stage on the cached latents."""
    corpus = Corpus(args.latents, plan, rank, load_text(args.text, args.tokenizer))
    scheduler = build_scheduler()
    task = trainer.Trainer(build_trainable(args.kind), plan, rank)
    is_clip = args.kind == "clip"

    middle = Middle(task.model) if is_clip else None
    scenes = held_out_scenes(24 if is_clip else 32)
    held = Held(scenes, [plain_caption(scene) for scene in scenes], args, plan.device) if rank == 0 else None

    def loss(step: int) -> torch.Tensor:
        still = is_clip and step % STILL_EVERY == 0
        TrainableMotionModule.aside = still
        frames = random_frames(1 if still or not is_clip else args.frames, only=args.middle)
        FramePositions.frames = frames
        latents, text, told = corpus.batch(plan.batch * (args.frames if still else 1), frames)
        noisy, t, target = make_noisy(latents, scheduler)
        if not is_clip:
            found = task.model(noisy[:, :, 0], t, text).sample[:, :, None]
            return (found.float() - target).pow(2).mean()
        found = task.model(noisy, t, text.repeat_interleave(len(frames), dim=0)).sample
        error = (found.float() - target).pow(2).mean()
        return error if still else error + COMPASS_WEIGHT * task.model.compass(middle.features, told, frames)

    task.run(loss, score=lambda ema: held.score(ema, is_clip=is_clip) if held else "", every_s=args.score_every)


class Middle:
    """What the UNet's middle put out last, for the compass to read."""

    def __init__(self, unet: nn.Module) -> None:
        self.features = torch.empty(0)
        unet.mid_block.register_forward_hook(self._keep)

    def _keep(self, module: nn.Module, inputs: object, output: torch.Tensor) -> None:
        del module, inputs
        self.features = output


class Held:
    """A few held-out prompts, drawn with a short sampler and read back: the score of a stage.

    Args:
        scenes: What should be seen.
        texts: What is said of each.
        args: The stage's paths.
    """

    def __init__(self, scenes: list[Scene], texts: list[str], args: argparse.Namespace, device: str) -> None:
        self.scenes = scenes
        states = encode_texts(*load_text(args.text, args.tokenizer), ["", *texts], device).float()
        self.states = torch.cat([states[:1].expand(len(texts), -1, -1), states[1:]]).to(device)
        self.vae = AutoencoderKL.from_pretrained(args.latents.parent / "vae").eval()
        self.device = device

    @torch.no_grad()
    def score(
        self,
        network: nn.Module,
        *,
        is_clip: bool,
        steps: int = 12,
        guidance_scale: float = 3.0,
        sampler: SchedulerMixin | None = None,
    ) -> str:
        """Share of attributes read right; DDIM unless another sampler is given, its timesteps set."""
        TrainableMotionModule.aside, FramePositions.frames = False, torch.arange(CLIP_FRAMES)
        frames = CLIP_FRAMES if is_clip else 1
        scheduler = sampler or build_scheduler()
        if not sampler:
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
        pairs = list(zip(readings, self.scenes, strict=True))
        told = [_share(name, pairs) for name in ("colour", "background", "shape", "ground")]
        if is_clip:
            told.append(_share("motion", [pair for pair in pairs if pair[1].camera == "still"]))
            views = zip(clips, self.scenes, strict=True)
            told.append(_share("camera", [(read_camera(c), s) for c, s in views if s.camera != "still"]))
        return "  ".join(told)


def held_out_scenes(count: int) -> list[Scene]:
    """Scenes never trained on: two in three plain under a still camera, the others spotted under a moving one."""
    rng = np.random.default_rng(40_000)
    scenes: list[Scene] = []
    while len(scenes) < count:
        camera = CAMERAS[1 + len(scenes) % 8] if len(scenes) % 3 == 2 else "still"
        ground = "plain" if camera == "still" else "spotted"
        if is_held_out(scene := sample_scene(rng, ground=ground, camera=camera)):
            scenes.append(scene)
    return scenes


def _share(name: str, pairs: list[tuple[Reading | CameraReading, Scene]]) -> str:
    return f"{name} {sum(getattr(seen, name) == getattr(scene, name) for seen, scene in pairs)}/{len(pairs)}"


def make_noisy(latents: torch.Tensor, scheduler: DDIMScheduler) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Noised latents [B, 4, F, h, w], their timesteps [B], and the velocity to predict."""
    noise = torch.randn_like(latents)
    t, blind = _times(len(latents), latents.device)
    noisy = torch.where(blind[:, None, None, None, None], noise, scheduler.add_noise(latents, noise, t))
    return noisy, t, scheduler.get_velocity(latents, noise, t)


def _times(count: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
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


def random_frames(count: int, *, only: int = CLIP_FRAMES) -> torch.Tensor:
    """Sorted random frames out of the `only` middle ones."""
    return torch.randperm(only)[:count].sort().values + (CLIP_FRAMES - only) // 2


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what every stage on latent clips is told."""
    parser.add_argument("--frames", type=int, default=6, help="frames of each clip a step sees (clip stages)")
    parser.add_argument("--score-every", type=float, default=240, help="seconds between scores")
    parser.add_argument("--latents", type=Path, default=Path("build/latents"))
    parser.add_argument("--text", type=Path, default=Path("build/text.pt"))
    parser.add_argument("--tokenizer", type=Path, default=Path("build/tokenizer"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=("image", "clip"))
    trainer.add_arguments(parser, minutes=30, batch=64, lr=1.5e-3)
    add_data_arguments(parser)
    parser.add_argument("--middle", type=int, default=CLIP_FRAMES, help="only this many frames around the middle")
    args = parser.parse_args()
    trainer.launch(stage, trainer.budget(args), args)


if __name__ == "__main__":
    main()
