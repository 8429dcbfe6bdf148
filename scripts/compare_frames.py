"""Whether two checkouts make the same frames of the same requests, bit for bit.

    python -m scripts.compare_frames ../before            # that checkout beside this one
    python -m scripts.compare_frames ../before --only 2 6 # some of the requests

Twelve requests of all modes go through each checkout's own command line, so that all code below it may be laid out
anew. Both run on this machine, in float32 on one thread: another machine's frames may differ in their last bits.
Exits with 1 where a frame differs or a clip is missing.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
SIDE, FRAMES = 64, 8
PROMPT = "a red circle moving right on a blue background"
TRAVEL = "0: a red circle moving right\n6: a green star moving up\non a white background"
CANNY = {"model": "demo-canny", "preprocessor": "canny"}
REQUESTS: tuple[dict[str, object], ...] = (
    {},
    {"scheduler": "euler_a", "negative_prompt": "a (green:1.3) star", "clip_skip": 2},
    {"prompt": TRAVEL, "num_frames": 20, "context_overlap": 4, "context_schedule": "uniform", "context_stride": 2},
    {"prompt": f"<lora:demo-pan-left:0.7> {PROMPT}", "closed_loop": "full", "num_frames": 12, "context_overlap": 2},
    {"motion_module": "demo-lcm", "scheduler": "lcm", "guidance_scale": 1, "num_inference_steps": 4},
    {"free_init_iterations": 2, "noise_layout": "shuffle", "num_frames": 12, "scheduler": "dpmpp_2m"},
    {"hires_scale": 2, "hires_strength": 0.6, "interpolation": "flow", "interpolation_frames": 1},
    {"first_frame": "picture.png"},
    {"first_frame": "picture.png", "last_frame": "other.png", "motion_module": "demo-v3"},
    {"source_video": "frames.zip", "strength": 0.7},
    {"source_video": "frames.zip", "mask": "mask.png", "mask_feather": 2, "color_match": "source"},
    {"source_video": "frames.zip", "strength": 1, "controls": [CANNY | {"weight": "0: 1, 7: 0.3", "end": 0.8}]},
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, help="the other checkout")
    parser.add_argument("--only", type=int, nargs="+", help="numbers of requests, from 1")
    args = parser.parse_args()
    numbers = args.only or range(1, len(REQUESTS) + 1)
    with tempfile.TemporaryDirectory() as folder:
        before, after = (
            _clips(checkout, numbers, Path(folder) / name)
            for checkout, name in ((args.before.resolve(), "before"), (ROOT, "after"))
        )
    differ = 0
    for number in numbers:
        same = before[number] is not None and np.array_equal(before[number], after[number])
        differ += not same
        print(f"{number:3} {'same' if same else 'DIFFERS'}  {json.dumps(REQUESTS[number - 1])}")
    sys.exit(bool(differ))


def _clips(checkout: Path, numbers: list[int] | range, folder: Path) -> dict[int, np.ndarray | None]:
    """Make the requests' clips; frames uint8 [F, H, W, C] by number, None where there is no clip."""
    folder.mkdir()
    _write_inputs(folder)
    common = {"prompt": PROMPT, "seed": 11, "num_frames": FRAMES, "width": SIDE, "height": SIDE}
    common |= {"num_inference_steps": 4, "context_length": 8, "base_model": "demo", "motion_module": "demo"}
    lines = [json.dumps(common | REQUESTS[number - 1] | {"output": f"{number}.zip"}) for number in numbers]
    (folder / "batch.jsonl").write_text("\n".join(lines))
    environment = os.environ | {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1", "STUDIO_DTYPE": "float32"}
    environment |= {"STUDIO_THREADS": "1", "XDG_CACHE_HOME": str(folder / "cache")}
    command = [sys.executable, "-m", "api", "--batch", "batch.jsonl", "-o", "clips/"]
    subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, check=False)
    return {number: _frames(folder / f"{number}.zip") for number in numbers}


def _frames(path: Path) -> np.ndarray | None:
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


if __name__ == "__main__":
    main()
