"""Last stage: split the trained network and write the diffusers folder the app ships.

    python -m scripts.train_demo.export --clip build/clip.pt --out assets/demo

What was trained jointly comes apart here as AnimateDiff's does: an image UNet that draws stills on its own,
and a motion adapter that plugs into it. All weights are float16 safetensors.
"""

import argparse
import json
import shutil
from pathlib import Path

import torch
from diffusers import AutoencoderKL

from scripts.train_demo.diffusion import build_image_unet, build_motion_adapter, build_scheduler, load_text

_INDEX = {
    "_class_name": "StableDiffusionPipeline",
    "_diffusers_version": "0.42.1",
    "feature_extractor": [None, None],
    "image_encoder": [None, None],
    "requires_safety_checker": False,
    "safety_checker": [None, None],
    "scheduler": ["diffusers", "DDIMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clip", type=Path, required=True, help="checkpoint of the clip stage")
    parser.add_argument("--vae", type=Path, default=Path("build/vae"), help="folder frozen by the latents stage")
    parser.add_argument("--text", type=Path, default=Path("build/text.pt"))
    parser.add_argument("--tokenizer", type=Path, default=Path("build/tokenizer"))
    parser.add_argument("--out", type=Path, default=Path("assets/demo"))
    args = parser.parse_args()

    trained = torch.load(args.clip, map_location="cpu", weights_only=True)["ema"]
    trained = {name: value for name, value in trained.items() if not name.startswith("compass.")}
    unet, adapter = build_image_unet(), build_motion_adapter()
    unet.load_state_dict({name: value for name, value in trained.items() if "motion_modules" not in name})
    adapter.load_state_dict({name: value for name, value in trained.items() if "motion_modules" in name})
    tokenizer, text_encoder = load_text(args.text, args.tokenizer)

    unet.half().save_pretrained(args.out / "unet")
    adapter.half().save_pretrained(args.out / "motion_adapter")
    text_encoder.half().save_pretrained(args.out / "text_encoder")
    AutoencoderKL.from_pretrained(args.vae).half().save_pretrained(args.out / "vae")
    tokenizer.save_pretrained(args.out / "tokenizer")
    for name in ("vocab.json", "merges.txt"):  # the form older CLIPTokenizers read
        shutil.copyfile(args.tokenizer / name, args.out / "tokenizer" / name)
    build_scheduler().save_pretrained(args.out / "scheduler")
    (args.out / "model_index.json").write_text(json.dumps(_INDEX, indent=2) + "\n")
    size = sum(path.stat().st_size for path in args.out.rglob("*") if path.is_file())
    print(f"{args.out}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
