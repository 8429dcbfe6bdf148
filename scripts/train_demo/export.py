"""Last stage: split what was trained and write the files the app ships.

    python -m scripts.train_demo.export --clip build/clip.pt --out assets/demo
    python -m scripts.train_demo.export --controls build --out assets/demo
    python -m scripts.train_demo.export --v3 build/v3.pt --lcm build/lcm.pt --loras build/loras --out assets/demo

What was trained jointly comes apart here as AnimateDiff's does: an image UNet that draws stills on its own,
and a motion adapter that plugs into it. The motion modules and LoRAs are written under the names that
AnimateDiff's authors gave theirs. All weights are float16 safetensors.
"""

import argparse
import json
import re
import shutil
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from safetensors.torch import save_file

from scripts.train_demo.control_net import KINDS, build_control_net
from scripts.train_demo.diffusion import load_text
from scripts.train_demo.networks import build_image_unet, build_motion_adapter, build_scheduler
from scripts.train_demo.world import CAMERAS

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


#: What the sizes of a miniature can't tell; a real file's need no notes.
_NOTES = {"motion_num_attention_heads": "4", "motion_norm_num_groups": "4"}
_ORIGINAL = (
    (r"(motion_modules\.\d+)\.", r"\1.temporal_transformer."),
    (r"\.attn1\.", ".attention_blocks.0."),
    (r"\.attn2\.", ".attention_blocks.1."),
    (r"\.norm1\.", ".norms.0."),
    (r"\.norm2\.", ".norms.1."),
    (r"\.norm3\.", ".ff_norm."),
)
Weights = dict[str, torch.Tensor]


def original_name(name: str) -> str:
    """The authors' name of a motion module's tensor, positions excepted: theirs belong to each attention."""
    for pattern, replacement in _ORIGINAL:
        name = re.sub(pattern, replacement, name)
    return name


def original_module(weights: Weights) -> Weights:
    """A motion module's tensors under the authors' names, where the table of positions is stored twice."""
    renamed = {}
    for name, value in weights.items():
        if name.endswith(".pos_embed.pe"):
            block = original_name(name.removesuffix("pos_embed.pe"))
            renamed |= {f"{block}attention_blocks.{i}.pos_encoder.pe": value.clone() for i in (0, 1)}
        else:
            renamed[original_name(name)] = value
    return renamed


def original_lora(weights: Weights) -> Weights:
    """A trained network's low-rank factors under the names of the published motion LoRAs."""
    found = {}
    for name, value in weights.items():
        layer, _, part = name.rpartition(".")
        if part in ("down", "up"):
            attention, _, projection = original_name(layer).removesuffix(".0").rpartition(".")
            found[f"{attention}.processor.{projection}_lora.{part}.weight"] = value
    return found


def trained_weights(checkpoint: Path) -> Weights:
    """What a stage ended with, its read-outs dropped."""
    weights = torch.load(checkpoint, map_location="cpu", weights_only=True)["ema"]
    return {name: value for name, value in weights.items() if not name.startswith("compass.")}


def save(weights: Weights, path: Path, **notes: str) -> None:
    """Write float16 safetensors, with notes in the header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: value.half().contiguous() for name, value in weights.items()}, path, notes or None)
    print(f"{path}: {path.stat().st_size / 1e3:.0f} kB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clip", type=Path, help="checkpoint of the clip stage: writes the whole model")
    parser.add_argument("--v3", type=Path, help="checkpoint of the motion module stage")
    parser.add_argument("--lcm", type=Path, help="checkpoint of the motion module stage")
    parser.add_argument("--loras", type=Path, help="folder of the LoRA stage's checkpoints, named after the cameras")
    parser.add_argument("--controls", type=Path, help="folder of the ControlNet stage's checkpoints, by their kinds")
    parser.add_argument("--vae", type=Path, default=Path("build/vae"), help="folder frozen by the latents stage")
    parser.add_argument("--text", type=Path, default=Path("build/text.pt"))
    parser.add_argument("--tokenizer", type=Path, default=Path("build/tokenizer"))
    parser.add_argument("--out", type=Path, default=Path("assets/demo"))
    args = parser.parse_args()

    if args.clip:
        write_model(args)
    modules = args.out / "motion_modules"
    if args.v3:
        motion = _motion_of(trained_weights(args.v3))
        motion = {name: value for name, value in motion.items() if not name.startswith("mid_block.")}
        save(original_module(motion), modules / "demo_v3.safetensors", motion_family="v3", **_NOTES)
    if args.lcm:
        motion = _motion_of(trained_weights(args.lcm))
        save(original_module(motion), modules / "demo_lcm.safetensors", motion_family="demo-lcm", **_NOTES)
    for camera in CAMERAS[1:] if args.loras else ():
        name = f"demo-{camera.replace(' ', '-')}.safetensors"
        save(original_lora(trained_weights(args.loras / f"{camera}.pt")), args.out / "loras" / name)
    for kind in KINDS if args.controls else ():
        write_control_net(args.controls / f"{kind}.pt", args.out / "controlnets" / kind)
    size = sum(path.stat().st_size for path in args.out.rglob("*") if path.is_file())
    print(f"{args.out}: {size / 1e6:.1f} MB")


def write_model(args: argparse.Namespace) -> None:
    """Write the diffusers folder, and its motion module once more as a file of the authors' kind."""
    trained = trained_weights(args.clip)
    unet, adapter = build_image_unet(), build_motion_adapter()
    unet.load_state_dict({name: value for name, value in trained.items() if "motion_modules" not in name})
    adapter.load_state_dict(_motion_of(trained))
    save(original_module(adapter.state_dict()), args.out / "motion_modules" / "demo_v2.safetensors", **_NOTES)
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


def write_control_net(checkpoint: Path, folder: Path) -> None:
    """Write a ControlNet as a diffusers folder."""
    own = "control."
    trained = trained_weights(checkpoint)
    network = build_control_net(build_image_unet())
    network.load_state_dict({name.removeprefix(own): v for name, v in trained.items() if name.startswith(own)})
    network.half().save_pretrained(folder)
    print(f"{folder}: {sum(path.stat().st_size for path in folder.iterdir()) / 1e3:.0f} kB")


def _motion_of(weights: Weights) -> Weights:
    return {name: value for name, value in weights.items() if "motion_modules" in name}


if __name__ == "__main__":
    main()
