"""How near the planner's seconds come to the truth, on the embedded model: `python -m scripts.measure_estimates`.

One clip is made to get ready, one to calibrate, in a cache folder of their own; then each of 20 settings is estimated
from that one run alone, and made. Prints estimate, truth and their ratio, and the share within ±30 %. With `--learning`
every clip is learned from, as the app does. Other programs on the machine are in the truth, and in the estimate as they
were while the one run was made. So the same is printed for the time that the process computed, which they don't change:
the estimate times the share of its time that the one run computed.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path
from statistics import median
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
PROMPT = "a red circle moving right on a blue background"
NEAR = 0.3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--learning", action="store_true", help="learn from every clip")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as cache:
        os.environ["XDG_CACHE_HOME"] = cache
        _measure(learning=args.learning)


def _measure(*, learning: bool) -> None:
    from pipelines.cache import cache_folder
    from pipelines.estimate import estimate

    _make({"num_inference_steps": 2})  # loads, and warms up
    (cache_folder() / "runs.json").unlink()
    took, computed = _make({"num_inference_steps": 10})
    share = computed / took
    print(f"The one run took {took:.1f} s and computed {share:.0%} of it.\n")
    kept = (cache_folder() / "runs.json").read_bytes()
    ratios: dict[str, list[float]] = {"the time taken": [], "the time computed": []}
    print("| setting | estimated | took | ratio | computed | ratio |\n|---|---|---|---|---|---|")
    for setting in SETTINGS:
        if not learning:
            (cache_folder() / "runs.json").write_bytes(kept)
        guess = estimate(_request(setting)).seconds
        took, computed = _make(setting)
        found = guess / took, guess * share / computed
        for one, ratio in zip(ratios.values(), found, strict=True):
            one.append(ratio)
        told = ", ".join(f"{name} {value}" for name, value in setting.items())
        print(
            f"| {told} | {guess:.1f} s | {took:.1f} s | {found[0]:.2f} | {computed:.1f} s | {found[1]:.2f} |",
            flush=True,
        )
    for name, all_of in ratios.items():
        near = sum(1 - NEAR <= ratio <= 1 + NEAR for ratio in all_of)
        print(f"Of {name}: {near} of {len(all_of)} within ±{NEAR:.0%}; the median ratio is {median(all_of):.2f}.")


def _request(setting: dict[str, Any]) -> Any:
    from api.engine import build_request

    return build_request(base_model="demo", prompt=PROMPT, seed=1, **setting)


def _make(setting: dict[str, Any]) -> tuple[float, float]:
    """Seconds that a clip took, and those that the process computed meanwhile."""
    from api.engine import make_clip

    request = _request(setting)
    with tempfile.TemporaryDirectory() as folder:
        begun, computed = time.perf_counter(), time.process_time()
        for _ in make_clip(request, Path(folder)):
            pass
        return time.perf_counter() - begun, time.process_time() - computed


if __name__ == "__main__":
    main()
