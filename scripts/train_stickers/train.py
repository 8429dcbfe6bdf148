"""All stages in order, from where they stand: `make train-stickers`, or `python -m scripts.train_stickers.train`

A stage that passed its gate is not run again; one that was stopped goes on from its last checkpoint, and one that is
missing from the build folder begins with the committed one (`scripts.train_stickers.checkpoints`). The first stage
that misses its gate ends the run.
"""

import argparse
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from scripts.train_stickers.checkpoints import COMMITTED, unpack

FOLDER = Path("build/stickers")


@dataclass(frozen=True, slots=True)
class Stage:
    """A command of this package and the file it trains, "" if it trains none.

    Args:
        begins_with: What its first run is given, a stage's checkpoint as `--warm-start`.
    """

    name: str
    command: tuple[str, ...]
    checkpoint: str = ""
    begins_with: str = ""


STAGES = (
    Stage("vae", ("vae", "--lr", "4e-4"), "vae.pt", "vae_wide.pt"),
    Stage("text", ("text",), "text.pt"),
    Stage("latents narrow", ("latents", "narrow", "--shards", "3")),
    Stage("stills narrow", ("diffusion", "narrow"), "narrow.pt"),
    Stage("latents wide", ("latents", "wide", "--shards", "8")),
    Stage("stills wide", ("diffusion", "wide"), "wide.pt", "narrow.pt"),
    Stage("latents all", ("latents", "all", "--shards", "8")),
    Stage("stills all", ("diffusion", "all"), "all.pt", "wide.pt"),
    Stage("latents clips", ("latents", "clips", "--shards", "16")),
    Stage("clips", ("diffusion", "clips", "--batch", "6"), "clips.pt", "all.pt"),
)


def command_of(stage: Stage, folder: Path) -> list[str]:
    """Build the command of a stage: resumed, begun from another stage's end, or from the shipped model."""
    module, *options = stage.command
    command = [sys.executable, "-u", "-m", f"scripts.train_stickers.{module}", *options]
    if stage.checkpoint and (folder / stage.checkpoint).exists():
        return [*command, "--resume"]
    if stage.begins_with:
        return [*command, "--warm-start", str(folder / stage.begins_with)]
    return command


def prepare(folder: Path) -> None:
    """Put in place what stages begin with: committed checkpoints, and the first world's autoencoder in wider layers."""
    folder.mkdir(parents=True, exist_ok=True)
    for packed in sorted(COMMITTED.glob("*.safetensors")):
        checkpoint = folder / f"{packed.stem}.pt"
        if not checkpoint.exists():
            unpack(packed, checkpoint)
    if not (folder / "vae_wide.pt").exists():
        widening = [sys.executable, "-m", "scripts.train_stickers.widen", "--out", str(folder / "vae_wide.pt")]
        subprocess.run(widening, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=[stage.name for stage in STAGES], help="this stage alone")
    args = parser.parse_args()
    prepare(FOLDER)
    for stage in STAGES:
        passed = FOLDER / f"{stage.name}.passed".replace(" ", "_")
        if args.only not in (None, stage.name) or passed.exists():
            continue
        print(f"== {stage.name}", flush=True)
        done = subprocess.run(command_of(stage, FOLDER), check=False)
        if done.returncode:
            raise SystemExit(done.returncode)
        passed.touch()


if __name__ == "__main__":
    main()
