"""Two-pass generation (hires fix): enlarge a clip, then denoise it again.

The second pass is a request of its own, with the same windows, motion module and steering, which begins at the enlarged
clip: image-to-image over the whole of it.
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


def resize_inputs(request: GenerationRequest, inputs: ClipInputs) -> ClipInputs:
    """Resize a pass's control clips; other inputs are fitted on use."""
    controls = tuple(_resize(clip, request.width, request.height) for clip in inputs.controls)
    return replace(inputs, controls=controls)


def enlarge_latents(
    request: GenerationRequest, vae: AnyVae, latents: torch.Tensor
) -> Generator[Progress, None, torch.Tensor]:
    """Enlarge a clip for the second pass, a few frames each.

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
            yield encode_pictures(vae, np.stack([_stretch(picture, request.width, request.height)]))


def _resize(clip: FrameClip, width: int, height: int) -> FrameClip:
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
        return np.stack([_stretch(picture, self.width, self.height) for picture in self.clip.frames(indices)])


def _stretch(picture: Frames, width: int, height: int) -> Frames:
    return fitted(picture, width=width, height=height, fit=ImageFit.STRETCH)
