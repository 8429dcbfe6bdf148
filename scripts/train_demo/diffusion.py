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
from diffusers import AutoencoderKL, DDIMScheduler, SchedulerMixin
from torch import nn
from transformers import CLIPTextModel, CLIPTokenizer

from scripts.train_demo import trainer
from scripts.train_demo.captions import caption, plain_caption
from scripts.train_demo.detect import CameraReading, Reading, read_camera, read_clip
from scripts.train_demo.latents import reversed_scene
from scripts.train_demo.networks import (
    FramePositions,
    TrainableMotionModule,
    build_scheduler,
    build_trainable,
)
from scripts.train_demo.sampling import decode_clips, sample_latents
from scripts.train_demo.text import build_text_encoder, tokenize
from scripts.train_demo.world import CAMERAS, CLIP_FRAMES, Scene, is_held_out, sample_scene

CAPTIONS_A_CLIP = 3
COMPASS_WEIGHT = 0.5
STILL_EVERY = 4  # of the clip stage's steps, the one that learns stills with the motion modules set aside
#: How often a clip of a motion is drawn. Changes of size and angle move few pixels and are learned last; clips
#: of "rotating" have no reversed twin in the corpus.
MOTION_WEIGHTS = {"growing": 2.0, "shrinking": 2.0, "rotating": 4.0}


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


def stage(rank: int, plan: trainer.Budget, args: argparse.Namespace) -> None:
    """Train one stage on the cached latents."""
    corpus = Corpus(args.latents, plan, rank, load_text(args.text, args.tokenizer))
    scheduler = build_scheduler()
    task = trainer.Trainer(build_trainable(args.kind), plan, rank)
    is_clip = args.kind == "clip"
    scenes = held_out_scenes(24 if is_clip else 32)
    held = Held(scenes, [plain_caption(scene) for scene in scenes], args, plan.device) if rank == 0 else None

    def still(_: int) -> torch.Tensor:
        TrainableMotionModule.aside = True
        frames = random_frames(1, only=args.middle)
        FramePositions.frames = frames
        latents, text, _told = corpus.batch(plan.batch * (args.frames if is_clip else 1), frames)
        noisy, t, target = make_noisy(latents, scheduler)
        found = task.model(noisy if is_clip else noisy[:, :, 0], t, text).sample
        return (found.float().view_as(target) - target).pow(2).mean()

    moving = clip_loss(task, corpus, args.frames, only=args.middle) if is_clip else still

    def loss(step: int) -> torch.Tensor:
        return still(step) if step % STILL_EVERY == 0 else moving(step)

    task.run(loss, score=lambda ema: held.score(ema, is_clip=is_clip) if held else "", every_s=args.score_every)


def clip_loss(task: trainer.Trainer, corpus: Corpus, num_frames: int, *, only: int = CLIP_FRAMES) -> trainer.Loss:
    """The loss of every stage that learns clips: the velocity of some of their frames, and the compass."""
    scheduler = build_scheduler()
    middle = Middle(task.model)

    def loss(_: int) -> torch.Tensor:
        TrainableMotionModule.aside = False
        frames = random_frames(num_frames, only=only)
        FramePositions.frames = frames
        latents, text, told = corpus.batch(task.plan.batch, frames)
        noisy, t, target = make_noisy(latents, scheduler)
        found = task.model(noisy, t, text.repeat_interleave(len(frames), dim=0)).sample
        error = (found.float() - target).pow(2).mean()
        return error + COMPASS_WEIGHT * task.model.compass(middle.features, told, frames)

    return loss


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
        scheduler = sampler or build_scheduler()
        if not sampler:
            scheduler.set_timesteps(steps)
        latents = sample_latents(network, self.states, scheduler, is_clip=is_clip, guidance_scale=guidance_scale)
        clips = decode_clips(self.vae, latents)
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
