"""What a field says that it affects is what it does, as far as a clip's estimate tells."""

from enum import StrEnum
from typing import Any

import pytest

from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.planner.estimate import estimate_all
from pipelines.plan.request import INPUT_FIELDS, GenerationRequest, field_bounds, fields_affecting

CLIP = {
    "prompt": "x",
    "seed": 1,
    "base_model": "demo",
    "motion_module": "demo",
    "num_frames": 40,
    "guidance_scale": 5,
    "width": 128,
    "height": 128,
    "num_inference_steps": 8,
    "context_length": 16,
}
FILE = "0" * 64
# With what else a field counts.
BESIDE: tuple[dict[str, Any], ...] = (
    {},
    {"hires_scale": 2},
    {"upscale_by": 2},
    {"interpolation": "flow", "interpolation_frames": 2},
    {"free_init_iterations": 2},
    {"inner_length": 8},
    {"closed_loop": "prompts"},
    {"source_video": FILE, "mask": FILE},
)
OTHERS = {
    "base_model": ["demo", "stable-diffusion-v1-5/stable-diffusion-v1-5"],
    "extended_from": [[], [32]],
    "formats": [["MP4"], ["GIF"], ["GIF", "MP4"]],
    "fps": [8, 24],
    "motion_effect": [0.5, 1],
    "motion_scale": [0.5, 1.2],
    "negative_prompt": ["", "a"],
    "prompt": ["x", "y"],
}
# Their costs are below the estimate's steps, or depend on files that are not here.
TOO_SMALL = {"max_file_mb", "motion_module", "upscaler", "vae"}


def values_of(name: str) -> list[Any]:
    """Some values that a field may have."""
    kind: Any = GenerationRequest.model_fields[name].annotation
    if kind is bool:
        return [True, False]
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return list(kind)
    if kind in (int, float):
        low, high = field_bounds(name)
        return [kind(value) for value in (low, high, 1, 2, 0.5, 64, 192) if value is not None]
    return OTHERS.get(name, [])


def changes_the_estimate(name: str) -> bool:
    for beside in BESIDE:
        seen = set()
        for value in values_of(name):
            try:
                found = estimate_all([GenerationRequest.build(**CLIP | beside | {name: value})])
            except InvalidRequestError:
                continue
            seen.add((round(found.seconds, 6), found.peak_bytes_device, found.peak_bytes_ram))
        if len(seen) > 1:
            return True
    return False


@pytest.mark.parametrize("name", [name for name in GenerationRequest.model_fields if name not in INPUT_FIELDS])
def test_a_field_affects_the_cost_if_it_says_so(name: str):
    if name not in TOO_SMALL:
        assert changes_the_estimate(name) == (name in fields_affecting("cost"))
