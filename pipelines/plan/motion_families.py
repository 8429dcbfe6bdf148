"""Families of AnimateDiff motion modules: how each must be run.

`pipelines/plan/motion_layout.py` identifies them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from pipelines.plan.architecture import Architecture
from pipelines.plan.choices import Scheduler
from pipelines.plan.notes import Note, listed

FAMILY_FIELDS = (
    "context_length",
    "scheduler",
    "num_inference_steps",
    "guidance_scale",
    "width",
    "height",
    "motion_scale",
)
"""The request's fields that a family may have an opinion on."""
ADVISED_ON = ("scheduler", "num_inference_steps", "guidance_scale", "width", "height")
"""The request's fields that `advise` looks at."""
_FAR = 2  # times the area that a family was trained on


class SpatialNorm(StrEnum):
    """Input of the UNet's ResNet norms during the module's training."""

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
        original_inference_steps: Steps that LCM's are taken from, as diffusers spells it; None for its default.
        spatial_norm: Whether the UNet's ResNet norms take each frame or the whole window.
        scheduler, num_inference_steps, guidance_scale, width, height, motion_scale: What its authors recommend; None
            where they leave it to the base model.
        size_ids: What SDXL's UNet is told of a picture's size, in the order of `added_conditions`; None for the
            clip's own.
        is_distilled: It works only near the recommended steps and guidance.
        missing_input: What it was trained to see and does not get here, in words; empty if nothing.
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
    original_inference_steps: int | None = None
    spatial_norm: SpatialNorm = SpatialNorm.PER_FRAME
    scheduler: Scheduler | None = None
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    width: int | None = None
    height: int | None = None
    motion_scale: float | None = None
    size_ids: tuple[int, ...] | None = None
    is_distilled: bool = False
    missing_input: str = ""

    @property
    def settings(self) -> dict[str, object]:
        """Fields of the request it decides where the user does not."""
        recommended = {name: getattr(self, name) for name in FAMILY_FIELDS}
        return {name: value for name, value in recommended.items() if value is not None}

    @property
    def in_words(self) -> Note:
        """Describe the family in one line."""
        line = Note(
            "motion.window",
            "window {length} frames, at most {most}; {schedule} noise schedule",
            length=self.context_length,
            most=self.max_positions,
            schedule=self.beta_schedule,
        )
        if self.is_distilled:
            steps = self.num_inference_steps
            code, words = ("one_step", "1 step") if steps == 1 else ("steps", "{count} steps")
            line = Note(
                f"motion.{code}",
                f"{{line}}; made for {words} of {{sampler}} at a guidance of {{guidance:g}}",
                line=line,
                count=steps,
                sampler=str(self.scheduler),
                guidance=self.guidance_scale,
            )
        elif advised := self._advice_in_words():
            line = Note("motion.authors", "{line}; its authors take {advice}", line=line, advice=listed(advised))
        if self.missing_input:
            line = Note("motion.without", "{line}; runs here without {input}", line=line, input=self.missing_input)
        return line

    def _advice_in_words(self) -> list[Note]:
        advice = (
            ("motion.sampler", "sampler {value}", self.scheduler and str(self.scheduler)),
            ("motion.own_steps", "{value} steps", self.num_inference_steps),
            ("motion.own_guidance", "a guidance of {value:g}", self.guidance_scale),
            ("motion.own_size", "{value} pixels", self.width and f"{self.width}×{self.height}"),
            ("motion.own_amount", "motion amount {value:g}", self.motion_scale),
        )
        return [Note(code, words, value=value) for code, words, value in advice if value is not None]

    def scheduler_config(self, *, prediction_type: str) -> dict[str, object]:
        """Build diffusers scheduler arguments for this family's noise schedule."""
        return {
            "num_train_timesteps": 1000,
            "beta_start": self.beta_start,
            "beta_end": self.beta_end,
            "beta_schedule": self.beta_schedule,
            "timestep_spacing": self.timestep_spacing,
            "steps_offset": 1,
            "clip_sample": False,
            "prediction_type": prediction_type,
        } | ({"original_inference_steps": steps} if (steps := self.original_inference_steps) else {})


