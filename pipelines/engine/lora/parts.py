"""Tensors that a LoRA file has for one layer, and their additions."""

import re
from collections.abc import Mapping

import torch

from pipelines.engine.lora.additions import Addition, Difference, Kronecker, LowRank, Magnitudes, Product

BIAS = ".bias"  # behind a layer's name: what is added to its bias
_ADAPTER = r"(?:\.[^.]+)?"  # what peft calls an adapter: default, default_0, …
_PATTERNS = tuple(
    re.compile(r"(?P<layer>.+?)" + pattern)
    for pattern in (
        rf"(?:[._]lora\.|\.lora_linear_layer\.|\.lora_)(?P<role>down|up|mid|A|B){_ADAPTER}\.weight",
        rf"\.(?P<role>lora_magnitude_vector){_ADAPTER}(?:\.weight)?",
        r"(?:[._]lora)?\.(?P<role>alpha)",
        r"\.(?P<role>hada_(?:w[12]_[ab]|t[12])|lokr_(?:w[12](?:_[ab])?|t[12])|diff|diff_b|w_norm|b_norm|dora_scale|scalar)",
    )
)
_ROLES = {"A": "down", "B": "up", "w_norm": "diff", "b_norm": "diff_b"}
_PLAIN = {"alpha", "scalar", "dora_scale", "lora_magnitude_vector", "diff_b"}  # beside any addition to a weight


def split_name(name: str) -> tuple[str, str] | None:
    """Split a tensor name into stored layer name and role; None otherwise.

    Example:
        >>> split_name("unet.mid_block.proj.lora_A.default_0.weight")
        ('unet.mid_block.proj', 'down')
        >>> split_name("lora_unet_mid_block_resnets_0_norm1.w_norm")
        ('lora_unet_mid_block_resnets_0_norm1', 'diff')
    """
    match = next(filter(None, (pattern.fullmatch(name) for pattern in _PATTERNS)), None)
    return (match["layer"], _ROLES.get(match["role"], match["role"])) if match else None


def build_additions(parts: Mapping[str, torch.Tensor], alpha: float | None) -> dict[str, Addition]:
    """Build a layer's additions to its weight ("") and bias (`BIAS`).

    Args:
        parts: By their roles.
        alpha: Where the file has none for the layer.

    Raises:
        ValueError: They don't belong together.
    """
    if not all(part.is_floating_point() for role, part in parts.items() if role != "alpha"):
        raise ValueError("whole numbers")
    try:
        additions = dict(_additions(parts, float(parts["alpha"]) if "alpha" in parts else alpha))
        for addition in additions.values():
            addition.difference(torch.device("meta"))
    except (KeyError, RuntimeError, IndexError, ZeroDivisionError, NotImplementedError) as err:
        raise ValueError(f"{', '.join(parts)} make no addition") from err
    return additions


def _additions(parts: Mapping[str, torch.Tensor], alpha: float | None) -> dict[str, Addition]:
    additions: dict[str, Addition] = {}
    if "diff_b" in parts:
        additions[BIAS] = Difference(parts["diff_b"])
    if parts.keys() - _PLAIN or BIAS not in additions:
        additions[""] = _of_weight(parts, alpha)
        if "dora_scale" in parts:
            additions[""] = Magnitudes(additions[""], parts["dora_scale"])
        if "lora_magnitude_vector" in parts:
            additions[""] = Magnitudes(additions[""], parts["lora_magnitude_vector"].flatten())
    return additions


def _of_weight(parts: Mapping[str, torch.Tensor], alpha: float | None) -> Addition:
    times = float(parts["scalar"]) if "scalar" in parts else 1.0

    def scale(rank: int | None) -> float:
        return times if alpha is None or rank is None else times * alpha / rank

    if "diff" in parts:
        return Difference(parts["diff"])
    if "down" in parts or "up" in parts:
        down, up, mid = parts["down"], parts["up"], parts.get("mid")
        if not _belong_together(down, up, mid):
            raise ValueError("sizes of up and down")
        return LowRank(down, up, mid, scale(down.shape[0]))
    if any(role.startswith("hada_") for role in parts):
        first, second = ((parts[f"hada_w{i}_a"], parts[f"hada_w{i}_b"]) for i in (1, 2))
        return Product(first, second, (parts.get("hada_t1"), parts.get("hada_t2")), scale(first[1].shape[0]))
    first, second = (_factor(parts, f"lokr_w{i}", f"lokr_t{i}") for i in (1, 2))
    ranks = [factor[1].shape[0] for factor in (second, first) if len(factor) > 1]
    return Kronecker(first, second, scale(ranks[0] if ranks else None))


def _factor(parts: Mapping[str, torch.Tensor], name: str, core: str) -> tuple[torch.Tensor, ...]:
    if name in parts:
        return (parts[name],)
    return (parts[f"{name}_a"], parts[f"{name}_b"], *([parts[core]] if core in parts else []))


def _belong_together(down: torch.Tensor, up: torch.Tensor, mid: torch.Tensor | None) -> bool:
    if down.ndim < 2 or up.ndim < 2 or up.shape[1] != down.shape[0] or up.numel() != up.shape[0] * up.shape[1]:
        return False
    rank = down.shape[0]
    if not rank:
        return False
    return mid is None or (mid.ndim == 4 and mid.shape[:2] == (rank, rank) and down.numel() == rank * down.shape[1])
