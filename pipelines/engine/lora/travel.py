"""LoRAs whose strength changes over the clip, applied by forward hooks.

A strength that differs from frame to frame can't be merged into a weight. So a changed layer gives
out + strength[frame] · scale · up(down(x)), which is what merging would give for that frame alone. Only the
low-rank factors are held, at the price of two small products a layer. Text encoders see no frames; they read
each text with the strength that the LoRA has there.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

from pipelines.engine.lora.additions import Addition
from pipelines.engine.motion.layers import MotionState, ScaledKey
from pipelines.plan.prompt.travel import PromptTravel

#: These layers of a UNet see a clip as one row, so that all of its frames get the same from them.
_WITHOUT_FRAMES = ("time_embedding.", "add_embedding.")


class TravellingLayer(NamedTuple):
    """A layer that a LoRA adds to.

    Args:
        module: A linear layer or a convolution.
        over_time: Whether it sees [B·h·w, F, C], as motion modules do; the others see [B·F, ...], frames fastest.
        addition: What is added at strength 1.
    """

    module: nn.Linear | nn.Conv2d
    over_time: bool
    addition: Addition


@dataclass
class TravellingLora:
    """A LoRA that is stronger at some frames than at others.

    Args:
        travel: Which of the prompt's texts each frame shows.
        strengths: Its strength at each of these texts.
        average: Of its strengths over the clip.
        negative_follows: Whether the negative prompt has a text for each of the prompt's, to be read with the
            same strength; if not, it is read with the average.
        layers: What it adds to.
        now: Strengths in the next call of a model: [B, F] for B windows of F frames, [1, 1] for a text.
    """

    travel: PromptTravel
    strengths: Sequence[float]
    average: float
    negative_follows: bool
    layers: Sequence[TravellingLayer]
    now: torch.Tensor = field(default_factory=lambda: torch.zeros(1, 1))


def split_layers(
    additions: Iterable[tuple[nn.Parameter, Addition]], models: Iterable[nn.Module]
) -> tuple[list[TravellingLayer], list[tuple[nn.Parameter, Addition]]]:
    """Separate layers that allow strengths per frame from all other additions.

    Args:
        additions: Weights and what is added to them.
        models: All whose weights these are.
    """
    layers = {
        module.weight: (module, ".motion_modules." in name)
        for model in models
        for name, module in model.named_modules()
        if isinstance(module, (nn.Linear, nn.Conv2d)) and not name.startswith(_WITHOUT_FRAMES)
    }
    travelling_layers, constant = [], []
    for parameter, addition in additions:
        if parameter in layers:
            travelling_layers.append(TravellingLayer(*layers[parameter], addition))
        else:
            constant.append((parameter, addition))
    return travelling_layers, constant


@contextmanager
def travelling(models: Iterable[nn.Module], loras: Sequence[TravellingLora]) -> Iterator[None]:
    """Apply LoRAs by forward hooks; strengths are set before every call.

    Args:
        models: All that they add to.
        loras: Each with its layers.
    """
    with ExitStack() as undo:
        state = MotionState()
        for model in models:
            state = getattr(model, "motion_state", state)
            model.travelling_loras = loras
            undo.callback(delattr, model, "travelling_loras")
        for lora in loras:
            for layer in lora.layers:
                addition = _Addition(lora, layer, state)
                undo.callback(layer.module.register_forward_hook(addition).remove)
        yield


def has_travelling_loras(unet: nn.Module) -> bool:
    """Tell whether LoRAs act on every frame by itself."""
    return bool(_acting_in(unet))


def set_strengths_at_frames(unet: nn.Module, clips: Sequence[Sequence[int]]) -> None:
    """Set LoRA strengths for the frames in the UNet's next call."""
    for lora in _acting_in(unet):
        lora.now = torch.tensor([[lora.travel.value_at(frame, lora.strengths) for frame in clip] for clip in clips])


def set_strengths_at_text(text_encoder: nn.Module, field: str, number: int) -> None:
    """Set LoRA strengths for the text that an encoder reads next."""
    for lora in _acting_in(text_encoder):
        follows = field == "prompt" or lora.negative_follows
        lora.now = torch.tensor([[lora.strengths[number] if follows else lora.average]])


def _acting_in(model: nn.Module) -> Sequence[TravellingLora]:
    loras: Sequence[TravellingLora] = getattr(model, "travelling_loras", ())
    return loras


class _Addition:
    """Forward hook adding a LoRA to a layer's output, frame by frame."""

    def __init__(self, lora: TravellingLora, layer: TravellingLayer, state: MotionState) -> None:
        weight = layer.module.weight
        down, up = layer.addition.pair(weight)
        self.down, self.up = down.to(weight), None if up is None else up.to(weight)
        self.lora, self.over_time, self.state = lora, layer.over_time, state

    def __call__(self, module: nn.Module, args: tuple[torch.Tensor, ...], out: torch.Tensor) -> torch.Tensor:
        if not self.lora.now.any():
            return out
        added = self._compute(module, args[0])
        return out + (module.scaled(added) if isinstance(module, ScaledKey) else added)

    def _compute(self, module: nn.Module, x: torch.Tensor) -> torch.Tensor:
        if isinstance(module, nn.Conv2d):
            options = {"stride": module.stride, "padding": module.padding, "dilation": module.dilation}
            inner = functional.conv2d(x, self.down, **options)
            inner = inner * self._strengths(inner)
            return inner if self.up is None else functional.conv2d(inner, self.up)
        inner = functional.linear(x, self.down)
        inner = inner * self._strengths(inner)
        return inner if self.up is None else functional.linear(inner, self.up)

    def _strengths(self, inner: torch.Tensor) -> torch.Tensor:
        """Shape the frames' strengths to multiply a layer's activations."""
        now = self.lora.now.to(inner.device, inner.dtype)
        rows = inner.shape[0]
        if self.over_time:  # [B·h·w, F, C], of an inner window perhaps only some of the frames
            now = now[self.state.clips, self.state.seen]
            if rows % len(now) or inner.shape[1] != now.shape[1]:
                raise self._shape_error(inner)
            return now.repeat_interleave(rows // len(now), dim=0)[..., None]
        if now.numel() not in (1, rows):
            raise self._shape_error(inner)
        return now.flatten().view(-1, *[1] * (inner.ndim - 1))

    def _shape_error(self, inner: torch.Tensor) -> RuntimeError:
        expected, seen = tuple(self.lora.now.shape), tuple(inner.shape)
        return RuntimeError(f"LoRA strengths were set for {expected} windows and frames, but a layer sees {seen}")
