"""Recompute in float32 on overflow, and refuse non-finite results."""

from collections.abc import Callable

import torch
from torch import nn

from pipelines.plan.errors import GenerationError
from pipelines.plan.faults import Fault

_WAY_OUT = "Choose another base model or VAE, lower guidance or the weights of LoRAs, or set STUDIO_DTYPE to float32"


def in_range(vae: nn.Module, work: Callable[[], torch.Tensor]) -> torch.Tensor:
    """Run VAE work, again in float32 if the result isn't finite.

    Some VAEs, anime models' above all, leave the range of float16 in some pictures, which would be black. The VAE is
    float32 for the one call alone, so that a picture doesn't depend on those drawn before it; the way there and back
    changes no weight.

    Args:
        vae: In half precision or float32.
        work: Computes with the VAE in the type that it has then.

    Raises:
        GenerationError: In float32 it is not finite either.
    """
    result = work()
    if torch.isfinite(result).all():
        return result
    dtype = next(vae.parameters()).dtype
    if dtype is not torch.float32:
        vae.to(torch.float32)
        try:
            result = work()
        finally:
            vae.to(dtype)
        if torch.isfinite(result).all():
            return result
    raise GenerationError(
        Fault(
            code="numbers.of_vae",
            place=("The VAE",),
            rule="give finite numbers",
            got="NaN or infinity even in float32",
            fix=_WAY_OUT,
        )
    )


def require_finite_latents(latents: torch.Tensor, *, step: int | None = None, steps: int | None = None) -> None:
    """Refuse latents that are not finite and would give black frames.

    Args:
        latents: A clip's, or some of its frames'.
        step, steps: After which step, from 1, of how many; None for those that are to be drawn.

    Raises:
        GenerationError: They hold NaN or infinity.
    """
    if not torch.isfinite(latents).all():
        raise GenerationError(
            Fault(
                code="numbers.of_step" if step else "numbers.of_clip",
                place=("The clip",),
                rule="be finite numbers",
                got="NaN or infinity",
                seen="{got} after step {step} of {steps}" if step else "{got} where it was to be drawn",
                fix=_WAY_OUT,
                values={"step": step, "steps": steps} if step else {},
            )
        )
