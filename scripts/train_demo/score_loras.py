"""Do the demo motion LoRAs move the camera? `python -m scripts.train_demo.score_loras`

For each LoRA, prompts over spotted grounds that don't speak of the camera, in combinations training never saw;
clips by the app's own engine; the ground's movement by dense optical flow (`detect.read_camera`). The same
prompts and seeds are made at strengths 1, 0.5 and 0.
"""

import argparse
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np

from scripts.train_demo.captions import plain_caption
from scripts.train_demo.detect import CameraReading, read_camera
from scripts.train_demo.motion_lora import scenes_for
from scripts.train_demo.score import make_frames, wilson
from scripts.train_demo.world import CAMERAS, CLIP_FRAMES, view

BEGIN, END = "<!-- cameras: begin -->", "<!-- cameras: end -->"


def _judge(job: tuple[str, str, int, float, int]) -> tuple[CameraReading, np.ndarray]:
    camera, prompt, seed, weight, steps = job
    tag = f" <lora:demo-{camera.replace(' ', '-')}:{weight:g}>"
    frames = make_frames(prompt + tag, seed, num_inference_steps=steps)
    return read_camera(frames), frames[:: len(frames) // 4]


def amount(camera: str, seen: CameraReading) -> float:
    """How far the picture went the way this camera should send it, as a share of the world's own way."""
    dx, dy, zoom, roll = view(camera, CLIP_FRAMES - 1)
    if camera.startswith("pan"):
        return (seen.shift[0] * np.sign(dx) + seen.shift[1] * np.sign(dy)) / (2 * abs(dx + dy))
    if camera.startswith("zoom"):
        return float(np.log(seen.zoom) / (2 * np.log(zoom)))
    return seen.roll / (2 * roll)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=50, help="prompts a LoRA at strength 1")
    parser.add_argument("--half-count", type=int, default=10, help="of these, prompts at strengths 0.5 and 0")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--sheet", type=Path, help="write a contact sheet here, two clips a LoRA")
    parser.add_argument("--card", type=Path, help="write the table into this model card")
    args = parser.parse_args()
    jobs = [
        (camera, plain_caption(replace(scene, camera="still")), seed, weight, args.steps)
        for camera in CAMERAS[1:]
        for weight, count in ((1.0, args.count), (0.5, args.half_count), (0.0, args.half_count))
        for seed, scene in enumerate(scenes_for(camera, count))
    ]
    with ProcessPoolExecutor(args.processes, mp_context=get_context("spawn")) as pool:
        results = list(zip(jobs, pool.map(_judge, jobs), strict=True))
    lines = ["| LoRA | right | 95 % interval | way at strength 1 | at 0.5 | at 0 |", "|---|---|---|---|---|---|"]
    strips = []
    for camera in CAMERAS[1:]:
        mine = {w: [r for j, r in results if j[0] == camera and j[3] == w] for w in (1.0, 0.5, 0.0)}
        hits = sum(seen.camera == camera for seen, _ in mine[1.0])
        low, high = wilson(hits, len(mine[1.0]))
        same = {w: np.mean([amount(camera, seen) for seen, _ in mine[w][: args.half_count]]) for w in mine}
        lines.append(
            f"| {camera} | {hits} of {len(mine[1.0])} | {low:.0f} to {high:.0f} % | "
            + " | ".join(f"{100 * same[w]:.0f} %" for w in (1.0, 0.5, 0.0))
            + " |"
        )
        strips += [np.concatenate(list(strip), axis=1) for _, strip in mine[1.0][:2]]
    lines.append(
        f"\n{args.count} held-out prompts a LoRA ({args.half_count} at each strength for the ways), {args.steps} "
        'steps. "Right": the flow of the ground has the axis and the sign asked for. "Way": how far the picture '
        "went in that direction, of what the training clips do."
    )
    print("\n".join(lines))
    if args.sheet:
        half = len(strips) // 2
        columns = [np.concatenate(strips[:half]), np.concatenate(strips[half:])]
        cv2.imwrite(str(args.sheet), np.concatenate(columns, axis=1)[..., ::-1])
    if args.card:
        before, rest = args.card.read_text().split(BEGIN)
        args.card.write_text("\n".join([before + BEGIN, *lines, END + rest.split(END)[1]]))


if __name__ == "__main__":
    main()
