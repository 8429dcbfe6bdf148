"""How near the planner's seconds come to the truth, on the embedded model: `python -m scripts.measure_estimates`.

One clip is made to get ready, one to calibrate, in a cache folder of their own; then each of 20 settings is estimated
from that one run alone, and made. Prints estimate, truth and their ratio, and the share within ±30 %. With `--learning`
every clip is learned from, as the app does. The 20 were looked at while the planner was made; `--blind` takes 20 others
that nobody chose, drawn by a seed over all that costs time, and what they show is not to be tuned on.

Other programs on the machine are in the truth, and in the estimate as they were while the one run was made. With
`--computed` both are of the time that the process computed, which they change less; what ffmpeg takes is not in it.
"""

import argparse
import os
import random
import tempfile
import time
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

SETTINGS: tuple[dict[str, Any], ...] = (
    {"num_inference_steps": 20},
    {"num_inference_steps": 8},
    {"num_inference_steps": 4},
    {"guidance_scale": 1.0},
    {"guidance_scale": 1.0, "num_inference_steps": 5},
    {"num_frames": 8},
    {"num_frames": 4, "num_inference_steps": 10},
    {"num_frames": 32, "num_inference_steps": 8},
    {"num_frames": 48, "num_inference_steps": 5},
    {"num_frames": 24, "context_length": 8, "num_inference_steps": 8},
    {"num_frames": 24, "context_length": 24, "num_inference_steps": 8},
    {"num_frames": 32, "context_length": 32, "num_inference_steps": 6},
    {"num_frames": 32, "context_overlap": 8, "context_schedule": "static", "num_inference_steps": 6},
    {"num_frames": 32, "context_length": 32, "inner_length": 16, "num_inference_steps": 6},
    {"width": 64, "height": 64},
    {"width": 192, "height": 192, "num_inference_steps": 6},
    {"width": 256, "height": 128, "num_inference_steps": 6},
    {"width": 256, "height": 256, "num_inference_steps": 4},
    {"hires_scale": 1.5, "num_inference_steps": 10},
    {"free_init_iterations": 2, "num_inference_steps": 8},
)
BLIND: dict[str, tuple[Any, ...]] = {
    "width": (64, 96, 128, 192, 256),
    "height": (64, 96, 128, 192, 256),
    "num_frames": (4, 8, 12, 16, 20, 24, 32, 40),
    "num_inference_steps": (2, 3, 4, 6, 8, 12, 16, 20),
    "guidance_scale": (1.0, 7.5),
    "context_length": (8, 12, 16, 24),
    "context_overlap": (0, 2, 4, 6),
    "context_schedule": ("uniform", "static", "batched"),
    "hires_scale": (1.0, 1.0, 1.25, 1.5),
    "hires_method": ("latent", "pixel"),
    "free_init_iterations": (0, 0, 0, 2),
    "reverse": ("off", "off", "off", "append"),
    "color_match": ("off", "off", "first"),
    "interpolation": ("off", "off", "flow"),
    "interpolation_frames": (1, 2, 3),
    "upscale_by": (1.0, 1.0, 2.0),
    "formats": (("MP4",), ("MP4",), ("GIF",), ("WEBM",), ("WEBP",), ("MP4", "GIF", "PNG")),
    "max_file_mb": (0.0, 0.0, 0.0, 0.05),
    "source_video": (False, False, True),
    "controls": ((), ({"model": "demo-canny", "preprocessor": "canny"},)),
    "strength": (0.5, 0.75, 1.0),
}
"""What `--blind` draws from."""
BLIND_SEED = 2025
BLIND_COUNT = 20
BLIND_FLOPS = (3e10, 8e11)
"""So many operations a drawn setting must have: from under a second to about 15 of one core."""

PROMPT = "a red circle moving right on a blue background"
NEAR = 0.3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--learning", action="store_true", help="learn from every clip")
    parser.add_argument("--blind", action="store_true", help="measure settings that nobody chose")
    parser.add_argument("--computed", action="store_true", help="measure the time that the process computed")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as cache:
        os.environ["XDG_CACHE_HOME"] = cache
        settings = blind_settings(_keep_source(Path(cache))) if args.blind else SETTINGS
        _measure(settings, learning=args.learning, computed=args.computed)


