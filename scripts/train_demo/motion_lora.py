"""Stage 6: motion LoRAs for the embedded model, one a camera move.

    python -m scripts.train_demo.motion_lora "pan left" --clip build/clip.pt --checkpoint "build/pan left.pt"

Low-rank additions to the attention over time alone, learned from clips of one camera move whose captions
don't speak of the camera: so the LoRA moves it unasked. AnimateDiff's authors do the same, with clips that
they pan and zoom themselves (arXiv:2307.04725, section 4.3).
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from scripts.train_demo import trainer
from scripts.train_demo.captions import plain_caption
from scripts.train_demo.diffusion import Corpus, Held, add_data_arguments, clip_loss, load_text
from scripts.train_demo.networks import load_clip
from scripts.train_demo.world import CAMERAS, Scene, is_held_out, sample_scene

RANK = 8  # 115,000 numbers in all, so that a file stays below 300 kB
PROJECTIONS = ("to_q", "to_k", "to_v", "to_out.0")


class LowRankLinear(nn.Linear):
    """A frozen linear layer with a low-rank addition: W x + up down x, `up` zero at first."""

    down: nn.Parameter
    up: nn.Parameter

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[..., in] to [..., out]."""
        return super().forward(x) + nn.functional.linear(nn.functional.linear(x, self.down), self.up)


def add_low_rank(network: nn.Module) -> None:
    """Freeze a network and give the projections of its attention over time something to learn."""
    network.requires_grad_(False)
    for name, module in network.named_modules():
        if ".motion_modules." in name and name.endswith(tuple(f".{part}" for part in PROJECTIONS)):
            module.__class__ = LowRankLinear
            module.down = nn.Parameter(torch.randn(RANK, module.in_features) / module.in_features**0.5)
            module.up = nn.Parameter(torch.zeros(module.out_features, RANK))


def scenes_for(camera: str, count: int) -> list[Scene]:
    """Held-out scenes over spotted grounds, seen by this camera."""
    rng = np.random.default_rng(50_000)
    drawn = (sample_scene(rng, ground="spotted", camera=camera) for _ in range(100 * count))
    return [scene for scene in drawn if is_held_out(scene)][:count]


def stage(rank: int, plan: trainer.Budget, args: argparse.Namespace) -> None:
    """Train one LoRA."""
    corpus = Corpus(args.latents, plan, rank, load_text(args.text, args.tokenizer), camera=args.camera)
    network = load_clip(args.clip)
    add_low_rank(network)
    task = trainer.Trainer(network, plan, rank, ema_decay=0.98, warm_up=30)
    scenes = scenes_for(args.camera, 8)
    held = Held(scenes, [plain_caption(replace(scene, camera="still")) for scene in scenes], args, plan.device)
    task.run(
        clip_loss(task, corpus, args.frames), score=lambda ema: held.score(ema, is_clip=True), every_s=args.score_every
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("camera", choices=CAMERAS[1:])
    trainer.add_arguments(parser, minutes=5, batch=6, lr=2e-3)
    add_data_arguments(parser)
    parser.add_argument("--clip", type=Path, default=Path("build/clip.pt"), help="checkpoint of the clip stage")
    args = parser.parse_args()
    trainer.launch(stage, trainer.budget(args), args)


if __name__ == "__main__":
    main()
