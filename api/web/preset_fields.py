"""Fill fields that a call leaves open from a preset."""

from collections.abc import Mapping

from pipelines.plan.catalog import complete
from pipelines.plan.presets import preset_values, required_lora
from studio.fields import FieldValues


def fill_preset(
    values: Mapping[str, object], preset: object, defaults: Mapping[str, object]
) -> tuple[FieldValues, str]:
    """Fill open fields with those of a preset.

    Open is what is absent, None, or equal to its published default: whoever sends every parameter, as some clients do,
    says the same as whoever sends none. So a call can't ask for a default against a preset that sets the field.

    Args:
        values: Fields of the request by name.
        preset: Its id; none if empty.
        defaults: The published defaults by name; empty where nothing is sent unless it is meant.

    Returns:
        The fields, and the tag of the LoRA that the preset wants in the prompt; empty if it wants none.

    Raises:
        InvalidRequestError: There is no such preset for the base model, or no such model.

    Example:
        >>> filled, _ = fill_preset({"base_model": "demo", "seed": 1}, "draft", {})
        >>> filled["num_inference_steps"], filled["scheduler"], filled["seed"]
        (8, 'dpmpp_2m', 1)
        >>> fill_preset({"base_model": "demo", "num_frames": 16}, "long", {"num_frames": 16})[0]["num_frames"]
        64
        >>> fill_preset({"base_model": "demo", "num_frames": 16}, "long", {})[0]["num_frames"]
        16
    """
    if preset in (None, ""):
        return dict(values), ""
    models = complete({name: values.get(name) for name in ("base_model", "motion_module")})
    module = values.get("motion_module")
    preset_fields = preset_values(preset, str(models["base_model"]), module if isinstance(module, str) else None)
    is_open = {name for name in preset_fields if values.get(name) is None or values[name] == defaults.get(name)}
    filled = {**values, **{name: preset_fields[name] for name in is_open}}
    return filled, required_lora(str(preset_fields["motion_module"])) if "motion_module" in is_open else ""
