"""Conditions per UNet call beside the prompt: controls and image prompts."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Protocol

import torch
from diffusers import UNetMotionModel

from pipelines.plan.request_fields.units import ControlUnit, ImagePrompt

Residuals = list[torch.Tensor]
"""What is added to a UNet: behind each layer of its down blocks, outermost first, then behind its middle block;
each [B·L, C, h, w], or [B·L, C, 1, 1]."""


@dataclass(frozen=True, slots=True)
class UNetCall:
    """One call of the UNet, as its conditions see it.

    Args:
        sample: Noisy latents [B, 4, L, h, w] on the UNet's device: B windows, twice when guided, the negative first.
        t: The timestep.
        part: The share of the steps that is done before this one, and with it; of those that `strength` leaves.
        clips: The frames of each window, all of one length L.
        guided: Whether the windows go through twice.
        states: Text states [B·L, T, D].
        added: The UNet's added conditions, with B rows or B·L; none for Stable Diffusion 1.5.
    """

    sample: torch.Tensor
    t: torch.Tensor
    part: tuple[float, float]
    clips: Sequence[Sequence[int]]
    guided: bool
    states: torch.Tensor
    added: dict[str, torch.Tensor]

    @property
    def halves(self) -> int:
        """How often each window goes through."""
        return 2 if self.guided else 1

    @property
    def frames(self) -> list[int]:
        """The frames of all windows, one window after the other."""
        return [frame for clip in self.clips for frame in clip]

    def is_steered_by(self, unit: ControlUnit | ImagePrompt) -> bool:
        """Tell whether the step lies between a unit's start and end."""
        return unit.start <= self.part[0] and self.part[1] <= unit.end


class Control(Protocol):
    """A source of residuals for the UNet's layers."""

    def residuals(self, call: UNetCall) -> Residuals | None:
        """Compute the residuals; None for nothing, which costs nothing."""
        ...


class Prompt(Protocol):
    """A condition that the UNet attends to beside the text."""

    def applied(self, unet: UNetMotionModel, call: UNetCall) -> AbstractContextManager[None]:
        """Let the UNet attend to it for one call, then restore it."""
        ...


@dataclass(frozen=True, slots=True)
class Conditions:
    """All conditions of one clip."""

    controls: tuple[Control, ...] = ()
    pictures: Prompt | None = None

    @contextmanager
    def applied(self, unet: UNetMotionModel, call: UNetCall) -> Iterator[dict[str, object]]:
        """Prepare the UNet for one call, and yield its extra arguments."""
        with self.pictures.applied(unet, call) if self.pictures else nullcontext():
            yield self._residuals(call)

    def _residuals(self, call: UNetCall) -> dict[str, object]:
        total: Residuals = []
        for control in self.controls:
            added = control.residuals(call)
            if added is not None:
                total = [summed + residual for summed, residual in zip(total, added, strict=True)] if total else added
        if not total:
            return {}
        return {"down_block_additional_residuals": tuple(total[:-1]), "mid_block_additional_residual": total[-1]}


NO_CONDITIONS = Conditions()


def apply_weights(residuals: Residuals, weights: Sequence[float], *, fades: bool) -> Residuals:
    """Multiply residuals by the weight of each row.

    Args:
        residuals: Each [N, C, h, w].
        weights: N, or a divisor of N: then over and over.
        fades: Whether outer layers count less: from a tenth up to the whole for the middle block, as guess mode
            has it (arXiv:2302.05543).
    """
    if fades:
        levels = torch.logspace(-1, 0, len(residuals), device=residuals[0].device)
    elif all(weight == 1 for weight in weights):
        return residuals
    else:
        levels = torch.ones(len(residuals), device=residuals[0].device)
    if len(set(weights)) == 1:  # as one number it is rounded as in diffusers
        return [layer * level for layer, level in zip(residuals, levels * weights[0], strict=True)]
    rows = torch.tensor(weights, device=levels.device).repeat(len(residuals[0]) // len(weights))[:, None, None, None]
    return [layer * (rows * level).to(layer.dtype) for layer, level in zip(residuals, levels, strict=True)]
