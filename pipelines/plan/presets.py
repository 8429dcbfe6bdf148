"""Presets: named groups of settings that set fields of a request.

Presets are of two kinds that combine, how well and fast a clip is drawn and what shape it has. Each sets all fields of
its kind, those it has no opinion on to what is the models' own, so that the one before leaves nothing behind.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pipelines.plan import catalog
from pipelines.plan.catalog_entries import MotionModule
from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.faults import Fault
from pipelines.plan.request import GenerationRequest

_DRAWING = (
    "motion_module",
    "num_inference_steps",
    "guidance_scale",
    "scheduler",
    "context_length",
    "motion_norm",
    "interpolation",
)
_SHAPE = ("num_frames", "closed_loop", "noise_layout")


@dataclass(frozen=True, slots=True)
class Preset:
    """A preset, before the model it is for is known.

    Args:
        id: The stable name.
        label: What people call it.
        sets: The fields it decides.
        values: Values of some of them; the others are the models' own.
        motion_families: Where it needs a motion module of one of these families, by their ids, the best first.
        lora: The LoRA that the motion module of a family wants beside it, by the family's id.
    """

    id: str
    label: str
    sets: tuple[str, ...]
    values: Mapping[str, object] = field(default_factory=dict)
    motion_families: tuple[str, ...] = ()
    lora: Mapping[str, str] = field(default_factory=dict)


PRESETS: tuple[Preset, ...] = (
    Preset("draft", "Fast draft", _DRAWING, {"num_inference_steps": 8, "scheduler": "dpmpp_2m"}),
    Preset("balanced", "Balanced", (*_DRAWING, *_SHAPE)),
    Preset("best", "Best", _DRAWING, {"num_inference_steps": 40, "interpolation": "flow"}),
    # Two windows of most models: what fits into one would be played forth and back.
    Preset("loop", "Loop", _SHAPE, {"num_frames": 32, "closed_loop": "full"}),
    Preset("long", "Long", _SHAPE, {"num_frames": 64, "noise_layout": "shuffle"}),
    Preset(
        "lcm",
        "LCM",
        _DRAWING,
        motion_families=("demo-lcm", "animate-lcm"),
        lora={"animate-lcm": "AnimateLCM_sd15_t2v_lora"},
    ),
    Preset("lightning", "Lightning", _DRAWING, motion_families=("lightning-4",)),
)


def presets_for(base_model: str) -> list[Preset]:
    """List the presets that a base model has.

    Args:
        base_model: Its id.

    Example:
        >>> [preset.id for preset in presets_for("demo")]
        ['draft', 'balanced', 'best', 'loop', 'long', 'lcm']
    """
    return [preset for preset in PRESETS if not preset.motion_families or _module(preset, base_model)]


def preset_values(preset_id: object, base_model: str, motion_module: str | None = None) -> dict[str, object]:
    """Return the fields that a preset sets.

    Args:
        preset_id: Which.
        base_model: Id of the model it is for.
        motion_module: Id of the one in use; it is kept where the preset needs no other and it is not a distilled one.

    Raises:
        InvalidRequestError: There is no such preset, or the base model has no motion module for it.

    Example:
        >>> values = preset_values("lcm", "demo")
        >>> values["motion_module"], values["num_inference_steps"], values["guidance_scale"]
        ('demo-lcm', 4, 1.0)
    """
    fitting = {preset.id: preset for preset in presets_for(base_model)}
    preset = fitting.get(preset_id) if isinstance(preset_id, str) else None
    if preset is None:
        raise InvalidRequestError(
            Fault(
                code="preset.not_with_base_model",
                field="preset",
                rule="be one of {choices:s} with the base model '{base:s}'",
                got=preset_id,
                fix="Choose one of them, or another base model",
                limit=tuple(fitting),
                values={"choices": ", ".join(fitting), "base": base_model},
            )
        )
    models = {"base_model": base_model}
    if needed := _module(preset, base_model):
        models["motion_module"] = needed.id
    elif isinstance(motion_module, str) and motion_module and not _is_distilled(motion_module):
        models["motion_module"] = motion_module
    values = catalog.complete(models)
    defaults = {name: GenerationRequest.model_fields[name].default for name in preset.sets}
    return {name: preset.values.get(name, values.get(name, defaults[name])) for name in preset.sets}


def required_lora(motion_module: str) -> str:
    """Return the LoRA tag that a preset's motion module needs, or "".

    Example:
        >>> required_lora("wangfuyun/AnimateLCM/AnimateLCM_sd15_t2v.ckpt"), required_lora("demo-lcm")
        ('<lora:AnimateLCM_sd15_t2v_lora:0.8>', '')
    """
    family = catalog.find_motion_module(motion_module).motion_family
    names = [preset.lora[family] for preset in PRESETS if family and family in preset.lora]
    return f"<lora:{names[0]}:{catalog.find_lora(names[0]).weight:g}>" if names else ""


def _module(preset: Preset, base_model: str) -> MotionModule | None:
    """Find the motion module a preset needs with this base model."""
    family = catalog.find_base_model(base_model).family
    fitting = [module for module in catalog.motion_modules() if family and module.family == family]
    for family_id in preset.motion_families:
        for module in fitting:
            if module.motion_family == family_id:
                return module
    return None


def _is_distilled(motion_module: str) -> bool:
    family = catalog.find_motion_module(motion_module).known_family
    return bool(family and family.is_distilled)
