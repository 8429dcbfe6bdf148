"""Whether two checkouts make the same frames of the same requests, bit for bit.

    python -m scripts.compare_frames ../before            # that checkout beside this one
    python -m scripts.compare_frames ../before --only 2 6 # some of the requests

Requests of all modes go through each checkout's own command line, so that all code below it may be laid out anew. Both
run on this machine, in float32 on one thread: another machine's frames may differ in their last bits, so that
`tests/app/test_frames_stay.py` compares frames in the repository with room for that. Exits with 1 where a frame
differs or a clip is missing.

    python -m scripts.compare_frames --write              # those frames anew, where they were meant to change
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from diffusers import UNet2DConditionModel
from PIL import Image
from safetensors.torch import save_file

from pipelines.engine.steering.adapter_files import cross_attentions
from tests.pipeline import tiny

ROOT = Path(__file__).resolve().parent.parent
BATCH = "batch.jsonl"
SIDE, FRAMES = 64, 8
PROMPT = "a red circle moving right on a blue background"
TRAVEL = "0: a red circle moving right\n6: a green star moving up\non a white background"
CANNY = {"model": "demo-canny", "preprocessor": "canny"}
SKETCH = {"model": "demo-scribble", "clip": "other.png", "weight": 0.6}
PICTURES = {"model": "plus.safetensors", "pictures": [[0, "picture.png"], [7, "other.png"]]}
COMMON = {"prompt": PROMPT, "seed": 11, "num_frames": FRAMES, "width": SIDE, "height": SIDE}
COMMON |= {"context_length": 8, "base_model": "demo", "motion_module": "demo"}
REQUESTS: tuple[dict[str, object], ...] = (
    {},
    {"scheduler": "euler_a", "negative_prompt": "a (green:1.3) star", "clip_skip": 2},
    {"prompt": TRAVEL, "num_frames": 20, "context_overlap": 4, "context_schedule": "uniform", "context_stride": 2},
    {"prompt": f"<lora:demo-pan-left:0.7> {PROMPT}", "closed_loop": "full", "num_frames": 12, "context_overlap": 2},
    {"motion_module": "demo-lcm", "scheduler": "lcm", "guidance_scale": 1, "num_inference_steps": 4},
    {"free_init_iterations": 2, "noise_layout": "shuffle", "num_frames": 12, "scheduler": "dpmpp_2m"},
    {"hires_scale": 2, "hires_strength": 0.6, "interpolation": "flow", "keep_duration": False},
    {"num_frames": 11, "extended_from": [8], "motion_effect": "0: 1, 10: 0.5", "motion_scale": 1.2},
    {"image_prompts": [PICTURES], "hires_scale": 1.5, "hires_method": "pixel", "upscale_by": 1.5},
    {"first_frame": "picture.png"},
    {"first_frame": "picture.png", "last_frame": "other.png", "motion_module": "demo-v3"},
    {"source_video": "frames.zip", "strength": 0.7},
    {"source_video": "frames.zip", "mask": "mask.png", "mask_feather": 2, "color_match": "source"},
    {"source_video": "frames.zip", "strength": 1, "controls": [CANNY | {"weight": "0: 1, 7: 0.3", "end": 0.8}, SKETCH]},
)


SHEET = ROOT / "tests/museum/frames.webp"
"""A row for each request at two steps: its first, middle and last frame."""
SHEET_STEPS = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, nargs="?", help="the other checkout")
    parser.add_argument("--only", type=int, nargs="+", help="numbers of requests, from 1")
    parser.add_argument("--write", action="store_true", help="make the frames that a test compares with")
    args = parser.parse_args()
    numbers = args.only or range(1, len(REQUESTS) + 1)
    with tempfile.TemporaryDirectory() as folder:
        if args.write:
            clips = _clips(
                (args.before or ROOT).resolve(), range(1, len(REQUESTS) + 1), Path(folder) / "clips", SHEET_STEPS
            )
            Image.fromarray(sheet_of(clips)).save(SHEET, lossless=True, quality=100, method=6)
            return
        before, after = (
            _clips(checkout, numbers, Path(folder) / name, steps=4)
            for checkout, name in ((args.before.resolve(), "before"), (ROOT, "after"))
        )
    num_different = 0
    for number in numbers:
        same = before[number] is not None and np.array_equal(before[number], after[number])
        num_different += not same
        print(f"{number:3} {'same' if same else 'DIFFERS'}  {json.dumps(REQUESTS[number - 1])}")
    sys.exit(bool(num_different))


def sheet_of(clips: dict[int, np.ndarray | None]) -> np.ndarray:
    """Put the middles of clips' frames into one picture, uint8 [rows * SIDE, 3 * SIDE, 3]."""
    return np.vstack([np.hstack(_middles(clip[[0, len(clip) // 2, -1]])) for clip in clips.values()])


def _middles(frames: np.ndarray) -> np.ndarray:
    top, left = ((side - SIDE) // 2 for side in frames.shape[1:3])
    return frames[:, top : top + SIDE, left : left + SIDE]


def _clips(checkout: Path, numbers: Iterable[int], folder: Path, steps: int) -> dict[int, np.ndarray | None]:
    """Make the requests' clips; frames uint8 [F, H, W, C] by number, None where there is no clip."""
    write_batch(folder, numbers, steps)
    environment = os.environ | {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1", "STUDIO_DTYPE": "float32"}
    environment |= {
        "STUDIO_THREADS": "1",
        "XDG_CACHE_HOME": str(folder / "cache"),
        "MODELS_DIR": str(folder / "models"),
    }
    command = [sys.executable, "-m", "api", "--batch", BATCH]
    subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, check=False)
    return {number: read_frames(folder / f"{number}.zip") for number in numbers}


def write_batch(folder: Path, numbers: Iterable[int], steps: int) -> None:
    """Write a batch file of the requests into a new folder, with pictures and models that they name."""
    folder.mkdir()
    _write_inputs(folder)
    _write_image_adapter(folder / "models" / "ip_adapters")
    common = COMMON | {"num_inference_steps": steps}
    lines = [json.dumps(common | REQUESTS[number - 1] | {"output": f"{number}.zip"}) for number in numbers]
    (folder / BATCH).write_text("\n".join(lines))


def read_frames(path: Path) -> np.ndarray | None:
    """Read a zip's frames; None where there is none."""
    if not path.exists():
        return None
    with zipfile.ZipFile(path) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".png"))
        return np.stack([np.asarray(Image.open(archive.open(name))) for name in names])


def _write_inputs(folder: Path) -> None:
    """A picture, another, a clip of a moving square and a mask of its right half."""
    clip = np.full((FRAMES, SIDE, SIDE, 3), (0, 90, 200), np.uint8)
    for number, frame in enumerate(clip):
        frame[20:44, 8 + 3 * number : 32 + 3 * number] = (220, 30, 30)
    Image.fromarray(clip[0]).save(folder / "picture.png")
    Image.fromarray(clip[-1]).save(folder / "other.png")
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[:, SIDE // 2 :] = 255
    Image.fromarray(mask).save(folder / "mask.png")
    with zipfile.ZipFile(folder / "frames.zip", "w") as archive:
        for number, frame in enumerate(clip):
            with archive.open(f"{number:03}.png", "w") as file:
                Image.fromarray(frame).save(file, "PNG")


def _write_image_adapter(folder: Path) -> None:
    """Save an IP-Adapter and its image encoder for the demo model, of random weights."""
    unet = UNet2DConditionModel.from_pretrained(ROOT / "assets/demo/unet")
    sizes = [tuple(layer.to_k.weight.shape) for layer in cross_attentions(unet)]
    tiny.image_encoder().save_pretrained(folder / "image_encoder")
    save_file(tiny.ip_adapter(sizes, "plus"), folder / PICTURES["model"])


if __name__ == "__main__":
    main()
