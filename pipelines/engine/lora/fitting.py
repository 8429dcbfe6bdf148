"""Match a LoRA's layers to model parameters, and report what fits nothing."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from pipelines.engine.lora.additions import Addition
from pipelines.engine.lora.files import FIELD, Lora, LoraKind
from pipelines.engine.lora.parts import BIAS
from pipelines.plan.errors import WeightsError
from pipelines.plan.faults import Fault
from pipelines.plan.findings import Finding
from pipelines.plan.model_files.kinds import TEXT_WIDTHS

_READS_TEXT = ("_attn2_to_k", "_attn2_to_v")
_MOTION_MID = "mid_block_motion_modules_"


@dataclass(frozen=True, slots=True)
class Fit:
    """Parameters that a LoRA is added to.

    Args:
        additions: Parameters of the models and what is added to each.
        warnings: What was left out and why, for people.
    """

    additions: Sequence[tuple[nn.Parameter, Addition]] = ()
    warnings: Sequence[str] = ()


def fit_lora(lora: Lora, models: Mapping[str, nn.Module], base_model: str, motion_label: str) -> Fit:
    """Find the parameter of each LoRA layer, and what fits nothing.

    Args:
        models: "unet" and the text encoders, by the names of their components.
        base_model: The base model's id, for people.
        motion_label: What people call the motion module in the UNet.

    Raises:
        WeightsError: It fits no layer at all, or a layer of another size.
    """
    if lora.kind is LoraKind.TEXTUAL_INVERSION:
        return Fit()
    targets = {component: _targets(model) for component, model in models.items()}
    has_mid = _has_motion_mid(models["unet"])
    additions, idle, unknown = [], [], list(lora.unread)
    for component, layers in lora.layers.items():
        for layer, addition in layers.items():
            parameter = targets.get(component, {}).get(layer)
            if layer.startswith(_MOTION_MID) and not has_mid:
                idle.append(layer)
            elif parameter is None:
                unknown.append(f"{component}: {layer}")
            elif not addition.fits(parameter.shape):
                other_size = Finding(
                    "lora.layer_of_other_size", "whose layer {layer:s} has another size", {"layer": layer}
                )
                raise misfit(lora, base_model, _guess_family(lora) or other_size)
            else:
                additions.append((parameter, addition))
    if not additions:
        count = len(idle) + len(unknown)
        none = Finding("lora.fits_no_layer", "none of whose {layers} layers is in it", {"layers": count})
        raise misfit(lora, base_model, _guess_family(lora) or none)
    return Fit(additions, tuple(_describe_unused(lora, len(additions), idle, unknown, motion_label)))


def _describe_unused(
    lora: Lora, added: int, idle: Sequence[str], unknown: Sequence[str], motion_label: str
) -> Iterator[str]:
    """Describe the parts of a LoRA that do nothing.

    Args:
        added: Layers it is added to.
        idle: Layers of the middle block that the motion module lacks.
        unknown: Layers that the model lacks.
    """
    if idle:
        yield (
            f"'{lora.name}' was made for AnimateDiff v2. The motion module '{motion_label}' has no middle block, so "
            f"{len(idle)} of the {len(idle) + added} layers do nothing here and the motion may be weaker."
        )
    if lora.words:
        yield (
            f"'{lora.name}' brings words of its own ({', '.join(lora.words)}), which were left out. "
            "Put them into textual inversions of their own."
        )
    if unknown:
        yield (
            f"'{lora.name}' has {len(unknown)} parts that fit nothing in this model and were left out "
            f"(the first is {unknown[0]}); {added} layers were added."
        )


def _targets(model: nn.Module) -> dict[str, nn.Parameter]:
    """Map flattened layer names to weights, and with `BIAS` to biases."""
    targets: dict[str, nn.Parameter] = {}
    for name, module in model.named_modules():
        flat = name.replace(".", "_").removeprefix("text_model_")
        names = {flat, flat.removesuffix("_0") if flat.endswith("_to_out_0") else flat}  # some files leave the 0 out
        for parameter, end in (("weight", ""), ("bias", BIAS)):
            if isinstance(tensor := getattr(module, parameter, None), nn.Parameter):
                targets |= {name + end: tensor for name in names}
    return targets


def _guess_family(lora: Lora) -> Finding | None:
    """Tell a misfit LoRA's model family by its text width, if possible."""
    layers = lora.layers.get("unet", {}).items()
    widths = {
        addition.difference(torch.device("meta")).shape[1] for name, addition in layers if name.endswith(_READS_TEXT)
    }
    families = [TEXT_WIDTHS[width] for width in widths if width in TEXT_WIDTHS]
    if len(families) != 1:
        return None
    return Finding("lora.made_for_other", "which is made for {made_for:s}", {"made_for": families[0]})


def _has_motion_mid(unet: nn.Module) -> bool:
    """Tell whether the motion module's middle block adds anything."""
    return any(
        bool(parameter.any())
        for name, parameter in unet.named_parameters()
        if name.startswith("mid_block.motion_modules.") and ".proj_out." in name
    )


def misfit(lora: Lora, base_model: str, finding: Finding) -> WeightsError:
    """Build the error for a LoRA or inversion of another base model."""
    return WeightsError(
        Fault(
            code=finding.code,
            field=FIELD,
            rule="be made for the base model '{base:s}' and its motion module",
            got=lora.name,
            seen=f"'{{got:s}}', {finding.words}",
            fix="Remove its tag or choose the model it was made for",
            values={"base": base_model, **finding.values},
        )
    )
