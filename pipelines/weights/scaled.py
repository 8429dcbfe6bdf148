"""Weights stored in float8 beside the factors that make them what they were."""

from collections.abc import Mapping

import torch

from pipelines.errors import WeightsError

#: A layer's factor beside its weight: ComfyUI's first names and its later ones.
_FACTORS = ("scale_weight", "weight_scale")
#: What is beside weights for programs that compute in float8, or says that there are factors.
_BESIDE = ("scale_input", "input_scale", "scaled_fp8", "comfy_quant")


def unscaled(tensors: dict[str, torch.Tensor], *, field: str, file: str) -> dict[str, torch.Tensor]:
    """Multiply weights by the factors beside them, and leave out the factors.

    Args:
        tensors: All tensors of a file, in a type that computes; changed in place.
        field, file: The request's field and the file's name, for the error text.

    Raises:
        WeightsError: A factor belongs to a block of numbers, as in 4-bit files, not to a whole weight.
    """
    factors = {name: tensors.pop(name) for name in _named(tensors, _FACTORS)}
    for name in _named(tensors, _BESIDE):
        del tensors[name]
    for name, factor in factors.items():
        weight = tensors.get(f"{name.rpartition('.')[0]}.weight")
        if factor.numel() != 1 or weight is None or not weight.is_floating_point():
            raise WeightsError(
                f"{field} must hold plain weights or float8 with one factor a layer, got '{file}', which is quantised "
                f"in blocks ({name}). Choose the same model in float16."
            )
        weight.mul_(factor.to(weight.dtype))
    return tensors


def _named(tensors: Mapping[str, torch.Tensor], ends: tuple[str, ...]) -> list[str]:
    return [name for name in tensors if name.rpartition(".")[2] in ends]
