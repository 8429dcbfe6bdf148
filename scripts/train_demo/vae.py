"""Stage 1: the f8 autoencoder. `python -m scripts.train_demo.vae --checkpoint build/vae.pt`

No attention in the middle, so that it learns on crops and serves any size. GroupNorm keeps at least
8 channels a group: with fewer it normalises flat colour away.
"""

import argparse
from collections.abc import Callable

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import nn
from torch.nn.functional import l1_loss, mse_loss

from scripts.train_demo import trainer
from scripts.train_demo.world import CLIP_FRAMES, render, sample_scene

SIDE = 128
KL_WEIGHT = 3e-4


def build_vae() -> AutoencoderKL:
    """The autoencoder's shape, weights random."""
    return AutoencoderKL(
        block_out_channels=(16, 32, 64, 64),
        layers_per_block=1,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
        norm_num_groups=2,
        sample_size=SIDE,
        mid_block_add_attention=False,
    )


def pictures(rng: np.random.Generator, count: int, crop: int) -> torch.Tensor:
    """Random single frames, cut to `crop` around the shape's edge, float [count, 3, crop, crop] in [-1, 1]."""
    batch = np.empty((count, crop, crop, 3), np.uint8)
    for i in range(count):
        scene = sample_scene(rng)
        frame = render(scene, frames=[int(rng.integers(CLIP_FRAMES))], height=SIDE, width=SIDE)[0]
        middle = round(scene.x * SIDE), round(scene.y * SIDE)
        left, top = (int(np.clip(m - crop // 2 + rng.integers(-24, 25), 0, SIDE - crop)) for m in middle)
        batch[i] = frame[top : top + crop, left : left + crop]
    return torch.from_numpy(batch).permute(0, 3, 1, 2).float() / 127.5 - 1


@torch.no_grad()
def psnr(vae: nn.Module, images: torch.Tensor) -> float:
    """Mean over pictures of the PSNR of decode(encode(x)), dB."""
    restored = vae.decode(vae.encode(images).latent_dist.mode()).sample.clamp(-1, 1)
    error = (restored - images).pow(2).mean(dim=(1, 2, 3)) / 4
    return float((-10 * torch.log10(error)).mean())


def stage(rank: int, plan: trainer.Budget) -> None:
    """Train on L1 + L2 + a light KL, first on crops, then half on whole pictures."""
    rng = np.random.default_rng((plan.seed, rank, 1))
    held = pictures(np.random.default_rng(10_000), 64, SIDE).to(plan.device)
    task = trainer.Trainer(build_vae().to(memory_format=torch.channels_last), plan, rank)

    def loss(step: int) -> torch.Tensor:
        whole = step % 4 == 3
        images = pictures(rng, plan.batch // (4 if whole else 1), SIDE if whole else SIDE // 2).to(plan.device)
        images = images.contiguous(memory_format=torch.channels_last)
        posterior = task.model.encode(images).latent_dist
        restored = task.model.decode(posterior.sample()).sample.float()
        return mse_loss(restored, images) + 0.5 * l1_loss(restored, images) + KL_WEIGHT * posterior.kl().mean() / 256

    score: Callable[[nn.Module], str] = lambda ema: f"held-out PSNR {psnr(ema, held):.2f} dB"  # noqa: E731
    task.run(loss, score=score)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    trainer.add_arguments(parser, minutes=20, batch=32, lr=2e-3)
    trainer.launch(stage, trainer.budget(parser.parse_args()))


if __name__ == "__main__":
    main()
