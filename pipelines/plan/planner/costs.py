"""Costs of each architecture's networks: operations, weights and live memory.

The numbers are data, counted on the true architectures (`scripts/count_flops.py`).
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, NamedTuple

from pipelines.plan.architecture import Architecture
from pipelines.plan.catalog import find_base_model
from pipelines.plan.catalog_entries import ASSETS
from pipelines.plan.choices import HiresMethod
from pipelines.plan.context import plan_inner_windows
from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.passes import plan_passes
from pipelines.plan.request import GenerationRequest

CELL = 64  # pixels of a cell of latents

TERMS = ("image", "picture", "cell", "pair", "time")
"""Of the operations for one image of a batch, or one clip of frames, of `frames` × `cells`: once, for every frame, for
every cell of a frame, for every two cells of a frame (its attention), for every two frames at a cell."""

ATTENTION = ("pair", "time")
"""Those of the attention itself."""


def terms_of(*, frames: float, window: float, cells: int) -> dict[str, float]:
    """Count how often each of `TERMS` applies.

    Args:
        frames: That go through together.
        window: Of those, how many attend to one another.
        cells: Of latents in a frame, 1/64 of its pixels.
    """
    counts = (1.0, frames, frames * cells, float(frames * cells * cells), frames * window * cells)
    return dict(zip(TERMS, counts, strict=True))


class Flops(NamedTuple):
    """Operations of layers, and of attention, which CPUs do far slower."""

    layers: float = 0.0
    attention: float = 0.0

    @property
    def total(self) -> float:
        """Both together."""
        return self.layers + self.attention

    def times(self, factor: float) -> "Flops":
        """Multiply both by a factor."""
        return Flops(self.layers * factor, self.attention * factor)

    def plus(self, other: "Flops") -> "Flops":
        """Add another's operations."""
        return Flops(self.layers + other.layers, self.attention + other.attention)


class Network(NamedTuple):
    """One network.

    Args:
        parameters: How many numbers it holds.
        flops: Operations of each of `TERMS`; absent ones cost nothing.
        live: Values for every cell of a frame that are in memory at the worst moment of a call.
    """

    parameters: int
    flops: Mapping[str, int]
    live: int = 0

    def flops_of(self, *, frames: float, window: float = 1, cells: int = 0) -> "Flops":
        """Count a call's operations on one image; arguments as `terms_of`."""
        counts = terms_of(frames=frames, window=window, cells=cells)
        flops_by_term = {term: counts[term] * flops for term, flops in self.flops.items()}
        attention = sum(flops_by_term.get(term, 0.0) for term in ATTENTION)
        return Flops(sum(flops_by_term.values()) - attention, attention)


@cache
def networks(kind: str) -> Mapping[str, Network]:
    """Return a base model kind's networks: "demo", "sd15" or "sdxl"."""
    return {name: Network(**values) for name, values in _table()[kind].items()}


def kind_of(base_model: str) -> str:
    """Choose a base model's cost table; unknown ones count as SD 1.5.

    Example:
        >>> kind_of("demo"), kind_of("stabilityai/stable-diffusion-xl-base-1.0")
        ('demo', 'sdxl')
    """
    try:
        family = find_base_model(base_model).family
    except InvalidRequestError:
        family = None
    return family if family is not None and family in _table() else Architecture.SD15


@cache
def _table() -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
    return tomllib.loads((ASSETS / "flops.toml").read_text("utf-8"))


@dataclass(frozen=True)
class Cost:
    """Work of a request, whatever the machine.

    Args:
        denoise_flops, attention_flops: Operations of the texts, the UNet and what steers it.
        calls: Of the UNet.
        steps: Steps of the sampler in all passes and rounds.
        reading_flops: Operations that turn pictures into latents.
        drawing_flops: Operations that turn latents into frames.
    """

    denoise_flops: float
    attention_flops: float
    calls: int
    steps: int
    reading_flops: float
    drawing_flops: float


