"""IP-Adapter image prompts: cross-attention to pictures beside the text.

A picture becomes a few tokens, once a request. Between two key frames the tokens go straight from one picture's
to the other's, so each frame has its own.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from diffusers import UNetMotionModel
from transformers import CLIPImageProcessor, CLIPVisionModelWithProjection

from pipelines.engine.cross_attention import TextAttention, cross_attentions
from pipelines.engine.steering.adapter_files import AdapterFiles, AdapterLayers
from pipelines.engine.steering.conditions import UNetCall
from pipelines.plan.clip_inputs import FrameClip
from pipelines.plan.prompt.travel import PromptTravel, Stay
from pipelines.plan.request import GenerationRequest
from pipelines.plan.request_fields.units import ImagePrompt
from pipelines.plan.schedules import values_at


@dataclass(frozen=True, slots=True)
class LoadedAdapter:
    """A loaded IP-Adapter; shared and read-only.

    Args:
        layers: Its own layers.
        encoder: Its image encoder.
        files: Where they came from.
        weights: What was read -> sha256.
    """

    layers: AdapterLayers
    encoder: CLIPVisionModelWithProjection
    files: AdapterFiles
    weights: dict[str, str]


@dataclass(frozen=True, slots=True)
class ImageTokens:
    """Image tokens of one prompt in one call of the UNet.

    Args:
        tokens: For each frame of the batch, [B·L, n, D].
        weight: What they count: one number, or one a frame, [B·L, 1, 1].
        keys_values: As in `AdapterLayers`.
    """

    tokens: torch.Tensor
    weight: float | torch.Tensor
    keys_values: tuple[tuple[torch.Tensor, torch.Tensor], ...]


class PicturePrompt:
    """One image prompt of a request, its pictures encoded.

    Args:
        adapter: Its model.
        unit: What was asked for.
        pictures: As many as the unit names, in its order.
        request: The request.
    """

    def __init__(
        self, adapter: LoadedAdapter, unit: ImagePrompt, pictures: Sequence[FrameClip], request: GenerationRequest
    ) -> None:
        self._unit = unit
        self._keys_values = adapter.layers.keys_values
        order = sorted(range(len(pictures)), key=lambda number: unit.pictures[number][0])
        self._travel = PromptTravel(
            tuple(unit.pictures[number][1] for number in order),
            tuple(Stay(unit.pictures[number][0], unit.pictures[number][0], i) for i, number in enumerate(order)),
            period=request.num_frames if request.closes_prompts else 0,
        )
        guided = request.guidance_scale > 1
        tokens = _encode(adapter, [pictures[number] for number in order], with_nothing=guided)
        self._nothing: torch.Tensor | None = tokens[0] if guided else None
        self._tokens = tokens[1:] if guided else tokens

    def tokens_at(self, frame: int) -> torch.Tensor:
        """Interpolate the image tokens of a frame, [n, D]."""
        mix = self._travel.mix_at(frame)
        if not mix.share:
            return self._tokens[mix.before]
        return torch.lerp(self._tokens[mix.before], self._tokens[mix.after], mix.share)

    def image_tokens(self, call: UNetCall) -> ImageTokens | None:
        """Build a call's image tokens; None where they don't count."""
        frames = call.frames
        weights = values_at(self._unit.weight, frames) * call.halves
        if not any(weights) or not call.is_steered_by(self._unit):
            return None
        tokens = torch.stack([self.tokens_at(frame) for frame in frames])
        if self._nothing is not None:
            tokens = torch.cat([self._nothing.expand_as(tokens), tokens])
        if len(set(weights)) == 1:
            return ImageTokens(tokens, weights[0], self._keys_values)
        factors = torch.tensor(weights, device=tokens.device, dtype=tokens.dtype)[:, None, None]
        return ImageTokens(tokens, factors, self._keys_values)


class PicturePrompts:
    """All image prompts of a request."""

    def __init__(self, prompts: Sequence[PicturePrompt]) -> None:
        self._prompts = tuple(prompts)

    @contextmanager
    def applied(self, unet: UNetMotionModel, call: UNetCall) -> Iterator[None]:
        """Apply the prompts as `Prompt`; without tokens nothing changes."""
        active = [tokens for prompt in self._prompts if (tokens := prompt.image_tokens(call)) is not None]
        layers = list(cross_attentions(unet)) if active else []
        before = [layer.processor for layer in layers]
        try:
            for i, layer in enumerate(layers):
                layer.processor = TextAttention(
                    [(image.tokens, image.weight, *image.keys_values[i]) for image in active]
                )
            yield
        finally:
            for layer, processor in zip(layers, before, strict=True):
                layer.processor = processor


@torch.no_grad()
def _encode(adapter: LoadedAdapter, pictures: Sequence[FrameClip], *, with_nothing: bool) -> torch.Tensor:
    """Encode pictures to tokens [N, n, D], optionally after the negative's.

    These are of a vector of zeros for the base kind, and of a picture of zeros for the others, as they were trained.
    """
    encoder, is_plus = adapter.encoder, adapter.files.is_plus
    size = encoder.config.image_size
    prepare = CLIPImageProcessor(size=size, crop_size=size)
    inputs = [prepare(clip.frames([0])[0], return_tensors="pt").pixel_values for clip in pictures]
    seen = [_embed(encoder, picture, is_plus) for picture in inputs]
    if with_nothing:
        seen.insert(0, _embed(encoder, torch.zeros_like(inputs[0]), is_plus) if is_plus else torch.zeros_like(seen[0]))
    tokens: torch.Tensor = adapter.layers.projection(torch.cat(seen))
    return tokens


def _embed(encoder: CLIPVisionModelWithProjection, picture: torch.Tensor, is_plus: bool) -> torch.Tensor:
    picture = picture.to(encoder.device, encoder.dtype)
    if is_plus:
        patches: torch.Tensor = encoder(picture, output_hidden_states=True).hidden_states[-2]
        return patches
    vector: torch.Tensor = encoder(picture).image_embeds
    return vector
