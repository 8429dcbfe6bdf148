"""Scaled float8 weights, and refusal of other quantised formats."""

import re
from collections.abc import Iterable, Mapping
from math import prod

import torch

from pipelines.plan.errors import WeightsError
from pipelines.plan.faults import Fault

#: A layer's factor beside its weight: ComfyUI's first names and its later ones.
_FACTORS = ("scale_weight", "weight_scale")
#: What is beside weights for programs that compute in float8, or says that there are factors.
_BESIDE = ("scale_input", "input_scale", "scaled_fp8", "comfy_quant")
_IN_FLOAT16 = "Choose the same model in float16"
#: How names end beside or in the place of quantised weights: bitsandbytes', quanto's, GPTQ's and AWQ's.
_QUANTISED = re.compile(
    r"\.(absmax|quant_map|quant_state\.\w+|nested_absmax|SCB|weight_format|weight\._(data|scale)|qweight|qzeros|g_idx)$"
)


def apply_factors(tensors: dict[str, torch.Tensor], *, field: str, file: str) -> dict[str, torch.Tensor]:
    """Multiply weights by the factors beside them, and leave out the factors.

    Args:
        tensors: All tensors of a file, in a type that computes; changed in place.
        field, file: The request's field and the file's name, for the error text.

    Raises:
        WeightsError: A factor belongs to a block of numbers, as in 4-bit files, not to a whole weight.
    """
    factors = {name: tensors.pop(name) for name in _names_ending(tensors, _FACTORS)}
    for name in _names_ending(tensors, _BESIDE):
        del tensors[name]
    for name, factor in factors.items():
        weight = tensors.get(f"{name.rpartition('.')[0]}.weight")
        if factor.numel() != 1 or weight is None or not weight.is_floating_point():
            raise WeightsError(
                Fault(
                    code="weights.quantised_in_blocks",
                    field=field,
                    rule="hold plain weights or float8 with one factor a layer",
                    got=file,
                    seen="'{got:s}', which is quantised in blocks ({tensor:s})",
                    fix=_IN_FLOAT16,
                    values={"tensor": name},
                )
            )
        weight.mul_(factor.to(weight.dtype))
    return tensors


def drop_factors(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """Return the shapes that `apply_factors` leaves of a file's tensors."""
    factors = {name for name in _names_ending(shapes, _FACTORS) if prod(shapes[name]) == 1}
    return {name: shape for name, shape in shapes.items() if name not in factors.union(_names_ending(shapes, _BESIDE))}


def refuse_quantised(names: Iterable[str], *, field: str, file: str) -> None:
    """Refuse quantised weights, before they are taken for a damaged file.

    Raises:
        WeightsError: A tensor's name says so.
    """
    quantised_name = next((name for name in names if _QUANTISED.search(name)), None)
    if quantised_name:
        raise WeightsError(
            Fault(
                code="weights.quantised",
                field=field,
                rule="hold plain weights",
                got=file,
                seen="'{got:s}', which is quantised ({tensor:s})",
                fix=_IN_FLOAT16,
                values={"tensor": quantised_name},
            )
        )


def refuse_whole_numbers(tensors: Mapping[str, torch.Tensor], *, field: str, file: str) -> None:
    """Refuse whole numbers among a network's tensors.

    Raises:
        WeightsError: A tensor has them.
    """
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            raise whole_numbers(name, field=field, file=file)


def whole_numbers(name: str, *, field: str, file: str) -> WeightsError:
    """Build the error for a tensor of whole numbers instead of weights."""
    return WeightsError(
        Fault(
            code="weights.whole_numbers",
            field=field,
            rule="hold floating-point weights",
            got=file,
            seen="'{got:s}' with whole numbers in {tensor:s}, as quantised models have them",
            fix=_IN_FLOAT16,
            values={"tensor": name},
        )
    )


def _names_ending(tensors: Iterable[str], ends: tuple[str, ...]) -> list[str]:
    return [name for name in tensors if name.rpartition(".")[2] in ends]
