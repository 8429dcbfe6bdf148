"""The public families of AnimateDiff motion modules: how to tell them, and how each must be run. No torch.

A family is told by the names and shapes of a file's tensors, never by the file's name. Two things the
tensors can't tell: how many steps a Lightning module was distilled for (its file name says it), and what a
file was made from when a later one has the same layout (a catalog row or the file's own header says it).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from pipelines.architecture import Architecture
from pipelines.request import Scheduler

Shapes = Mapping[str, tuple[int, ...]]

_POSITIONS = ".pos_embed.pe"
_UNLIMITED = 64  # positions of modules that store none, AnimateLCM's


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
        has_motion_lora: The published motion LoRAs were trained on it.
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
    has_motion_lora: bool = False

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
V2 = MotionFamily(id="v2", name="AnimateDiff v2", has_motion_lora=True)
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
        V1, V2, V3, SDXL_BETA, HOTSHOT_XL, ANIMATE_LCM, ANIMATE_LCM_I2V, PIA, LONG, LONG_32, *LIGHTNING.values()
    )
}  # fmt: skip
"""Every family, by its id."""


def tell_family(shapes: Shapes, *, native_hotshot: bool = False, file_name: str = "") -> MotionFamily:
    """Tell the family of a motion module.

    Args:
        shapes: Shapes of its tensors under diffusers' names, `conv_in` and `img_encoder` among them.
        native_hotshot: Whether the file had HotShot-XL's own names.
        file_name: Looked at for Lightning's step count alone.

    Returns:
        The family, its `max_positions` the file's own.

    Example:
        >>> pe = "down_blocks.3.motion_modules.0.transformer_blocks.0.pos_embed.pe"
        >>> tell_family({pe: (1, 24, 1280)}).name
        'AnimateDiff v1'
    """
    positions = count_positions(shapes)
    has_mid = any(name.startswith("mid_block.") for name in shapes)
    if count_blocks(shapes) < 4 and not has_mid:
        family = HOTSHOT_XL if native_hotshot or positions == HOTSHOT_XL.max_positions else SDXL_BETA
    elif any(name.startswith("img_encoder.") for name in shapes):
        family = ANIMATE_LCM_I2V
    elif "conv_in.weight" in shapes:
        family = PIA
    elif positions is None:
        family = ANIMATE_LCM
    elif has_mid:
        named = re.search(r"lightning_([1248])step", file_name.lower())
        family = LIGHTNING[int(named[1])] if named else V2
    elif positions == V3.max_positions:
        family = V3
    else:
        family = LONG if positions >= LONG.max_positions else V1
    return replace(family, max_positions=positions or _UNLIMITED)


def count_positions(shapes: Shapes) -> int | None:
    """Frames that a module's stored table of positions has places for; None if it stores none."""
    return next((shape[1] for name, shape in shapes.items() if name.endswith(_POSITIONS)), None)


def count_blocks(shapes: Shapes) -> int:
    """Down blocks that hold motion layers: four for Stable Diffusion 1.5, three for SDXL."""
    return 1 + max((int(found[1]) for name in shapes if (found := re.match(r"down_blocks\.(\d+)\.", name))), default=-1)


def advise(family: MotionFamily, *, scheduler: Scheduler, num_inference_steps: int, guidance_scale: float) -> list[str]:
    """What is known to fail with this family, in plain words; empty if nothing is.

    Example:
        >>> advise(ANIMATE_LCM, scheduler=Scheduler.LCM, num_inference_steps=6, guidance_scale=7)
        ['AnimateLCM was distilled for a guidance of 1 to 2; 7 burns its colours. Set Guidance to 1.5.']
    """
    if not family.is_distilled:
        return []
    advice = []
    wanted = family.num_inference_steps
    if guidance_scale > 2:
        advice.append(
            f"{family.name} was distilled for a guidance of 1 to 2; {guidance_scale:g} burns its colours. "
            f"Set Guidance to {family.guidance_scale:g}."
        )
    if family.id.startswith("lightning") and num_inference_steps != wanted:
        advice.append(f"{family.name} was distilled for exactly {wanted} steps; got {num_inference_steps}.")
    elif num_inference_steps > 4 * wanted:
        advice.append(f"{family.name} needs about {wanted} steps; {num_inference_steps} only take longer.")
    if scheduler is not family.scheduler:
        advice.append(f"{family.name} was distilled for the sampler {family.scheduler}; got {scheduler}.")
    return advice
