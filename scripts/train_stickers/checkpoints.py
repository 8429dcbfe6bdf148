"""Checkpoints few and small: a stage's averaged weights in float16, committed so that training goes on elsewhere.

    python -m scripts.train_stickers.checkpoints vae text

Optimizer and raw weights stay out (they were five sixths); a resumed run begins with the average and warms up anew.
They lie beside the code that goes on from them, not among the assets: the app never reads them.
"""

import argparse
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

COMMITTED = Path("scripts/train_stickers/checkpoints")


def pack(checkpoint: Path, packed: Path) -> None:
    """Write the averaged weights of a checkpoint as float16, with its step and minutes in the header."""
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    weights = {name: value.half().contiguous() for name, value in state["ema"].items()}
    packed.parent.mkdir(parents=True, exist_ok=True)
    save_file(weights, packed, {"step": str(state["step"]), "minutes": f"{state['minutes']:.1f}"})


def unpack(packed: Path, checkpoint: Path) -> None:
    """Write a packed checkpoint as one that `--resume` goes on from."""
    with safe_open(packed, "pt") as file:
        weights = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 - no mapping
        notes = file.metadata()
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"ema": weights, "step": int(notes["step"]), "minutes": float(notes["minutes"])}, checkpoint)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="+", help="stages whose checkpoint to pack")
    parser.add_argument("--folder", type=Path, default=Path("build/stickers"))
    args = parser.parse_args()
    for name in args.names:
        packed = COMMITTED / f"{name}.safetensors"
        pack(args.folder / f"{name}.pt", packed)
        print(f"{packed}: {packed.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
