"""What the networks of each architecture cost: operations by size, weights, and memory while they run. No torch.

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
    """How often each of `TERMS` counts.

    Args:
        frames: That go through together.
        window: Of those, how many attend to one another.
        cells: Of latents in a frame, 1/64 of its pixels.
    """
    counts = (1.0, frames, frames * cells, float(frames * cells * cells), frames * window * cells)
    return dict(zip(TERMS, counts, strict=True))


class Flops(NamedTuple):
    """Floating point operations: those of layers, and those of attention, which on a CPU take far longer."""

    layers: float = 0.0
    attention: float = 0.0

    @property
    def total(self) -> float:
        """Both together."""
        return self.layers + self.attention

    def times(self, factor: float) -> "Flops":
        """As many times as much."""
        return Flops(self.layers * factor, self.attention * factor)

    def plus(self, other: "Flops") -> "Flops":
        """The two together."""
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
        """Operations of a call on one image of a batch; the arguments are those of `terms_of`."""
        counts = terms_of(frames=frames, window=window, cells=cells)
        found = {term: counts[term] * flops for term, flops in self.flops.items()}
        attention = sum(found.get(term, 0.0) for term in ATTENTION)
        return Flops(sum(found.values()) - attention, attention)


@cache
def networks(kind: str) -> Mapping[str, Network]:
    """The networks of a kind of base model: "demo", "sd15" or "sdxl"."""
    return {name: Network(**told) for name, told in _table()[kind].items()}


def kind_of(base_model: str) -> str:
    """Which table a base model's costs stand in; one that is not known yet is taken for Stable Diffusion 1.5.

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
    """What a request takes, whatever the machine.

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
    """Count what a request takes, from its own plan of passes, steps and windows.

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
    for one in passes:
        denoise = denoise.plus(window_flops(one.request).times(one.windows))
    return Cost(
        denoise_flops=denoise.layers,
        attention_flops=denoise.attention,
        calls=sum(-(-one.windows // windows_a_call) for one in passes),
        steps=sum(one.steps for one in passes),
        reading_flops=_reading_flops(request),
        drawing_flops=(request.num_frames + _again(request)) * frame_flops(request),
    )


def window_flops(one: GenerationRequest) -> Flops:
    """Operations of one window of a pass through the UNet and its ControlNets, guidance and inner windows included."""
    found = networks(kind_of(one.base_model))
    frames = window_frames(one)
    inner = plan_inner_windows(one, frames)
    pairs = sum(len(window.frame_indices) ** 2 for window in inner) or frames**2
    counted = partial(Network.flops_of, frames=frames, window=pairs / frames, cells=cells_of(one))
    images = 2 if one.guidance_scale > 1 else 1
    flops = counted(found["unet"]).times(images)
    for unit in one.controls:
        net = found.get(control_network(unit.model))
        shares = max(0.0, unit.end - unit.start) * (1 if unit.guess_mode else images)
        flops = flops.plus(counted(net).times(shares)) if net else flops
    return flops


def frame_flops(request: GenerationRequest) -> float:
    """Operations that decode a frame of the clip."""
    width, height = request.clip_size
    return _vae_flops(request, "vae_decoder", frames=1, cells=width * height // CELL)


def window_frames(one: GenerationRequest) -> int:
    """Frames of the windows of a pass."""
    return one.context_length if one.extended_from else min(one.context_length, one.num_frames)


def cells_of(one: GenerationRequest) -> int:
    """Cells of latents in a frame of a pass."""
    return one.width * one.height // CELL


def control_network(model: str) -> str:
    """Which network a control unit's model is; until its file is read, its name tells."""
    return "sparse_ctrl" if "sparse" in model.lower() else "controlnet"


def _reading_flops(request: GenerationRequest) -> float:
    """Operations for the pictures and clips that a clip begins at, and for one that is enlarged as pictures."""
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
    """Frames decoded once more, to be played back."""
    return request.num_frames if request.frames_played_back else 0
