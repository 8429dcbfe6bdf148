"""Stage 8: ControlNets for the embedded model, trained on stills while the image UNet stays as it is.

    python -m scripts.train_demo.control_net canny    --clip build/clip.pt --checkpoint build/canny.pt
    python -m scripts.train_demo.control_net scribble --clip build/clip.pt --checkpoint build/scribble.pt

As ControlNet's authors do (arXiv:2302.05543): a copy of the UNet's encoder reads the hint, its residuals start
at zero, and the text is often left out, so that the hint must be followed. Shapes lie anywhere here, in any
size and turn, for a control clip may put them anywhere.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from diffusers import AutoencoderKL, ControlNetModel, DDIMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import nn

from scripts.train_demo import trainer
from scripts.train_demo.captions import caption, plain_caption
from scripts.train_demo.diffusion import add_data_arguments, encode_texts, load_text, make_noisy
from scripts.train_demo.latents import encode
from scripts.train_demo.networks import build_image_unet, build_scheduler
from scripts.train_demo.vae import SIDE
from scripts.train_demo.world import DEGREES_PER_FRAME, SIZES, Scene, is_held_out, render, sample_scene

KINDS = ("canny", "scribble")
HINT_CHANNELS = (8, 16, 32, 64)  # three halvings, as the autoencoder's; real ControlNets begin with 16
WITHOUT_TEXT = 0.3  # of the samples
_THRESHOLDS = (100, 200)  # of the app's own canny
_TOLERANCE = 2  # pixels
_MOST_JITTER = 3.0  # pixels that a scribble strays from the outline


def control_scene(rng: np.random.Generator) -> Scene:
    """A scene of the world with its shape anywhere, in any size; every other one turns."""
    radius = float(rng.uniform(0.09, 0.32))
    size = min(SIZES, key=lambda name: abs(SIZES[name] - radius))
    turns = {"motion": "rotating"} if rng.random() < 0.5 else {"motion": "static"}
    scene = sample_scene(rng, **turns, size=size, **({"camera": "still"} if rng.random() < 0.7 else {}))
    x, y = (float(v) for v in rng.uniform(0.5 * radius, 1 - 0.5 * radius, 2))
    return replace(scene, x=x, y=y, radius=radius)


def canny_hint(picture: np.ndarray) -> np.ndarray:
    """Edges of a picture, uint8 [H, W] of 0 and 255."""
    return cv2.Canny(picture, *_THRESHOLDS)


def scribble_hint(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The outlines as an unsteady hand draws them with a thick pen, uint8 [H, W] of 0 and 255."""
    height, width = picture.shape[:2]
    shift = cv2.resize(rng.uniform(-_MOST_JITTER, _MOST_JITTER, (4, 4, 2)).astype(np.float32), (width, height))
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    edges = cv2.dilate(canny_hint(picture), np.ones((2, 2), np.uint8))
    strayed = cv2.remap(edges, columns + shift[..., 0], rows + shift[..., 1], cv2.INTER_LINEAR)
    pen = int(rng.integers(2, 5))
    drawn = cv2.dilate(strayed, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (pen, pen)))
    return np.where(drawn > 127, 255, 0).astype(np.uint8)


class Stills:
    """Pictures as latents with their hints and captions, made once.

    Args:
        count: How many.
        kind: Of the hints.
        vae: The frozen autoencoder.
        text: Tokenizer and text encoder.
        seed: Of all that is drawn.
    """

    def __init__(self, count: int, kind: str, vae: AutoencoderKL, text: tuple, *, seed: int, device: str) -> None:
        rng = np.random.default_rng((seed, 8))
        latents, hints, texts = [], [], []
        while len(texts) < count:
            scene = control_scene(rng)
            if is_held_out(scene):
                continue
            frame = int(rng.integers(0, 360 / DEGREES_PER_FRAME)) if scene.camera == "still" else 8
            picture = render(scene, frames=[frame], height=SIDE, width=SIDE)
            hint = canny_hint(picture[0]) if kind == "canny" else scribble_hint(picture[0], rng)
            latents.append(picture)
            hints.append(np.packbits(hint > 0))
            texts.append("" if rng.random() < WITHOUT_TEXT else caption(rng, scene)[0])
        parts = (np.concatenate(latents[i : i + 256]) for i in range(0, count, 256))
        self.latents = torch.cat([encode(vae, part).half() for part in parts])
        self.hints = torch.from_numpy(np.stack(hints))
        self.states = encode_texts(*text, texts, device)
        self.device = device

    def batch(self, count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Latents [count, 4, 1, h, w], hints [count, 3, H, W] in 0 to 1, and text states [count, 77, D]."""
        chosen = torch.randint(len(self.latents), (count,))
        hints = np.unpackbits(self.hints[chosen].numpy(), axis=1).reshape(count, 1, SIDE, SIDE)
        found = self.latents[chosen, :, None].float(), torch.from_numpy(hints).float().expand(-1, 3, -1, -1)
        return *(part.to(self.device) for part in found), self.states[chosen].float().to(self.device)


def build_control_net(unet: UNet2DConditionModel) -> ControlNetModel:
    """A ControlNet that begins as the UNet's encoder and says nothing yet."""
    return ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=HINT_CHANNELS)


