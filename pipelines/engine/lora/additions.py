"""Weight differences of LoRA, LoHa, LoKr, full differences and DoRA.

Each gives ΔW at strength 1, in the terms of the file: LyCORIS (arXiv:2309.14859) for LoHa, LoKr and whole differences,
arXiv:2402.09353 for DoRA.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import prod

import torch


class Addition(ABC):
    """Difference added to one weight or bias at strength 1."""

    @abstractmethod
    def difference(self, device: torch.device) -> torch.Tensor:
        """Compute ΔW in float32, in the file's own shape.

        It is [out, in · kh · kw] or [out, in, kh, kw]; of a bias [out].

        Raises:
            RuntimeError, IndexError: Its parts don't belong together.
        """

    def fits(self, shape: torch.Size) -> bool:
        """Tell whether ΔW fits this weight; 1×1 convolutions are matrices."""
        delta_shape = self.difference(torch.device("meta")).shape
        return delta_shape[:1] == shape[:1] and delta_shape.numel() == shape.numel()

    def delta(self, weight: torch.Tensor) -> torch.Tensor:
        """ΔW for this weight, float32, of its shape and on its device."""
        return self.difference(weight.device).reshape(weight.shape)

    def pair(self, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Factor ΔW into one layer or two, applied in turn, float32.

        Returns:
            [r, in] and [out, r], or [r, in, kh, kw] and [out, r, 1, 1]; ΔW itself and None where it is of no low rank.
        """
        return self.delta(weight), None


@dataclass(frozen=True, slots=True)
class LowRank(Addition):
    """A LoRA or LoCon: scale · up @ down.

    Args:
        down: [r, in], or [r, in, kh, kw] of a convolution.
        up: [out, r], or [out, r, 1, 1].
        mid: [r, r, kh, kw] of a convolution whose `down` is 1×1 (LoCon with a core), else None.
        scale: alpha / r; 1 for files without alpha.
    """

    down: torch.Tensor
    up: torch.Tensor
    mid: torch.Tensor | None
    scale: float

    def fits(self, shape: torch.Size) -> bool:
        """Check as any addition, and that `down` has the weight's kernel."""
        if len(shape) < 2:
            return False
        out, inside, *kernel = shape
        lora_kernel = (self.down if self.mid is None else self.mid).shape[2:]
        return (self.up.shape[0], self.down.shape[1]) == (out, inside) and lora_kernel.numel() == prod(kernel)

    def difference(self, device: torch.device) -> torch.Tensor:
        """See `Addition`; with a core [out, in, kh, kw]."""
        up, down = (tensor.to(device, torch.float32).flatten(1) for tensor in (self.up, self.down))
        if self.mid is None:
            return self.scale * (up @ down)
        mid = self.mid.to(device, torch.float32)
        return self.scale * torch.einsum("op,pqhw,qi->oihw", up, mid, down)

    def pair(self, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """See `Addition`; core and scale are in them."""
        up, down = (tensor.to(torch.float32).flatten(1) for tensor in (self.up, self.down))
        if self.mid is not None:
            down = torch.einsum("pqhw,qi->pihw", self.mid.to(torch.float32), down)
        down = down.reshape(-1, *weight.shape[1:])
        return down, (self.scale * up).view(*up.shape, *[1] * len(weight.shape[2:]))


@dataclass(frozen=True, slots=True)
class Product(Addition):
    """A LoHa: scale · (a₁ b₁) ∘ (a₂ b₂), number by number.

    Args:
        first, second: Pairs a [out, r] and b [r, in · kh · kw]; with a core a [r, out] and b [r, in].
        cores: [r, r, kh, kw] of each pair, or None.
        scale: alpha / r; 1 for files without alpha.
    """

    first: tuple[torch.Tensor, torch.Tensor]
    second: tuple[torch.Tensor, torch.Tensor]
    cores: tuple[torch.Tensor | None, torch.Tensor | None]
    scale: float

    def difference(self, device: torch.device) -> torch.Tensor:
        """See `Addition`."""
        left, right = (
            _multiply(*pair, core, device=device)
            for pair, core in zip((self.first, self.second), self.cores, strict=True)
        )
        if left.shape != right.shape:
            raise RuntimeError(f"{left.shape} and {right.shape}")
        return self.scale * left * right


@dataclass(frozen=True, slots=True)
class Kronecker(Addition):
    """A LoKr: scale · (first ⊗ second).

    Args:
        first, second: Each a whole tensor, or its factors a and b, or these and their core.
        scale: alpha / r; 1 where neither has factors.
    """

    first: tuple[torch.Tensor, ...]
    second: tuple[torch.Tensor, ...]
    scale: float

    def difference(self, device: torch.device) -> torch.Tensor:
        """See `Addition`."""
        first, second = (_assemble(parts, device) for parts in (self.first, self.second))
        if first.ndim != 2:
            raise RuntimeError(f"{first.shape} is no matrix")
        return self.scale * torch.kron(first.reshape(*first.shape, *[1] * (second.ndim - 2)), second)


@dataclass(frozen=True, slots=True)
class Difference(Addition):
    """ΔW itself, of a weight or a bias."""

    tensor: torch.Tensor

    def difference(self, device: torch.device) -> torch.Tensor:
        """See `Addition`."""
        return self.tensor.to(device, torch.float32)


@dataclass(frozen=True, slots=True)
class Magnitudes(Addition):
    """A DoRA: another addition's weight, its rows or columns rescaled.

    Args:
        inner: What changes the direction.
        lengths: Of the columns if [1, in] or [1, in, 1, 1], else of the rows, one for each output.
    """

    inner: Addition
    lengths: torch.Tensor

    def difference(self, device: torch.device) -> torch.Tensor:
        """Return the inner addition's; the full one depends on the weight."""
        return self.inner.difference(device)

    def fits(self, shape: torch.Size) -> bool:
        """Tell whether the inner addition fits, with all lengths."""
        return len(shape) > 1 and self.inner.fits(shape) and self.lengths.numel() == shape[self._axis()]

    def delta(self, weight: torch.Tensor) -> torch.Tensor:
        """Compute lengths · (W + ΔW) / |W + ΔW| − W."""
        before = weight.to(torch.float32)
        turned = before + self.inner.delta(weight)
        axes = [axis for axis in range(turned.ndim) if axis != self._axis()]
        lengths = torch.linalg.vector_norm(turned, dim=axes, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
        target_lengths = self.lengths.to(before).reshape(lengths.shape)
        return turned * (target_lengths / lengths) - before

    def _axis(self) -> int:
        """Return the axis of the weight that has lengths."""
        return 1 if self.lengths.ndim > 1 and self.lengths.shape[0] == 1 else 0


def _multiply(
    a: torch.Tensor, b: torch.Tensor, core: torch.Tensor | None = None, *, device: torch.device
) -> torch.Tensor:
    """Multiply a @ b, or by their core [out, in, kh, kw]."""
    a, b = a.to(device, torch.float32), b.to(device, torch.float32)
    if core is None:
        return a @ b
    return torch.einsum("pqhw,po,qi->oihw", core.to(device, torch.float32), a, b)


def _assemble(parts: tuple[torch.Tensor, ...], device: torch.device) -> torch.Tensor:
    return parts[0].to(device, torch.float32) if len(parts) == 1 else _multiply(*parts, device=device)
