"""Stage 1: the autoencoder of the sticker world. `python -m scripts.train_stickers.vae`

Wide where pictures are small and narrow where they are large: on a CPU a crop took 118 ms a step with (16, 48, 96, 128)
and 167 ms with (32, 64, 96, 96), and half of a clip's time is decoding.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image
from torch.nn.functional import l1_loss, mse_loss

from scripts.train_demo import trainer
from scripts.train_demo.vae import psnr
from scripts.train_demo.world import CLIP_FRAMES
from scripts.train_stickers.artwork import Artwork, artwork
from scripts.train_stickers.world import pose, render, sample_scene

SIDE = 128
CROP = 64
KL_WEIGHT = 3e-4
EDGE_WEIGHT = 0.25
GATE_DB = 30.0
HELD_OUT = 32


def build_vae() -> AutoencoderKL:
    """Build the autoencoder, weights random; groups of 8 channels at least, fewer normalise flat colour away."""
    return AutoencoderKL(
        block_out_channels=(16, 48, 96, 128),
        layers_per_block=1,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
        norm_num_groups=2,
        sample_size=SIDE,
        mid_block_add_attention=False,
    )


def pictures(rng: np.random.Generator, art: Artwork, count: int, *, crop: int = SIDE) -> torch.Tensor:
    """Draw random frames, cut to `crop` near the subject, float [count, 3, crop, crop] in [-1, 1]."""
    batch = np.empty((count, crop, crop, 3), np.uint8)
    for i in range(count):
        scene = sample_scene(rng)
        frame = int(rng.integers(CLIP_FRAMES))
        picture = render(scene, art, frames=[frame], height=SIDE, width=SIDE)[0]
        x, y, radius, _ = pose(scene, frame)
        middle = np.array((x, y)) + radius * 0.7 * rng.uniform(-1, 1, 2)
        left, top = np.clip(middle * SIDE - crop / 2, 0, SIDE - crop).astype(int)
        batch[i] = picture[top : top + crop, left : left + crop]
    return torch.from_numpy(batch).permute(0, 3, 1, 2).float() / 127.5 - 1


def edge_loss(restored: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """Compute L1 between differences of neighbouring pixels: a soft edge costs, where L2 alone lets it pass."""
    error = restored - images
    return error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()


def stage(rank: int, plan: trainer.Budget) -> None:
    """Train on crops near the subject and every fourth step on whole scenes, until the gate passes."""
    art = artwork()
    held = pictures(np.random.default_rng(10_000), art, HELD_OUT).to(plan.device)
    task = trainer.Trainer(build_vae().to(memory_format=torch.channels_last), plan, rank)
    reached = 0.0

    def loss(step: int) -> torch.Tensor:
        rng = trainer.seed_step(plan, rank, step)
        whole = step % 4 == 3
        images = pictures(rng, art, plan.batch // (4 if whole else 1), crop=SIDE if whole else CROP).to(plan.device)
        images = images.contiguous(memory_format=torch.channels_last)
        posterior = task.model.encode(images).latent_dist
        restored = task.model.decode(posterior.sample()).sample.float()
        error = mse_loss(restored, images) + 0.5 * l1_loss(restored, images)
        return error + EDGE_WEIGHT * edge_loss(restored, images) + KL_WEIGHT * posterior.kl().mean() / 256

    def score(ema: AutoencoderKL) -> str:
        nonlocal reached
        reached = psnr(ema, held)
        save_pairs(ema, held[:12], plan.checkpoint.with_suffix(".png"))
        return f"held-out PSNR {reached:.2f} dB of {GATE_DB:g}"

    task.run(loss, score=score, every_s=480, finished=lambda: reached >= GATE_DB + 0.5)
    if reached < GATE_DB:
        raise SystemExit(f"vae: the gate of {GATE_DB:g} dB was not passed, read {reached:.2f} dB.")


@torch.no_grad()
def save_pairs(vae: AutoencoderKL, images: torch.Tensor, path: Path) -> None:
    """Write pictures above what the autoencoder makes of them."""
    restored = vae.decode(vae.encode(images).latent_dist.mode()).sample.clamp(-1, 1)
    rows = ((torch.cat([images, restored]) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    Image.fromarray(np.concatenate([np.concatenate(list(half), 1) for half in np.split(rows, 2)])).save(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    trainer.add_arguments(parser, minutes=600, batch=8, lr=2e-3, checkpoint=Path("build/stickers/vae.pt"), steps=20_000)
    trainer.launch(stage, trainer.budget(parser.parse_args()))


if __name__ == "__main__":
    main()
