"""Weights stored in float8 beside the factors that make them what they were, and in numbers that only others read."""

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


def without_factors(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """The shapes of what `unscaled` leaves of a file's tensors."""
    factors = {name for name in _named(shapes, _FACTORS) if prod(shapes[name]) == 1}
    return {name: shape for name, shape in shapes.items() if name not in factors.union(_named(shapes, _BESIDE))}


def refuse_quantised(names: Iterable[str], *, field: str, file: str) -> None:
    """Refuse a file whose weights are of another program's numbers, before it is taken for a damaged one.

    Raises:
        WeightsError: A tensor's name says so.
    """
    found = next((name for name in names if _QUANTISED.search(name)), None)
    if found:
        raise WeightsError(
            Fault(
                code="weights.quantised",
                field=field,
                rule="hold plain weights",
                got=file,
                seen="'{got:s}', which is quantised ({tensor:s})",
                fix=_IN_FLOAT16,
                values={"tensor": found},
            )
        )


def refuse_whole_numbers(tensors: Mapping[str, torch.Tensor], *, field: str, file: str) -> None:
    """Refuse whole numbers among a network's tensors, which it would take for weights or choke on.

    Raises:
        WeightsError: A tensor has them.
    """
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            raise whole_numbers(name, field=field, file=file)


def whole_numbers(name: str, *, field: str, file: str) -> WeightsError:
    """What to raise for a tensor of whole numbers where weights must be."""
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


def _named(tensors: Iterable[str], ends: tuple[str, ...]) -> list[str]:
    return [name for name in tensors if name.rpartition(".")[2] in ends]
