"""ControlNets in the loop: one picture a frame, read by window.

A ControlNet (arXiv:2302.05543) sees each frame by itself, so it runs for the frames alone that it steers: none
of a window where its weight is 0, the key frames and their neighbours where it has such.
"""

from collections.abc import Sequence

import numpy as np
import torch
from diffusers import ControlNetModel

from pipelines.engine.steering.conditions import Residuals, UNetCall, apply_weights
from pipelines.engine.steering.control.plan import ControlPlan
from pipelines.plan.clip_inputs import FrameClip


class DenseControl:
    """A ControlNet with the pictures it follows.

    Args:
        net: The model, shared and left as it is.
        plan: Its frames.
        clip: Its pictures, preprocessed and in the clip's size.
    """

    def __init__(self, net: ControlNetModel, plan: ControlPlan, clip: FrameClip) -> None:
        self._net = net
        self._plan = plan
        self._clip = clip

    def residuals(self, call: UNetCall) -> Residuals | None:
        """Compute residuals; None outside its steps or where all weights are 0."""
        frames = call.frames
        weights = self._plan.weights_at(frames)
        rows = [row for row, weight in enumerate(weights) if weight]
        if not rows or not call.is_steered_by(self._plan.unit):
            return None
        pools = bool(self._net.config.global_pool_conditions)
        guesses = self._plan.unit.guess_mode
        halves = 1 if guesses or pools else call.halves  # those only steer what the prompt asks for
        hints = self._hints([frames[row] for row in rows])
        if len(hints) > 1:
            hints = hints.repeat(halves, 1, 1, 1)

        def select_rows(values: torch.Tensor) -> torch.Tensor:
            values = values.unflatten(0, (call.halves, len(frames)))[-halves:]
            return (values if len(rows) == len(frames) else values[:, rows]).flatten(0, 1)

        down, middle = self._net(
            select_rows(call.sample.transpose(1, 2).flatten(0, 1)),
            call.t,
            encoder_hidden_states=select_rows(call.states),
            controlnet_cond=hints,
            added_cond_kwargs={
                name: select_rows(rows_.repeat_interleave(len(call.states) // len(rows_), dim=0))
                for name, rows_ in call.added.items()
            },
            return_dict=False,
        )
        out = apply_weights([*down, middle], [weights[row] for row in rows], fades=guesses and not pools)
        return [_spread(layer, rows, len(frames), computed=halves, halves=call.halves) for layer in out]

    def _hints(self, frames: Sequence[int]) -> torch.Tensor:
        """Read frames' pictures, [N, 3, H, W], one if all equal."""
        numbers = [self._plan.picture_at(frame) for frame in frames]
        pictures = sorted(set(numbers))
        hints = pictures_to_tensor(self._clip, pictures).to(self._net.device, self._net.dtype)
        return hints if len(pictures) == 1 else hints[[pictures.index(number) for number in numbers]]


def pictures_to_tensor(clip: FrameClip, numbers: Sequence[int]) -> torch.Tensor:
    """Read pictures as float32 [n, 3, H, W], 0 to 1."""
    return torch.from_numpy(clip.frames(numbers).astype(np.float32) / 255).permute(0, 3, 1, 2)


def _spread(layer: torch.Tensor, rows: Sequence[int], places: int, *, computed: int, halves: int) -> torch.Tensor:
    """Spread rows over a zero layer [halves · places, C, h, w]."""
    if computed == halves and len(rows) == places:
        return layer
    full = layer.new_zeros(halves, places, *layer.shape[1:])
    full[halves - computed :, list(rows)] = layer.unflatten(0, (computed, len(rows)))
    return full.flatten(0, 1)
