"""The public families of AnimateDiff motion modules: how to tell them, and how each must be run. No torch.

A family is told by the names and shapes of a file's tensors, never by the file's name. Two things the
tensors can't tell: how many steps a Lightning module was distilled for (its file name says it), and what a
file was made from when a later one has the same layout (a catalog row or the file's own header says it).
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from pipelines.base_models.architecture import Architecture
from pipelines.choices import Scheduler

Shapes = Mapping[str, tuple[int, ...]]

_POSITIONS = ".pos_embed.pe"
_SD15_BLOCKS = 4
_LATENT_CHANNELS = 4
_UNLIMITED = 64  # positions of modules that store none, AnimateLCM's
_RENAMES = (
    (r"\.temporal_attentions\.", ".motion_modules."),
    (r"\.positional_encoding$", ".pe"),
    (r"\.temporal_transformer\.", "."),
    (r"\.attention_blocks\.0\.pos_encoder\.", ".pos_embed."),
    (r"\.attention_blocks\.0\.", ".attn1."),
    (r"\.attention_blocks\.1\.", ".attn2."),
    (r"\.norms\.0\.", ".norm1."),
    (r"\.norms\.1\.", ".norm2."),
    (r"\.ff_norm\.", ".norm3."),
)
_SECOND_POSITIONS = ".attention_blocks.1.pos_encoder."  # the authors store the same table once more
FAMILY_NOTE = "motion_family"
"""The note in a file's header that says its family where its tensors can't."""
ADVISED_ON = ("scheduler", "num_inference_steps", "guidance_scale")
"""The request's fields that `advise` looks at."""


class SpatialNorm(StrEnum):
    """What the UNet's own ResNet norms saw while the module was trained."""

    PER_FRAME = "per_frame"
    WINDOW = "window"


@dataclass(frozen=True, slots=True, kw_only=True)
class MotionFamily:
    """How a kind of motion module is run.

    Args:
        id: The stable name, as the catalog spells it.
        name: What people call it.
        base: The architecture it was trained in.
        context_length: The window it was trained on, frames.
        max_positions: The longest window it can see, frames; a file's own table of positions decides.
        beta_schedule, beta_start, beta_end: The noise schedule, as diffusers spells it.
        timestep_spacing: How its sampler spreads the steps, as diffusers spells it.
        spatial_norm: Whether the UNet's ResNet norms take each frame or the whole window.
        scheduler, num_inference_steps, guidance_scale: What its authors recommend.
        is_distilled: It works only near the recommended steps and guidance.
    """

    id: str
    name: str
    base: Architecture = Architecture.SD15
    context_length: int = 16
    max_positions: int = 32
    beta_schedule: str = "linear"
    beta_start: float = 0.00085
    beta_end: float = 0.012
    timestep_spacing: str = "leading"
    spatial_norm: SpatialNorm = SpatialNorm.PER_FRAME
    scheduler: Scheduler = Scheduler.DDIM
    num_inference_steps: int = 25
    guidance_scale: float = 7.5
    is_distilled: bool = False

    @property
    def settings(self) -> dict[str, Any]:
        """Fields of the request it decides where the user does not; a distilled one decides the sampling, too."""
        window = {"context_length": self.context_length}
        if not self.is_distilled:
            return window
        return window | {
            "scheduler": self.scheduler,
            "num_inference_steps": self.num_inference_steps,
            "guidance_scale": self.guidance_scale,
        }

    @property
    def in_words(self) -> str:
        """What people should know of it, in one line."""
        line = f"window {self.context_length} frames, at most {self.max_positions}; {self.beta_schedule} noise schedule"
        if not self.is_distilled:
            return line
        steps = f"{self.num_inference_steps} step{'s' * (self.num_inference_steps > 1)}"
        return f"{line}; made for {steps} of {self.scheduler} at a guidance of {self.guidance_scale:g}"

    def scheduler_config(self, *, prediction_type: str) -> dict[str, Any]:
        """The arguments of any diffusers scheduler on this family's noise schedule."""
        return {
            "num_train_timesteps": 1000,
            "beta_start": self.beta_start,
            "beta_end": self.beta_end,
            "beta_schedule": self.beta_schedule,
            "timestep_spacing": self.timestep_spacing,
            "steps_offset": 1,
            "clip_sample": False,
            "prediction_type": prediction_type,
        }


