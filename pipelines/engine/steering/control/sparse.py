"""SparseCtrl in the loop: pictures at key frames guide whole windows.

The encoder never looks at the latents, so windows without a key frame get the same guidance in a step: it is
computed once and kept until the next step, one window's worth of memory.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from diffusers import SparseControlNetModel

from pipelines.engine.base_models.vae_files import AnyVae
from pipelines.engine.steering.conditions import Residuals, UNetCall, apply_weights
from pipelines.engine.steering.control.dense import pictures_to_tensor
from pipelines.engine.steering.control.plan import ControlPlan
from pipelines.plan.clip_inputs import FrameClip
from pipelines.plan.context import plan_inner_windows
from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.faults import Fault
from pipelines.plan.request import GenerationRequest

_FIRST = (0,)


@dataclass(frozen=True, slots=True)
class _CachedWindow:
    """Cached output of the encoder for a window without key frames."""

    t: float
    states: torch.Tensor
    residuals: Residuals


class SparseControl:
    """A SparseCtrl encoder with its pictures; its default key is frame 0.

    Args:
        encoder: The model, shared and left as it is.
        plan: Its frames.
        clip: Its pictures, preprocessed and in the clip's size.
        vae: Makes the latents that the kind for pictures follows.
        request: Its `motion_norm` and `inner_*` hold for the encoder's motion layers, too.

    Raises:
        InvalidRequestError: A window has more frames than the encoder has positions, or the unit has a falloff.
    """

    def __init__(
        self,
        encoder: SparseControlNetModel,
        plan: ControlPlan,
        clip: FrameClip,
        *,
        vae: AnyVae,
        request: GenerationRequest,
    ) -> None:
        _require_places(encoder, plan, request)
        if plan.unit.falloff:
            raise InvalidRequestError(
                Fault(
                    code="control.sparse_with_falloff",
                    field="controls",
                    rule="have no falloff for '{model:s}'",
                    got=str(plan.unit.falloff),
                    seen="{got:s}",
                    fix="A SparseCtrl finds the way between its key frames by itself; empty 'Falloff'",
                    values={"model": plan.unit.model},
                )
            )
        self._encoder = encoder
        self._plan = plan if plan.keys else replace(plan, keys=_FIRST)
        self._clip = clip
        self._vae = vae
        self._request = request
        self._latents: dict[int, torch.Tensor] = {}
        self._cached: _CachedWindow | None = None

    def residuals(self, call: UNetCall) -> Residuals | None:
        """Compute residuals; None outside its steps or where all weights are 0."""
        weights = self._plan.strengths_at(call.frames)
        if not any(weights) or not call.is_steered_by(self._plan.unit):
            return None
        guesses = self._plan.unit.guess_mode
        halves = 1 if guesses else call.halves
        parts = [self._window(call, place, halves) for place in range(len(call.clips))]
        layers = [_side_by_side(layers, halves) for layers in zip(*parts, strict=True)]
        layers = apply_weights(layers, weights, fades=guesses)
        if halves < call.halves:
            layers = [torch.cat([torch.zeros_like(layer), layer]) for layer in layers]
        return layers

    def _window(self, call: UNetCall, place: int, halves: int) -> Residuals:
        """Encode one window, each layer [halves · L, C, h, w]."""
        frames = call.clips[place]
        states = call.states.unflatten(0, (call.halves, len(call.clips), len(frames)))[-halves:, place].flatten(0, 1)
        keys = [(i, self._plan.picture_at(frame)) for i, frame in enumerate(frames) if frame in self._plan.keys]
        if keys:
            return self._run(call, frames, states, keys)
        cached, t = self._cached, float(call.t)
        if cached and cached.t == t and torch.equal(cached.states, states):
            return cached.residuals
        self._cached = None
        self._cached = _CachedWindow(t, states, self._run(call, frames, states, keys))
        return self._cached.residuals

    def _run(
        self, call: UNetCall, frames: Sequence[int], states: torch.Tensor, keys: Sequence[tuple[int, int]]
    ) -> Residuals:
        halves, length = len(states) // len(frames), len(frames)
        images = torch.stack([self._encode(picture) for _, picture in keys] or [torch.zeros_like(self._encode(0))])
        pictures = images.new_zeros(length, *images.shape[1:])
        mask = images.new_zeros(length, 1, *images.shape[2:])
        for (place, _), picture in zip(keys, images, strict=False):
            pictures[place] = picture
            mask[place] = 1
        with self._computing(length):
            down, middle = self._encoder(
                call.sample[:1].expand(halves, -1, -1, -1, -1),  # only its shape counts
                call.t,
                encoder_hidden_states=states,
                controlnet_cond=pictures.transpose(0, 1)[None],
                conditioning_mask=mask.transpose(0, 1)[None],
                return_dict=False,
            )
        return [*down, middle]

    def _encode(self, number: int) -> torch.Tensor:
        """Encode a picture, [3, H, W] or cached latents [4, h, w]."""
        encoder = self._encoder
        if not encoder.config.use_simplified_condition_embedding:
            return pictures_to_tensor(self._clip, [number])[0].to(encoder.device, encoder.dtype)
        if number not in self._latents:
            picture = (2 * pictures_to_tensor(self._clip, [number]) - 1).contiguous()  # as stock, to the last bit
            encoded = self._vae.encode(picture.to(self._vae.device, self._vae.dtype))
            # The most likely latents, not drawn ones: a picture is the same in every run, whatever the seed.
            latents = encoded.latent_dist.mode() if hasattr(encoded, "latent_dist") else encoded.latents
            self._latents[number] = (latents * self._vae.config.scaling_factor)[0].to(encoder.device, encoder.dtype)
        return self._latents[number]

    @contextmanager
    def _computing(self, length: int) -> Iterator[None]:
        """Set the encoder's motion layers as requested, then restore them."""
        state = self._encoder.motion_state
        before = replace(state)
        state.norm = self._request.motion_norm
        state.inner_windows = plan_inner_windows(self._request, length)
        try:
            yield
        finally:
            vars(state).update(vars(before))


def _side_by_side(parts: Sequence[torch.Tensor], halves: int) -> torch.Tensor:
    """Join a layer of several windows to one batch, negative half first."""
    if len(parts) == 1:
        return parts[0]
    return torch.stack([part.unflatten(0, (halves, -1)) for part in parts], dim=1).flatten(0, 2)


def _require_places(encoder: SparseControlNetModel, plan: ControlPlan, request: GenerationRequest) -> None:
    window = min(request.context_length, request.num_frames)
    seen = request.inner_length if 0 < request.inner_length < window else window
    places = encoder.config.motion_max_seq_length
    if seen > places:
        raise InvalidRequestError(
            Fault(
                code="windows.longer_than_sparse_ctrl",
                field="context_length",
                rule="be at most the {limit} positions of the SparseCtrl '{model:s}'",
                got=seen,
                fix="Lower {context_length:label}, or set an inner one",
                limit=places,
                values={"model": plan.unit.model},
            )
        )
