"""Whether clips do what pictures ask for, measured on the embedded model.

    python -m scripts.measure_pictures ends      first and last frame: how exact they are, and whether the prompt's
                                                 motion still happens
    python -m scripts.measure_pictures room      a first frame alone: how near the frames behind it stay, and whether
                                                 the prompt's motion happens, by "Room for motion"
    python -m scripts.measure_pictures inpaint   a mask: what stays outside, and whether the inside is what was asked

    python -m scripts.measure_pictures control   a shape that moves: how well the edges agree, at several weights
                                                 and parts of the steps

Pictures and source clips are drawn by the procedural world; detectors read the results back. Prints Markdown.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from pipelines.plan.clip_inputs import ClipInputs
from scripts.train_demo.captions import plain_caption
from scripts.train_demo.control_net import canny_hint, edge_overlap, scribble_hint
from scripts.train_demo.detect import read_clip
from scripts.train_demo.score import held_out_prompts, make_frames, wilson
from scripts.train_demo.vae import SIDE
from scripts.train_demo.world import CLIP_FRAMES, COLOURS, Scene, pose, render, sample_scene
from tests.clips import ArrayClip

PSNR_OF_EQUAL = 99.0  # dB, in place of infinity
_A_HASH = "0" * 64  # the inputs are handed over opened, so any name does
ENOUGH = 0.8  # of the edges, with a tolerance of 2 pixels
FULLY_MEASURED = 2  # of the controls; of the others a fifth of the clips
_MARGIN = 0.06  # of the side, around the shape that a mask covers


def psnr(made: np.ndarray, asked: np.ndarray) -> float:
    """Peak signal-to-noise ratio of uint8 pictures, dB."""
    error = np.mean((made.astype(float) - asked) ** 2)
    return PSNR_OF_EQUAL if error == 0 else float(10 * np.log10(255**2 / error))


def share(hits: Sequence[bool]) -> str:
    """How many of them, with the 95 % interval."""
    low, high = wilson(sum(hits), len(hits))
    return f"{sum(hits)} of {len(hits)} ({low:.0f} to {high:.0f} %)"


def measure_ends(count: int, settings: dict[str, object]) -> list[np.ndarray]:
    """First frame alone and both ends in turn; prints the table, returns the clips."""
    rows: dict[str, list[tuple[float, float, bool]]] = {"first frame": [], "first and last frame": []}
    clips = []
    for seed, (scene, prompt) in enumerate(held_out_prompts(count, seed=3)):
        asked = render(scene, height=SIDE, width=SIDE)
        both = seed % 2 == 1
        inputs = ClipInputs(ArrayClip(asked[:1]), ArrayClip(asked[-1:]) if both else None)
        names = {"first_frame": _A_HASH} | ({"last_frame": _A_HASH} if both else {})
        made = make_frames(prompt, seed, inputs=inputs, **names, **settings)
        moves = read_clip(made).motion == scene.motion
        ends = psnr(made[0], asked[0]), psnr(made[-1], asked[-1]) if both else PSNR_OF_EQUAL
        rows["first and last frame" if both else "first frame"].append((*ends, moves))
        clips.append(made)
    print("| given | frame 0, dB: mean, least | last frame, dB: mean, least | the prompt's motion happens |")
    print("|---|---|---|---|")
    for name, found in rows.items():
        first, last, moves = zip(*found, strict=True)
        at_end = f"{np.mean(last):.1f}, {min(last):.1f}" if "last" in name else "-"
        print(f"| {name} | {np.mean(first):.1f}, {min(first):.1f} | {at_end} | {share(moves)} |")
    return clips


def measure_inpaint(count: int, settings: dict[str, object]) -> list[np.ndarray]:
    """The shape is masked, and asked for in another colour; prints the table, returns the clips."""
    outside, right, clips = [], [], []
    rng = np.random.default_rng(5)
    for seed, (scene, _) in enumerate(held_out_prompts(count, seed=4)):
        source = render(scene, height=SIDE, width=SIDE)
        free = [colour for colour in COLOURS if colour not in (scene.colour, scene.background)]
        asked = replace(scene, colour=str(rng.choice(free)))
        masks = mask_clip(scene)
        inputs = ClipInputs(source=ArrayClip(source), mask=ArrayClip(masks))
        made = make_frames(plain_caption(asked), seed, inputs=inputs, source_video=_A_HASH, mask=_A_HASH, **settings)
        black = masks[..., 0] == 0
        outside.append(psnr(made[black], source[black]))
        right.append(read_clip(made).colour == asked.colour)
        clips.append(made)
    print("| outside the mask, dB: least | inside the colour asked for |\n|---|---|")
    print(f"| {min(outside):.1f}{' (equal)' if min(outside) == PSNR_OF_EQUAL else ''} | {share(right)} |")
    return clips


def measure_control(count: int, settings: dict[str, object]) -> list[np.ndarray]:
    """A shape goes round; its edges are followed. Prints the table, returns the clips at full weight."""
    units: dict[str, dict[str, object]] = {
        "canny, weight 1": {"model": "demo-canny"},
        "scribble, weight 1": {"model": "demo-scribble"},
        "canny, weight 0": {"model": "demo-canny", "weight": 0},
        "canny, first half of the steps": {"model": "demo-canny", "end": 0.5},
        "canny, second half of the steps": {"model": "demo-canny", "start": 0.5},
    }
    print("| control | clips | edges in common: mean | least | clips of at least 0.8 |\n|---|---|---|---|---|")
    clips = []
    for number, (name, unit) in enumerate(units.items()):
        overlaps = []
        for seed in range(count if number < FULLY_MEASURED else max(1, count // 5)):
            scene, frames = moving_shape(np.random.default_rng((7, seed)))
            edges = [canny_hint(frame) for frame in frames]
            drawn = np.random.default_rng((8, seed))
            hints = [scribble_hint(frame, drawn) for frame in frames] if "scribble" in name else edges
            clip = ArrayClip(np.repeat(np.stack(hints)[..., None], 3, axis=3))
            prompt = f"a {scene.colour} {scene.shape} on a {scene.background} background"
            made = make_frames(prompt, seed, inputs=ClipInputs(controls=(clip,)), controls=[unit], **settings)
            overlaps.append(np.mean([edge_overlap(*pair) for pair in zip(edges, made, strict=True)]))
            if number == 0:
                clips.append(made)
        enough = share([overlap >= ENOUGH for overlap in overlaps])
        print(f"| {name} | {len(overlaps)} | {np.mean(overlaps):.3f} | {min(overlaps):.3f} | {enough} |", flush=True)
    return clips


def moving_shape(rng: np.random.Generator) -> tuple[Scene, np.ndarray]:
    """A scene whose shape goes a quarter to a whole way round the middle, and its frames uint8 [16, SIDE, SIDE, 3]."""
    scene = replace(sample_scene(rng, ground="plain", camera="still", motion="static"), radius=rng.uniform(0.16, 0.26))
    begin, turn, far = rng.uniform(0, 2 * np.pi), rng.uniform(0.25, 1) * rng.choice([-1, 1]), rng.uniform(0.1, 0.22)
    angles = begin + 2 * np.pi * turn * np.linspace(0, 1, CLIP_FRAMES)
    ways = [replace(scene, x=0.5 + far * np.cos(one), y=0.5 + far * np.sin(one)) for one in angles]
    return scene, np.concatenate([render(one, frames=[8], height=SIDE, width=SIDE) for one in ways])


def mask_clip(scene: Scene) -> np.ndarray:
    """White squares around a scene's moving shape, uint8 [F, SIDE, SIDE, 3]."""
    masks = np.zeros((CLIP_FRAMES, SIDE, SIDE, 3), np.uint8)
    for frame, mask in enumerate(masks):
        x, y, radius, _ = pose(scene, frame)
        left, top, right, bottom = (
            round(SIDE * min(1, max(0, v)))
            for v in (x - radius - _MARGIN, y - radius - _MARGIN, x + radius + _MARGIN, y + radius + _MARGIN)
        )
        mask[top:bottom, left:right] = 255
    return masks