V1 = MotionFamily(id="v1", name="AnimateDiff v1", max_positions=24, spatial_norm=SpatialNorm.WINDOW)
V2 = MotionFamily(id="v2", name="AnimateDiff v2")
V3 = MotionFamily(id="v3", name="AnimateDiff v3")
SDXL_BETA = MotionFamily(
    id="sdxl-beta",
    name="AnimateDiff SDXL beta",
    base=Architecture.SDXL,
    beta_schedule="scaled_linear",
    beta_end=0.020,
    guidance_scale=8.0,
)
HOTSHOT_XL = MotionFamily(
    id="hotshot-xl",
    name="HotShot-XL",
    base=Architecture.SDXL,
    context_length=8,
    max_positions=24,
    beta_schedule="scaled_linear",
    spatial_norm=SpatialNorm.WINDOW,
    scheduler=Scheduler.EULER_A,
    num_inference_steps=30,
)
ANIMATE_LCM = MotionFamily(
    id="animate-lcm",
    name="AnimateLCM",
    max_positions=64,
    scheduler=Scheduler.LCM,
    num_inference_steps=6,
    guidance_scale=1.5,
    is_distilled=True,
)
ANIMATE_LCM_I2V = replace(ANIMATE_LCM, id="animate-lcm-i2v", name="AnimateLCM-I2V")
DEMO_LCM = replace(
    ANIMATE_LCM, id="demo-lcm", name="Demo LCM", max_positions=32, num_inference_steps=4, guidance_scale=1.0
)
PIA = MotionFamily(id="pia", name="PIA", spatial_norm=SpatialNorm.WINDOW)
LONG = MotionFamily(
    id="long-animate-diff",
    name="LongAnimateDiff",
    context_length=64,
    max_positions=64,
    # Older than v3 and built on v1's layout, so on v1's norms; nothing in the file says it.
    spatial_norm=SpatialNorm.WINDOW,
)
LONG_32 = replace(LONG, id="long-animate-diff-32", name="LongAnimateDiff 32", context_length=32, max_positions=32)
LIGHTNING = {
    steps: MotionFamily(
        id=f"lightning-{steps}",
        name=f"AnimateDiff-Lightning, {steps} step{'s' * (steps > 1)}",
        timestep_spacing="trailing",
        scheduler=Scheduler.EULER,
        num_inference_steps=steps,
        guidance_scale=1.0,
        is_distilled=True,
    )
    for steps in (1, 2, 4, 8)
}

FAMILIES: dict[str, MotionFamily] = {
    family.id: family
    for family in (
        V1, V2, V3, SDXL_BETA, HOTSHOT_XL, ANIMATE_LCM, ANIMATE_LCM_I2V, DEMO_LCM, PIA, LONG, LONG_32,
        *LIGHTNING.values(),
    )
}  # fmt: skip
"""Every family, by its id."""


def rename_motion(names: Iterable[str]) -> dict[str, str]:
    """Stored name -> diffusers' name, for the motion layers alone; some files hold the whole UNet.

    Example:
        >>> rename_motion(["up_blocks.1.motion_modules.2.temporal_transformer.proj_in.bias"])
        {'up_blocks.1.motion_modules.2.temporal_transformer.proj_in.bias': 'up_blocks.1.motion_modules.2.proj_in.bias'}
    """
    renamed = {}
    for stored in names:
        name = stored
        for pattern, replacement in _RENAMES:
            name = re.sub(pattern, replacement, name)
        if ".motion_modules." in name and _SECOND_POSITIONS not in stored:
            renamed[stored] = name
    return renamed


