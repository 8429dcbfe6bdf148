"""Latents of a course in memory, with captions drawn anew at every step."""

import json
from pathlib import Path

import numpy as np
import torch
from transformers import CLIPTextModel, CLIPTokenizer

from scripts.train_demo.diffusion import encode_texts
from scripts.train_stickers.captions import caption
from scripts.train_stickers.latents import reversed_scene
from scripts.train_stickers.world import Scene

#: How often a clip of a motion is drawn: changes of size and angle move few pixels and are learned last.
MOTION_WEIGHTS = {"growing": 2.0, "shrinking": 2.0, "rotating": 3.0, "static": 0.5}


class Corpus:
    """Scenes of a course, forwards and, where the world has them so, backwards.

    A caption costs the frozen text encoder a quarter of the UNet's step, and there are always new ones.
    """

    def __init__(self, folder: Path, text: tuple[CLIPTokenizer, CLIPTextModel], device: str = "cpu") -> None:
        shards = sorted(folder.glob("*.npy"))
        if not shards:
            raise FileNotFoundError(f"{folder} has no shards: run scripts.train_stickers.latents {folder.name} first.")
        self.latents = torch.from_numpy(np.concatenate([np.load(shard) for shard in shards]))
        scenes = [Scene(**s) for shard in shards for s in json.loads(shard.with_suffix(".json").read_text())]
        self.samples = [(i, False, scene) for i, scene in enumerate(scenes)]
        if self.num_frames > 1:
            self.samples += [(i, True, back) for i, scene in enumerate(scenes) if (back := reversed_scene(scene))]
        weights = np.array([MOTION_WEIGHTS.get(scene.motion, 1.0) for _, _, scene in self.samples])
        self.shares = weights / weights.sum() if self.num_frames > 1 else None
        self.text, self.device = text, device

    @property
    def num_frames(self) -> int:
        return self.latents.shape[1]

    def batch(
        self, rng: np.random.Generator, count: int, frames: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Draw latents [count, 4, F, h, w] at the given frames, text states [count, 77, D], and told [count, 2].

        Told are the classes of motion and camera that the caption names, or `OPEN`.
        """
        chosen = [self.samples[i] for i in rng.choice(len(self.samples), count, p=self.shares)]
        last = self.num_frames - 1
        latents = torch.stack([self.latents[i, last - frames if back else frames] for i, back, _ in chosen])
        captions = [caption(rng, scene) for _, _, scene in chosen]
        told = torch.tensor([[said[name] for name in ("motion", "camera")] for _, said in captions])
        states = encode_texts(*self.text, [text for text, _ in captions], self.device).float()
        return latents.float().transpose(1, 2).to(self.device), states.to(self.device), told.to(self.device)