def measure_room(count: int, settings: dict[str, object]) -> list[np.ndarray]:
    """A first picture alone, with several shares of noise kept behind it; prints the table, returns the last clips."""
    print("| room for motion | frames 1 to 6, dB: mean | change from frame to frame | the prompt's motion happens |")
    print("|---|---|---|---|")
    for floor in (0.0, 0.25, 0.5):
        near, change, moves, clips = [], [], [], []
        for seed, (scene, prompt) in enumerate(held_out_prompts(count, seed=3)):
            asked = render(scene, height=SIDE, width=SIDE)
            inputs = ClipInputs(ArrayClip(asked[:1]))
            made = make_frames(prompt, seed, inputs=inputs, first_frame=_A_HASH, noise_floor=floor, **settings)
            near.append(psnr(made[1:7], asked[1:7]))
            change.append(float(np.abs(np.diff(made.astype(float), axis=0)).mean()))
            moves.append(read_clip(made).motion == scene.motion)
            clips.append(made)
        print(f"| {floor:g} | {np.mean(near):.1f} | {np.mean(change):.2f} | {share(moves)} |", flush=True)
    return clips


MEASURES = {"ends": measure_ends, "room": measure_room, "inpaint": measure_inpaint, "control": measure_control}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=MEASURES)
    parser.add_argument("--count", type=int, default=50, help="clips to make")
    parser.add_argument("--strength", type=float, help="the request's own if not given")
    parser.add_argument("--sheet", type=Path, help="where to write the first clips, one row each")
    args = parser.parse_args()
    settings: dict[str, object] = {"strength": args.strength} if args.strength else {}
    clips = MEASURES[args.what](args.count, settings)
    if args.sheet:
        rows = [np.concatenate(list(clip[::3]), axis=1) for clip in clips[:16]]
        cv2.imwrite(str(args.sheet), np.concatenate(rows)[..., ::-1])


if __name__ == "__main__":
    main()