def cost_of(request: GenerationRequest, *, windows_a_call: int = 1) -> Cost:
    """Count a request's work from its passes, steps and windows.

    Args:
        windows_a_call: How many of them go through the UNet together.

    Raises:
        InvalidRequestError: `strength` leaves no step.

    Example:
        >>> cost_of(GenerationRequest.build(seed=0, num_frames=32)).calls
        85
    """
    passes = plan_passes(request)
    kinds = networks(kind_of(request.base_model))
    pictures = sum(len(prompt.pictures) for prompt in request.image_prompts)
    denoise = kinds["text"].flops_of(frames=2)  # both prompts; keys are few
    if "image_encoder" in kinds:
        denoise = denoise.plus(kinds["image_encoder"].flops_of(frames=pictures))
    for planned in passes:
        denoise = denoise.plus(window_flops(planned.request).times(planned.windows))
    return Cost(
        denoise_flops=denoise.layers,
        attention_flops=denoise.attention,
        calls=sum(-(-planned.windows // windows_a_call) for planned in passes),
        steps=sum(planned.steps for planned in passes),
        reading_flops=_reading_flops(request),
        drawing_flops=(request.num_frames + _again(request)) * frame_flops(request),
    )


def window_flops(request: GenerationRequest) -> Flops:
    """Count operations of one window, ControlNets, guidance and inner windows included."""
    nets = networks(kind_of(request.base_model))
    frames = window_frames(request)
    inner = plan_inner_windows(request, frames)
    pairs = sum(len(window.frame_indices) ** 2 for window in inner) or frames**2
    counted = partial(Network.flops_of, frames=frames, window=pairs / frames, cells=cells_of(request))
    images = 2 if request.guidance_scale > 1 else 1
    flops = counted(nets["unet"]).times(images)
    for unit in request.controls:
        net = nets.get(control_network(unit.model))
        shares = max(0.0, unit.end - unit.start) * (1 if unit.guess_mode else images)
        flops = flops.plus(counted(net).times(shares)) if net else flops
    return flops


def frame_flops(request: GenerationRequest) -> float:
    """Count the operations that decode a frame of the clip."""
    width, height = request.clip_size
    return _vae_flops(request, "vae_decoder", frames=1, cells=width * height // CELL)


def window_frames(request: GenerationRequest) -> int:
    """Count the frames of a pass's windows."""
    return request.context_length if request.extended_from else min(request.context_length, request.num_frames)


def cells_of(request: GenerationRequest) -> int:
    """Count the latent cells in a frame of a pass."""
    return request.width * request.height // CELL


def control_network(model: str) -> str:
    """Guess a control unit's kind of network by its model's name."""
    return "sparse_ctrl" if "sparse" in model.lower() else "controlnet"


def _reading_flops(request: GenerationRequest) -> float:
    """Count operations for encoding inputs, and a clip enlarged as pixels."""
    reads = bool(request.source_video) and (request.starts_from_pictures or bool(request.mask))
    frames = request.num_frames if reads else bool(request.first_frame) + bool(request.last_frame)
    flops = _vae_flops(request, "vae_encoder", frames=frames, cells=cells_of(request))
    if request.hires_scale > 1 and request.hires_method is HiresMethod.PIXEL:
        large = request.clip_size[0] * request.clip_size[1] // CELL
        flops += _vae_flops(request, "vae_decoder", frames=request.num_frames, cells=cells_of(request))
        flops += _vae_flops(request, "vae_encoder", frames=request.num_frames, cells=large)
    return flops


def _vae_flops(request: GenerationRequest, network: str, *, frames: int, cells: int) -> float:
    return networks(kind_of(request.base_model))[network].flops_of(frames=frames, cells=cells).total


def _again(request: GenerationRequest) -> int:
    """Count frames decoded once more, to be played back."""
    return request.num_frames if request.frames_played_back else 0
