"""Stages 4 and 5: stills, then clips. `python -m scripts.train_stickers.diffusion narrow|wide|all|clips`

Stills begin with the shipped image UNet, clips with the stills' and the shipped motion module: shapes, colours and
motions of the first world are known there. Losses as in `scripts.train_demo.diffusion`.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, MotionAdapter, UNet2DConditionModel
from PIL import Image
from torch import nn

from scripts.train_demo import trainer
from scripts.train_demo.diffusion import (
    COMPASS_WEIGHT,
    STILL_EVERY,
    Middle,
    encode_texts,
    load_text,
    make_noisy,
    random_frames,
)
from scripts.train_demo.networks import FramePositions, TrainableMotionModule, build_scheduler, build_trainable
from scripts.train_demo.sampling import decode_clips, sample_latents
from scripts.train_stickers.artwork import artwork
from scripts.train_stickers.captions import plain_caption
from scripts.train_stickers.corpus import Corpus
from scripts.train_stickers.detect import JUDGED, read_clip
from scripts.train_stickers.latents import COURSES
from scripts.train_stickers.subjects import SUBJECTS
from scripts.train_stickers.text import SHIPPED
from scripts.train_stickers.world import MOTIONS, Range, Scene, is_held_out, sample_scene

GATES = {
    "narrow": {"subject": 0.8, "ground": 0.9},
    "wide": {"subject": 0.85, "ground": 0.95},
    "all": {"subject": 0.9, "ground": 0.97},
    "clips": {"subject": 0.95, "colour": 0.98, "ground": 0.98, "motion": 0.96},
}
HELD_OUT = {"narrow": 24, "wide": 44, "all": 44, "clips": 24}


def build_network(is_clip: bool) -> nn.Module:
    """Build the network of a stage with all that the shipped model knows."""
    network = build_trainable("clip" if is_clip else "image", MOTIONS)
    known = UNet2DConditionModel.from_pretrained(SHIPPED / "unet").float().state_dict()
    if is_clip:
        known |= MotionAdapter.from_pretrained(SHIPPED / "motion_adapter").float().state_dict()
        known |= {f"compass.{name}": value for name, value in network.compass.state_dict().items()}
    network.load_state_dict(known)
    return network


class Judge:
    """Held-out prompts of a course: sampled, read back, and drawn side by side."""

    def __init__(self, course: str, text: tuple, folder: Path, device: str) -> None:
        self.course, self.folder = course, folder
        self.is_clip = not COURSES[course].single
        self.scenes = held_out_scenes(HELD_OUT[course], COURSES[course].world)
        texts = [plain_caption(scene) for scene in self.scenes]
        states = encode_texts(*text, ["", *texts], device).float()
        self.states = torch.cat([states[:1].expand(len(texts), -1, -1), states[1:]]).to(device)
        self.vae = AutoencoderKL.from_pretrained(folder / "vae").eval()
        self.shares: dict[str, float] = {}

    def score(self, network: nn.Module, *, steps: int = 10) -> str:
        """Read back what is drawn for each prompt; the pictures lie in `<course>.png`."""
        scheduler = build_scheduler()
        scheduler.set_timesteps(steps)
        clips = decode_clips(self.vae, sample_latents(network, self.states, scheduler, is_clip=self.is_clip))
        readings = [read_clip(clip, artwork()) for clip in clips]
        self.shares = {
            name: float(
                np.mean([getattr(r, name) == getattr(s, name) for r, s in zip(readings, self.scenes, strict=True)])
            )
            for name in ("subject", "colour", "ground", "pattern", *(("motion",) if self.is_clip else ()))
        }
        self._draw(clips)
        return "  ".join(f"{name} {100 * share:.0f} %" for name, share in self.shares.items())

    def _draw(self, clips: np.ndarray) -> None:
        rows = clips[:, ::5] if self.is_clip else clips[:, :1]
        tiles = [np.concatenate(list(row), axis=1) for row in rows]
        across = 3 if self.is_clip else 11
        tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % across)
        lines = [np.concatenate(tiles[i : i + across], axis=1) for i in range(0, len(tiles), across)]
        Image.fromarray(np.concatenate(lines)).save(self.folder / f"{self.course}.png")

    def passed(self) -> bool:
        """Whether the last score passes the course's gate."""
        return bool(self.shares) and all(self.shares[name] >= gate for name, gate in GATES[self.course].items())


def held_out_scenes(count: int, world: Range) -> list[Scene]:
    """Draw scenes never trained on, each subject of a course in turn, the camera still."""
    rng = np.random.default_rng(40_000)
    subjects = tuple(name for name in SUBJECTS if name in world.subjects)
    scenes: list[Scene] = []
    while len(scenes) < count:
        scene = sample_scene(rng, JUDGED, subject=subjects[len(scenes) % len(subjects)])
        if is_held_out(scene):
            scenes.append(scene)
    return scenes


def stage(rank: int, plan: trainer.Budget, args: argparse.Namespace) -> None:
    """Train one course until its gate passes."""
    is_clip = not COURSES[args.course].single
    text = load_text(args.text, SHIPPED / "tokenizer")
    corpus = Corpus(args.folder / "latents" / args.course, text, plan.device)
    task = trainer.Trainer(build_network(is_clip), plan, rank)
    judge = Judge(args.course, text, args.folder, plan.device)
    scheduler = build_scheduler()
    middle = Middle(task.model)

    def loss(step: int) -> torch.Tensor:
        rng = trainer.seed_step(plan, rank, step)
        still = is_clip and step % STILL_EVERY == 0
        TrainableMotionModule.aside = still
        count = 1 if still or not is_clip else args.frames
        frames = random_frames(count) if is_clip else torch.zeros(1, dtype=torch.long)
        FramePositions.frames = frames
        latents, states, told = corpus.batch(rng, plan.batch * (args.frames if still else 1), frames)
        noisy, t, target = make_noisy(latents, scheduler)
        if not is_clip:
            noisy, target = noisy[:, :, 0], target[:, :, 0]
        found = task.model(noisy, t, states.repeat_interleave(count, dim=0)).sample
        error = (found.float() - target).pow(2).mean()
        if still or not is_clip:
            return error
        return error + COMPASS_WEIGHT * task.model.compass(middle.features, told, frames)

    task.run(loss, score=judge.score, every_s=args.score_every, finished=judge.passed)
    if not judge.passed():
        raise SystemExit(f"{args.course}: the gate {GATES[args.course]} was not passed, read {judge.shares}.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("course", choices=COURSES)
    trainer.add_arguments(parser, minutes=600, batch=32, lr=1e-3, checkpoint=Path(), steps=20_000)
    parser.add_argument("--folder", type=Path, default=Path("build/stickers"))
    parser.add_argument("--text", type=Path, default=Path("build/stickers/text.pt"))
    parser.add_argument("--frames", type=int, default=6, help="frames of each clip a step sees")
    parser.add_argument("--score-every", type=float, default=900, help="seconds between scores")
    args = parser.parse_args()
    if args.checkpoint == Path():
        args.checkpoint = args.folder / f"{args.course}.pt"
    trainer.launch(stage, trainer.budget(args), args)


if __name__ == "__main__":
    main()