def tell_family(stored: Shapes, notes: Mapping[str, str], *, file_name: str = "") -> MotionFamily:
    """Tell the family of a motion module.

    Args:
        stored: Shapes of its tensors, under the names they have in the file.
        notes: What the file's header says about it.
        file_name: Looked at for Lightning's step count alone.

    Returns:
        The family, its `max_positions` the file's own.

    Example:
        >>> pe = "down_blocks.3.motion_modules.0.temporal_transformer.attention_blocks.0.pos_encoder.pe"
        >>> tell_family({pe: (1, 24, 1280)}, {}).name
        'AnimateDiff v1'
    """
    shapes = {new: stored[old] for old, new in rename_motion(stored).items()}
    positions = count_positions(shapes)
    family = FAMILIES.get(notes.get(FAMILY_NOTE, "")) or _family(stored, shapes, positions, file_name.lower())
    return replace(family, max_positions=positions or _UNLIMITED)


def _family(stored: Shapes, shapes: Shapes, positions: int | None, file_name: str) -> MotionFamily:
    has_mid = any(name.startswith("mid_block.") for name in shapes)
    is_xl = count_blocks(shapes) < _SD15_BLOCKS and not has_mid
    is_hotshot = positions == HOTSHOT_XL.max_positions or any(".temporal_attentions." in name for name in stored)
    steps = re.search(r"lightning_([1248])step", file_name)
    rules = (
        (is_xl and is_hotshot, HOTSHOT_XL),
        (is_xl, SDXL_BETA),
        (any(name.startswith("img_encoder.") for name in stored), ANIMATE_LCM_I2V),
        (stored.get("conv_in.weight", (0, 0))[1] > _LATENT_CHANNELS, PIA),
        (positions is None, ANIMATE_LCM),
        (has_mid and steps is not None, LIGHTNING[int(steps[1])] if steps else V2),
        (has_mid, V2),
        (positions == V3.max_positions, V3),
        ((positions or 0) >= LONG.max_positions, LONG),
    )
    return next((family for applies, family in rules if applies), V1)


def count_positions(shapes: Shapes) -> int | None:
    """Frames that a module's stored table of positions has places for; None if it stores none."""
    return next((shape[1] for name, shape in shapes.items() if name.endswith(_POSITIONS)), None)


def count_blocks(shapes: Shapes) -> int:
    """Down blocks that hold motion layers: four for Stable Diffusion 1.5, three for SDXL."""
    return 1 + max((int(found[1]) for name in shapes if (found := re.match(r"down_blocks\.(\d+)\.", name))), default=-1)


def advise(family: MotionFamily, settings: Mapping[str, Any]) -> list[str]:
    """What is known to fail with this family, in plain words; empty if nothing is.

    Args:
        family: How the motion module must be run.
        settings: Fields of the request by name, those of `ADVISED_ON` among them.

    Example:
        >>> advise(ANIMATE_LCM, {"scheduler": "lcm", "num_inference_steps": 6, "guidance_scale": 7})
        ['AnimateLCM was distilled for a guidance of 1 to 2; 7 burns its colours. Set Guidance to 1.5.']
    """
    if not family.is_distilled:
        return []
    scheduler, num_inference_steps, guidance_scale = (settings[name] for name in ADVISED_ON)
    advice = []
    wanted = family.num_inference_steps
    if guidance_scale > 2:
        advice.append(
            f"{family.name} was distilled for a guidance of 1 to 2; {guidance_scale:g} burns its colours. "
            f"Set Guidance to {family.guidance_scale:g}."
        )
    if family.id.startswith("lightning") and num_inference_steps != wanted:
        advice.append(
            f"{family.name}, works with exactly as many steps as it was distilled for; got {num_inference_steps}. "
            f"Set Steps to {wanted}."
        )
    elif num_inference_steps > 4 * wanted:
        advice.append(f"{family.name} needs about {wanted} steps; {num_inference_steps} only take longer.")
    if scheduler != family.scheduler:
        advice.append(f"{family.name} was distilled for the sampler {family.scheduler}; got {scheduler}.")
    return advice
