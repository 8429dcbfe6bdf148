"""The shipped model back as checkpoints, to go on training from: the inverse of `export`.

    python -m scripts.train_demo.unpack assets/demo build

Writes `vae/`, `tokenizer/`, `text.pt` and `clip.pt`. Then `latents` and `diffusion clip --warm-start
build/clip.pt` continue where the shipped weights are (in float16, and without the optimizer's memory).
"""

import argparse
import shutil
from pathlib import Path

import torch
from diffusers import AutoencoderKL, MotionAdapter, UNet2DConditionModel
from transformers import CLIPTextModel


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    AutoencoderKL.from_pretrained(args.model / "vae").float().save_pretrained(args.out / "vae")
    shutil.copytree(args.model / "tokenizer", args.out / "tokenizer", dirs_exist_ok=True)
    text = CLIPTextModel.from_pretrained(args.model / "text_encoder").float().state_dict()
    _save(args.out / "text.pt", {f"text_encoder.{name}": value for name, value in text.items()})
    unet = UNet2DConditionModel.from_pretrained(args.model / "unet").float().state_dict()
    motion = MotionAdapter.from_pretrained(args.model / "motion_adapter").float().state_dict()
    _save(args.out / "clip.pt", unet | motion)


def _save(path: Path, weights: dict[str, torch.Tensor]) -> None:
    torch.save({"ema": weights}, path)
    print(path)


if __name__ == "__main__":
    main()