class Controlled(nn.Module):
    """A frozen image UNet with a ControlNet that learns."""

    def __init__(self, unet: UNet2DConditionModel) -> None:
        super().__init__()
        self.unet = unet.requires_grad_(False).eval()
        self.control = build_control_net(unet).requires_grad_(True)
        for network in (self.unet, self.control):
            network.set_attn_processor(AttnProcessor())  # with channels_last, 0.21 s a step on a CPU for 0.33
        self.to(memory_format=torch.channels_last)

    def forward(self, x: torch.Tensor, t: torch.Tensor, text: torch.Tensor, hint: torch.Tensor) -> torch.Tensor:
        """Velocity of latents [B, 4, h, w]."""
        down, middle = self.control(x, t, text, controlnet_cond=hint, return_dict=False)
        return self.unet(
            x, t, text, down_block_additional_residuals=tuple(down), mid_block_additional_residual=middle
        ).sample


def load_image_unet(checkpoint: Path) -> UNet2DConditionModel:
    """The image UNet that the clip stage ended with."""
    trained = torch.load(checkpoint, map_location="cpu", weights_only=True)["ema"]
    unet = build_image_unet()
    unet.load_state_dict({name: trained[name] for name in unet.state_dict()})
    return unet


def edge_overlap(hint: np.ndarray, picture: np.ndarray, *, tolerance: int = _TOLERANCE) -> float:
    """Share of edges that two pictures have in common: the mean of recall and precision, each with a tolerance.

    Args:
        hint: Edges to follow, uint8 [H, W].
        picture: What was made, uint8 [H, W, 3].
        tolerance: Distance in pixels at which edges still count as the same.
    """
    made = canny_hint(picture) > 0
    asked = hint > 0
    pen = np.ones((2 * tolerance + 1,) * 2, np.uint8)
    near_made, near_asked = (cv2.dilate(edges.astype(np.uint8), pen) > 0 for edges in (made, asked))
    recall = (asked & near_made).sum() / max(1, asked.sum())
    precision = (made & near_asked).sum() / max(1, made.sum())
    return float((recall + precision) / 2)


class Followed:
    """A few held-out scenes, drawn after their hints: how well the edges agree."""

    def __init__(self, kind: str, vae: AutoencoderKL, text: tuple, device: str, count: int = 24) -> None:
        rng = np.random.default_rng(60_000)
        drawn = (control_scene(rng) for _ in range(100 * count))
        scenes = [replace(one, camera="still", ground="plain") for one in drawn if is_held_out(one)][:count]
        pictures = np.concatenate([render(scene, frames=[8], height=SIDE, width=SIDE) for scene in scenes])
        self.edges = [canny_hint(picture) for picture in pictures]
        hints = self.edges if kind == "canny" else [scribble_hint(picture, rng) for picture in pictures]
        self.hints = torch.from_numpy(np.stack(hints))[:, None].float().expand(-1, 3, -1, -1).div(255).to(device)
        states = encode_texts(*text, ["", *(plain_caption(scene) for scene in scenes)], device).float()
        self.states = torch.cat([states[:1].expand(count, -1, -1), states[1:]]).to(device)
        self.vae, self.device = vae, device

    @torch.no_grad()
    def score(self, network: nn.Module, *, steps: int = 10, guidance_scale: float = 3.0) -> str:
        """Mean overlap of the edges asked for and made."""
        scheduler: DDIMScheduler = build_scheduler()
        scheduler.set_timesteps(steps)
        shape = (len(self.hints), 4, SIDE // 8, SIDE // 8)
        x = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(self.device)
        hints = torch.cat([self.hints, self.hints])
        for t in scheduler.timesteps:
            with torch.autocast(self.device, torch.bfloat16):
                found = network(torch.cat([x, x]), t, self.states, hints).float()
            negative, positive = found.chunk(2)
            x = scheduler.step(negative + guidance_scale * (positive - negative), t, x).prev_sample
        pixels = self.vae.decode(x.to(self.vae.dtype) / self.vae.config.scaling_factor).sample.float()
        made = ((pixels.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        overlaps = [edge_overlap(edges, picture) for edges, picture in zip(self.edges, made, strict=True)]
        return f"edge overlap {np.mean(overlaps):.3f}, worst {min(overlaps):.3f}"


def stage(rank: int, plan: trainer.Budget, args: argparse.Namespace) -> None:
    """Train one ControlNet."""
    text = load_text(args.text, args.tokenizer)
    vae = AutoencoderKL.from_pretrained(args.latents.parent / "vae").eval().to(plan.device)
    stills = Stills(args.stills, args.kind, vae, text, seed=plan.seed * 100 + rank, device=plan.device)
    task = trainer.Trainer(Controlled(load_image_unet(args.clip)), plan, rank, ema_decay=0.995, warm_up=50)
    followed = Followed(args.kind, vae, text, plan.device) if rank == 0 else None
    scheduler = build_scheduler()

    def loss(_: int) -> torch.Tensor:
        latents, hints, states = stills.batch(plan.batch)
        noisy, t, target = make_noisy(latents, scheduler)
        found = task.model(noisy[:, :, 0], t, states, hints)
        return (found.float() - target[:, :, 0]).pow(2).mean()

    task.run(loss, score=lambda ema: followed.score(ema) if followed else "", every_s=args.score_every)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=KINDS)
    trainer.add_arguments(parser, minutes=25, batch=24, lr=1e-3)
    add_data_arguments(parser)
    parser.add_argument("--stills", type=int, default=12_000, help="pictures that each process makes")
    parser.add_argument("--clip", type=Path, default=Path("build/clip.pt"), help="checkpoint of the clip stage")
    args = parser.parse_args()
    trainer.launch(stage, trainer.budget(args), args)


if __name__ == "__main__":
    main()