def blind_settings(source: str) -> list[dict[str, Any]]:
    """Settings drawn from `BLIND`, the same ones every time, whatever the machine and the planner know.

    Args:
        source: The hash of a clip that those read that are made from one.
    """
    from pipelines.plan.errors import InvalidRequestError
    from pipelines.plan.plan import plan_of
    from pipelines.plan.planner.costs import frame_flops, reading_flops, window_flops

    rng = random.Random(BLIND_SEED)
    found: list[dict[str, Any]] = []
    while len(found) < BLIND_COUNT:
        drawn = {name: rng.choice(choices) for name, choices in BLIND.items()}
        if drawn["source_video"]:
            drawn["source_video"] = source
        else:
            del drawn["source_video"], drawn["controls"], drawn["strength"]
        try:
            plan = plan_of(_request(drawn))
        except InvalidRequestError:
            continue
        flops = sum(each.windows * window_flops(each.request, attention=0) for each in plan.passes)
        flops += reading_flops(plan.request)
        flops += frame_flops(plan.request) * plan.request.num_frames * (2 if plan.request.frames_played_back else 1)
        if BLIND_FLOPS[0] <= flops <= BLIND_FLOPS[1]:
            found.append(drawn)
    return found


def _keep_source(folder: Path) -> str:
    """A clip to read: noise over a scene of the procedural world, as large as the largest clip."""
    import numpy as np

    from media.write import open_clip
    from pipelines.plan.choices import OutputFormat
    from scripts.train_demo.world import render, sample_scene
    from studio.stored_inputs import keep_local

    frames = render(sample_scene(np.random.default_rng(BLIND_SEED)), frames=range(40), height=256, width=256)
    spec = {"fps": Fraction(8), "width": 256, "height": 256, "recipe": "{}"}
    with open_clip(folder, stem="source", formats=[OutputFormat.MP4], **spec) as clip:
        clip.write(frames)
    return keep_local(clip.files[0], field="source_video")


def _measure(settings: Sequence[dict[str, Any]], *, learning: bool, computed: bool) -> None:
    from pipelines.plan.cache import cache_folder
    from pipelines.plan.planner import stopwatch
    from pipelines.plan.planner.estimate import estimate

    clock = time.process_time if computed else time.perf_counter
    if computed:
        stopwatch.time = SimpleNamespace(monotonic=clock)  # type: ignore[assignment]
    _make({"num_inference_steps": 2})  # loads, and warms up
    (cache_folder() / "runs.json").unlink()
    begun, computed_before = time.perf_counter(), time.process_time()
    _make({"num_inference_steps": 10})
    took, share = time.perf_counter() - begun, time.process_time() - computed_before
    print(f"The one run took {took:.1f} s and computed {share:.1f} s.\n")
    kept = (cache_folder() / "runs.json").read_bytes()
    ratios = []
    print("| setting | estimated | took | ratio |\n|---|---|---|---|")
    for setting in settings:
        if not learning:
            (cache_folder() / "runs.json").write_bytes(kept)
        guess, begun = estimate(_request(setting)).seconds, clock()
        _make(setting)
        took = clock() - begun
        ratios.append(guess / took)
        told = ", ".join(f"{name} {_shown(value)}" for name, value in setting.items())
        print(f"| {told} | {guess:.1f} s | {took:.1f} s | {guess / took:.2f} |", flush=True)
    near = sum(1 - NEAR <= ratio <= 1 + NEAR for ratio in ratios)
    low, high, middle = min(ratios), max(ratios), median(ratios)
    print(f"{near} of {len(ratios)} within ±{NEAR:.0%}, from {low:.2f} to {high:.2f}; the median is {middle:.2f}.")


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return "+".join(one["preprocessor"] if isinstance(one, dict) else one for one in value) or "none"
    return value[:6] if isinstance(value, str) else str(value)


def _request(setting: dict[str, Any]) -> Any:
    from studio.engine import build_request

    return build_request(base_model="demo", prompt=PROMPT, seed=1, **setting)


def _make(setting: dict[str, Any]) -> None:
    from studio.engine import make_clip

    request = _request(setting)
    with tempfile.TemporaryDirectory() as folder:
        for _ in make_clip(request, Path(folder)):
            pass


if __name__ == "__main__":
    main()