V1 = MotionFamily(id="v1", name="AnimateDiff v1", max_positions=24, spatial_norm=SpatialNorm.WINDOW)
V2 = MotionFamily(id="v2", name="AnimateDiff v2")
V3 = MotionFamily(id="v3", name="AnimateDiff v3")
SDXL_BETA = MotionFamily(
    id="sdxl-beta",
    name="AnimateDiff SDXL beta",
    base=Architecture.SDXL,
    beta_schedule="scaled_linear",
    beta_end=0.020,
    scheduler=Scheduler.EULER,
    guidance_scale=8.5,
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
    guidance_scale=5.0,
    width=672,
    height=384,
    size_ids=(1920, 1080, 0, 0, 512, 512),
)
ANIMATE_LCM = MotionFamily(
    id="animate-lcm",
    name="AnimateLCM",
    max_positions=64,  # it stores no table, and computes positions for any length
    original_inference_steps=100,
    scheduler=Scheduler.LCM,
    num_inference_steps=6,
    guidance_scale=1.5,
    is_distilled=True,
)
ANIMATE_LCM_I2V = replace(
    ANIMATE_LCM,
    id="animate-lcm-i2v",
    name="AnimateLCM-I2V",
    beta_end=0.014,
    original_inference_steps=200,
    num_inference_steps=4,
    guidance_scale=1.0,
    missing_input=Note("motion.first_picture", "the picture that it begins at"),
)
DEMO_LCM = replace(
    ANIMATE_LCM,
    id="demo-lcm",
    name="Demo LCM",
    max_positions=32,
    original_inference_steps=None,
    num_inference_steps=4,
    guidance_scale=1.0,
)
PIA = MotionFamily(
    id="pia",
    name="PIA",
    spatial_norm=SpatialNorm.WINDOW,
    missing_input=Note("motion.picture_and_mask", "the picture that it animates, and its mask"),
)
LONG = MotionFamily(
    id="long-animate-diff",
    name="LongAnimateDiff",
    context_length=64,
    max_positions=128,
    num_inference_steps=25,
    guidance_scale=7.5,
    motion_scale=1.15,
)
LONG_32 = replace(LONG, id="long-animate-diff-32", name="LongAnimateDiff 32", context_length=32, max_positions=64)
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


def advise(family: MotionFamily, settings: Mapping[str, object]) -> list[str]:
    """Warn of settings known to fail with this family.

    Args:
        family: How the motion module must be run.
        settings: Fields of the request by name, those of `ADVISED_ON` among them.

    Example:
        >>> advise(ANIMATE_LCM, {"scheduler": "lcm", "num_inference_steps": 6, "guidance_scale": 7})
        ['AnimateLCM was distilled for a guidance of 1 to 2; 7 burns its colours. Set Guidance to 1.5.']
    """
    advice = _distilled_advice(family, settings) if family.is_distilled else []
    if family.width and family.height:
        area, trained = _number(settings["width"]) * _number(settings["height"]), family.width * family.height
        if not trained / _FAR <= area <= trained * _FAR:
            advice.append(
                f"{family.name} was trained on areas near {family.width}×{family.height} pixels; "
                f"got {settings['width']}×{settings['height']}. "
                f"Set Width to {family.width} and Height to {family.height}."
            )
    if family.missing_input:
        advice.append(f"{family.name} was trained to see {family.missing_input}; here it runs without.")
    return advice


def _distilled_advice(family: MotionFamily, settings: Mapping[str, object]) -> list[str]:
    scheduler = settings["scheduler"]
    num_inference_steps, guidance_scale = (
        _number(settings[name]) for name in ("num_inference_steps", "guidance_scale")
    )
    advice = []
    steps = family.num_inference_steps or 1
    if guidance_scale > 2:
        advice.append(
            f"{family.name} was distilled for a guidance of 1 to 2; {guidance_scale:g} burns its colours. "
            f"Set Guidance to {family.guidance_scale:g}."
        )
    if family.id.startswith("lightning") and num_inference_steps != steps:
        advice.append(
            f"{family.name}, works with exactly as many steps as it was distilled for; got {num_inference_steps}. "
            f"Set Steps to {steps}."
        )
    elif num_inference_steps > 4 * steps:
        advice.append(f"{family.name} needs about {steps} steps; {num_inference_steps} only take longer.")
    if scheduler != family.scheduler:
        advice.append(f"{family.name} was distilled for the sampler {family.scheduler}; got {scheduler}.")
    return advice


def _number(value: object) -> float:
    assert isinstance(value, (int, float))
    return value
