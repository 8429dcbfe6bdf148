"""Stage 3: scenes as latents. `python -m scripts.train_stickers.latents narrow`

Freezes the autoencoder into a diffusers folder and encodes scenes once, so that the UNet stages never render. What is
held out for the score is left out here, and so never trained on. Shards are seeded by their number: more may follow.
"""

import argparse
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL

from scripts.train_demo.latents import encode
from scripts.train_demo.world import CLIP_FRAMES, SHAPES
from scripts.train_stickers.artwork import Artwork, artwork
from scripts.train_stickers.subjects import SUBJECTS
from scripts.train_stickers.vae import SIDE, build_vae
from scripts.train_stickers.world import EVERYTHING, Range, Scene, is_held_out, render, sample_scene

_REVERSED = {"left": "right", "right": "left", "up": "down", "down": "up", "growing": "shrinking",
             "shrinking": "growing", "static": "static", "bouncing": "bouncing", "shaking": "shaking",
             "rotating": "rotating"}  # fmt: skip
_EASY = ("cat", "penguin", "frog", "chick", "whale", "rocket", "car", "balloon", "apple", "tree", "ghost", "sunflower")


@dataclass(frozen=True, slots=True)
class Course:
    """What a corpus holds: which part of the world, and which of a clip's frames.

    Args:
        middle: Only this many frames around the middle: subjects near one place teach what they are
            (`docs/decisions/0003`).
        single: One frame a scene, for stills; else the whole clip.
        a_shard: Scenes in a shard.
    """

    world: Range
    middle: int = CLIP_FRAMES
    single: bool = True
    a_shard: int = 2000


_STILL = replace(EVERYTHING, along=0.0, moving_camera=0.0)
COURSES = {
    "narrow": Course(replace(_STILL, subjects=(*SHAPES, *_EASY), spotted=0.1, wander=0.04), middle=2),
    "wide": Course(_STILL, middle=6),
    "all": Course(EVERYTHING),
    "clips": Course(EVERYTHING, single=False, a_shard=250),
}


def freeze_vae(checkpoint: Path, folder: Path, art: Artwork) -> AutoencoderKL:
    """Save the trained autoencoder as a diffusers folder; its scaling factor makes the latents' deviation 1."""
    if (folder / "config.json").exists():
        return AutoencoderKL.from_pretrained(folder).eval()
    vae = build_vae().eval()
    vae.load_state_dict(torch.load(checkpoint, weights_only=True)["ema"])
    rng = np.random.default_rng(30_000)
    stills = np.concatenate([render(sample_scene(rng), art, frames=[8]) for _ in range(96)])
    vae.register_to_config(scaling_factor=round(1 / float(encode(vae, stills, scaled=False).std()), 5))
    vae.save_pretrained(folder)
    return vae


def reversed_scene(scene: Scene) -> Scene | None:
    """Describe what a clip shows when played backwards; None where the world has no such scene."""
    about = SUBJECTS[scene.subject]
    goes_backwards = scene.motion in ("left", "right") and bool(about.faces)
    turns_back = scene.motion == "rotating" and about.turns
    if goes_backwards or turns_back or scene.camera != "still":
        return None
    backwards = replace(scene, motion=_REVERSED[scene.motion])
    return None if is_held_out(backwards) else backwards


def encode_shard(vae: AutoencoderKL, art: Artwork, course: Course, shard: int) -> tuple[np.ndarray, list[Scene]]:
    """Encode a shard's scenes: latents [N, F, 4, h, w], float16, and the scenes."""
    rng = np.random.default_rng((30_001, shard))
    parts, scenes = [], []
    first = (CLIP_FRAMES - course.middle) // 2
    while len(scenes) < course.a_shard:
        scene = sample_scene(rng, course.world)
        frames = [first + int(rng.integers(course.middle))] if course.single else list(range(CLIP_FRAMES))
        if not is_held_out(scene):
            parts.append(encode(vae, render(scene, art, frames=frames, height=SIDE, width=SIDE)).cpu().numpy())
            scenes.append(scene)
    return np.stack(parts).astype(np.float16), scenes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("course", choices=COURSES)
    parser.add_argument("--vae", type=Path, default=Path("build/stickers/vae.pt"), help="checkpoint of stage 1")
    parser.add_argument("--out", type=Path, default=Path("build/stickers"), help="folder of the courses and the VAE")
    parser.add_argument("--shards", type=int, default=6)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    if args.device == "cpu":
        torch.set_num_threads(1)
    art = artwork()
    vae = freeze_vae(args.vae, args.out / "vae", art).to(args.device).to(memory_format=torch.channels_last)
    folder = args.out / "latents" / args.course
    folder.mkdir(parents=True, exist_ok=True)
    for shard in range(args.shards):
        path = folder / f"{shard:03d}.npy"
        if path.exists():
            continue
        latents, scenes = encode_shard(vae, art, COURSES[args.course], shard)
        path.with_suffix(".json").write_text(json.dumps([asdict(scene) for scene in scenes]))
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            np.save(file, latents)
        part.replace(path)
        print(f"{path}: {len(scenes)} scenes, deviation {latents.astype(np.float32).std():.3f}", flush=True)


if __name__ == "__main__":
    main()
