"""A clip in one pass or in two: made small, enlarged, and made anew in part at its size.

The second pass is a request of its own, with the same windows, motion module and steering, which begins at the
enlarged clip: image-to-image over the whole of it ("hires fix").
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import torch
from torch.nn.functional import interpolate

from pipelines.engine.base_models.vae_files import AnyVae
from pipelines.engine.decode import decode_frames
from pipelines.engine.encode import encode_pictures
from pipelines.engine.latents import VAE_SCALE_FACTOR
from pipelines.plan.choices import HiresMethod
from pipelines.plan.clip_inputs import ClipInputs, FrameClip
from pipelines.plan.events import Progress, Stage
from pipelines.plan.image_fit import Frames, ImageFit, fitted
from pipelines.plan.notes import Note
from pipelines.plan.request import GenerationRequest

_STRETCH = 64  # frames of latents enlarged together


def inputs_of(one: GenerationRequest, inputs: ClipInputs) -> ClipInputs:
    """The inputs of a pass: what control units follow in its size; all else is brought to it where it is used."""
    controls = tuple(_sized(clip, one.width, one.height) for clip in inputs.controls)
    return replace(inputs, controls=controls)


def enlarging(
    request: GenerationRequest, vae: AnyVae, latents: torch.Tensor
) -> Generator[Progress, None, torch.Tensor]:
    """Bring a clip to the size of the second pass, a few frames at a time.

    Args:
        request: The second pass.
        latents: Of the first, float32 [1, 4, F, h, w].

    Yields:
        How many frames are enlarged.

    Returns:
        float32 [1, 4, F, height / 8, width / 8].
    """
    cells = request.height // VAE_SCALE_FACTOR, request.width // VAE_SCALE_FACTOR
    frames = latents[0].transpose(0, 1)
    large = torch.empty((1, latents.shape[1], len(frames), *cells))
    done = 0
    for part in (
        _latents(frames, cells) if request.hires_method is HiresMethod.LATENT else _pixels(request, vae, latents)
    ):
        large[0, :, done : done + len(part)] = part.transpose(0, 1)
        done += len(part)
        yield Progress(Stage.ENCODE, done, len(frames), note=Note("progress.enlarging", "Enlarging the clip"))
    return large


def _latents(frames: torch.Tensor, cells: tuple[int, int]) -> Generator[torch.Tensor]:
    for part in frames.split(_STRETCH):
        yield interpolate(part, cells, mode="bilinear")


def _pixels(request: GenerationRequest, vae: AnyVae, latents: torch.Tensor) -> Generator[torch.Tensor]:
    for pictures in decode_frames(vae, latents):
        for picture in pictures:
            yield encode_pictures(vae, np.stack([_stretched(picture, request.width, request.height)]))


def _sized(clip: FrameClip, width: int, height: int) -> FrameClip:
    return clip if (clip.width, clip.height) == (width, height) else _SizedClip(clip, width, height)


@dataclass(frozen=True, slots=True)
class _SizedClip:
    """A clip in another size."""

    clip: FrameClip
    width: int
    height: int

    @property
    def num_frames(self) -> int:
        return self.clip.num_frames

    @property
    def fps(self) -> Fraction | None:
        return self.clip.fps

    def frames(self, indices: Sequence[int]) -> Frames:
        return np.stack([_stretched(picture, self.width, self.height) for picture in self.clip.frames(indices)])


def _stretched(picture: Frames, width: int, height: int) -> Frames:
    return fitted(picture, width=width, height=height, fit=ImageFit.STRETCH)
