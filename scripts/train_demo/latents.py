"""Stage 3: clips as latents. `python -m scripts.train_demo.latents --vae build/vae.pt --out build/latents`

Freezes the autoencoder into a diffusers folder (its scaling factor makes the latents' standard deviation 1)
and encodes random clips once, so that the UNet stages never render. Combinations held out for the score
are left out here, and so never trained on.
"""

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL

from scripts.train_demo.vae import SIDE, build_vae
from scripts.train_demo.world import CLIP_FRAMES, GROUNDS, Scene, is_held_out, render, sample_scene

CLIPS_A_SHARD = 500
_REVERSED = {"left": "right", "right": "left", "up": "down", "down": "up",
             "growing": "shrinking", "shrinking": "growing", "static": "static",
             "still": "still", "pan left": "pan right", "pan right": "pan left", "pan up": "pan down",
             "pan down": "pan up", "zoom in": "zoom out", "zoom out": "zoom in",
             "roll clockwise": "roll anticlockwise", "roll anticlockwise": "roll clockwise"}  # fmt: skip


def reversed_scene(scene: Scene) -> Scene | None:
    """The scene a clip shows when played backwards, or None where the world has no such scene."""
    motion = _REVERSED.get(scene.motion)
    backwards = replace(scene, motion=motion, camera=_REVERSED[scene.camera]) if motion else None
    return None if backwards is None or is_held_out(backwards) else backwards


def freeze_vae(checkpoint: Path, folder: Path) -> AutoencoderKL:
    """Save the trained autoencoder as a diffusers folder with its scaling factor."""
    if (folder / "config.json").exists():
        return AutoencoderKL.from_pretrained(folder).eval()
    vae = build_vae().eval()
    vae.load_state_dict(torch.load(checkpoint, weights_only=True)["ema"])
    rng = np.random.default_rng(30_000)
    stills = np.concatenate([render(sample_scene(rng), frames=[0, 8]) for _ in range(128)])
    deviation = float(encode(vae, stills, scaled=False).std())
    vae.register_to_config(scaling_factor=round(1 / deviation, 5))
    vae.save_pretrained(folder)
    return vae


@torch.no_grad()
def encode(vae: AutoencoderKL, frames: np.ndarray, *, scaled: bool = True) -> torch.Tensor:
    """uint8 [F, H, W, 3] to latents, float32 [F, 4, H/8, W/8]."""
    weight = next(vae.parameters())
    images = torch.from_numpy(frames).permute(0, 3, 1, 2).to(weight.device).float() / 127.5 - 1
    images = images.contiguous(memory_format=torch.channels_last).to(weight.dtype)
    latents = torch.cat([vae.encode(part).latent_dist.mode() for part in images.split(64)]).float()
    return latents * vae.config.scaling_factor if scaled else latents


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vae", type=Path, required=True, help="checkpoint of stage 1")
    parser.add_argument("--out", type=Path, required=True, help="folder of the shards; the VAE is saved beside it")
    parser.add_argument("--first", type=int, default=0, help="number of the first shard, which is its seed")
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--ground", choices=GROUNDS, help="only scenes with this ground")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    if args.device == "cpu":
        torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    vae = freeze_vae(args.vae, args.out.parent / "vae")
    vae = vae.to(args.device, torch.bfloat16).to(memory_format=torch.channels_last)
    for shard in range(args.first, args.first + args.shards):
        rng = np.random.default_rng((30_001, shard))
        latents = np.empty((CLIPS_A_SHARD, CLIP_FRAMES, 4, SIDE // 8, SIDE // 8), np.float16)
        scenes = []
        while len(scenes) < CLIPS_A_SHARD:
            scene = sample_scene(rng, **({"ground": args.ground} if args.ground else {}))
            if not is_held_out(scene):
                latents[len(scenes)] = encode(vae, render(scene, height=SIDE, width=SIDE)).cpu().numpy()
                scenes.append(asdict(scene))
        np.save(args.out / f"{shard:03d}.npy", latents)
        (args.out / f"{shard:03d}.json").write_text(json.dumps(scenes))
        print(
            f"shard {shard}: {CLIPS_A_SHARD} clips, deviation {latents.astype(np.float32).std():.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
