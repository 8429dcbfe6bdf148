"""ControlNets in the loop: a picture for every frame, of which a window's are read and seen at a time.

A ControlNet (arXiv:2302.05543) sees each frame by itself, so it runs for the frames alone that it steers: none
of a window where its weight is 0, the key frames and their neighbours where it has such.
"""

from collections.abc import Sequence

import numpy as np
import torch
from diffusers import ControlNetModel

from pipelines.engine.steering.conditions import Residuals, UNetCall, weighted
from pipelines.engine.steering.control.plan import ControlPlan
from pipelines.plan.clip_inputs import FrameClip


class DenseControl:
    """A ControlNet with what it follows.

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
        """As `Control`; nothing outside its part of the steps, and where it weighs 0 at every frame."""
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

        def chosen(values: torch.Tensor) -> torch.Tensor:
            values = values.unflatten(0, (call.halves, len(frames)))[-halves:]
            return (values if len(rows) == len(frames) else values[:, rows]).flatten(0, 1)

        down, middle = self._net(
            chosen(call.sample.transpose(1, 2).flatten(0, 1)),
            call.t,
            encoder_hidden_states=chosen(call.states),
            controlnet_cond=hints,
            added_cond_kwargs={
                name: chosen(rows_.repeat_interleave(len(call.states) // len(rows_), dim=0))
                for name, rows_ in call.added.items()
            },
            return_dict=False,
        )
        out = weighted([*down, middle], [weights[row] for row in rows], fades=guesses and not pools)
        return [_spread(layer, rows, len(frames), kept=halves, halves=call.halves) for layer in out]

    def _hints(self, frames: Sequence[int]) -> torch.Tensor:
        """What the net is to follow at some frames, [N, 3, H, W] from 0 to 1; one row where all follow the same."""
        numbers = [self._plan.picture_at(frame) for frame in frames]
        pictures = sorted(set(numbers))
        hints = pictures_to_tensor(self._clip, pictures).to(self._net.device, self._net.dtype)
        return hints if len(pictures) == 1 else hints[[pictures.index(number) for number in numbers]]


def pictures_to_tensor(clip: FrameClip, numbers: Sequence[int]) -> torch.Tensor:
    """Pictures of a clip, float32 [n, 3, H, W] from 0 to 1."""
    return torch.from_numpy(clip.frames(numbers).astype(np.float32) / 255).permute(0, 3, 1, 2)


def _spread(layer: torch.Tensor, rows: Sequence[int], places: int, *, kept: int, halves: int) -> torch.Tensor:
    """A layer of some rows with zeros at all others, [halves · places, C, h, w]."""
    if kept == halves and len(rows) == places:
        return layer
    full = layer.new_zeros(halves, places, *layer.shape[1:])
    full[halves - kept :, list(rows)] = layer.unflatten(0, (kept, len(rows)))
    return full.flatten(0, 1)
