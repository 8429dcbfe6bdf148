"""Costs of each architecture's networks: operations, weights and live memory.

The numbers are data, counted on the true architectures (`scripts/count_flops.py`).
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Annotated, NamedTuple

from pydantic import Field

from pipelines.plan.architecture import Architecture
from pipelines.plan.catalog import find_base_model
from pipelines.plan.catalog_entries import ASSETS
from pipelines.plan.choices import HiresMethod
from pipelines.plan.context import plan_inner_windows
from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.plan import Plan
from pipelines.plan.request import GenerationRequest

Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]

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

    def plus(self, other: "Flops", times: float = 1) -> "Flops":
        """Add another's operations, so many times."""
        return Flops(self.layers + other.layers * times, self.attention + other.attention * times)


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

    def flops_of(self, *, frames: float, window: float = 1, cells: int = 0) -> Flops:
        """Count a call's operations on one image; arguments as `terms_of`."""
        counts = terms_of(frames=frames, window=window, cells=cells)
        flops_by_term = {term: counts[term] * flops for term, flops in self.flops.items()}
        attention = sum(flops_by_term.get(term, 0.0) for term in ATTENTION)
        return Flops(sum(flops_by_term.values()) - attention, attention)


@cache
def _tables() -> Mapping[str, Mapping[str, Network]]:
    tables = tomllib.loads((ASSETS / "flops.toml").read_text("utf-8"))
    return {kind: {name: Network(**values) for name, values in table.items()} for kind, table in tables.items()}


def networks(kind: str) -> Mapping[str, Network]:
    """Return a base model kind's networks: "demo", "sd15" or "sdxl"."""
    return _tables()[kind]


def networks_of(request: GenerationRequest) -> Mapping[str, Network]:
    """Return the networks of a request's base model."""
    return networks(kind_of(request.base_model))


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
    return Architecture.SD15 if family is None or family not in _tables() else family


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

    denoise_flops: Amount
    attention_flops: Amount
    calls: int
    steps: int
    reading_flops: Amount
    drawing_flops: Amount

    @property
    def denoise_terms(self) -> tuple[float, ...]:
        """All that the UNet's time grows with."""
        return self.denoise_flops, self.attention_flops, float(self.calls)

    @property
    def drawing_terms(self) -> tuple[float, ...]:
        """All that the VAE's time grows with."""
        return (self.reading_flops + self.drawing_flops,)


def cost_of(plan: Plan, *, windows_a_call: int = 1) -> Cost:
    """Count a clip's work.

    Args:
        windows_a_call: How many of them go through the UNet together.
    """
    request, nets = plan.request, networks_of(plan.request)
    flops = nets["text"].flops_of(frames=2)  # both prompts; keys are few
    if "image_encoder" in nets:
        pictures = sum(len(prompt.pictures) for prompt in request.image_prompts)
        flops = flops.plus(nets["image_encoder"].flops_of(frames=pictures))
    for planned in plan.passes:
        flops = flops.plus(window_flops(planned.request), planned.windows)
    decoded = request.num_frames * (2 if request.frames_played_back else 1)  # once more, to be played back
    return Cost(
        denoise_flops=flops.layers,
        attention_flops=flops.attention,
        calls=sum(-(-planned.windows // windows_a_call) for planned in plan.passes),
        steps=sum(planned.steps_taken for planned in plan.passes),
        reading_flops=_reading_flops(request),
        drawing_flops=decoded * frame_flops(request),
    )


def window_flops(request: GenerationRequest) -> Flops:
    """Count operations of one window, ControlNets, guidance and inner windows included."""
    nets, frames = networks_of(request), request.window_frames
    pairs = sum(len(inner.frame_indices) ** 2 for inner in plan_inner_windows(request, frames)) or frames**2
    counted = partial(Network.flops_of, frames=frames, window=pairs / frames, cells=cells_of(request))
    images = 2 if request.guidance_scale > 1 else 1
    flops = Flops().plus(counted(nets["unet"]), images)
    for unit in request.controls:
        if net := nets.get(control_network(unit.model)):
            shares = max(0.0, unit.end - unit.start) * (1 if unit.guess_mode else images)
            flops = flops.plus(counted(net), shares)
    return flops


def frame_flops(request: GenerationRequest) -> float:
    """Count the operations that decode a frame of the clip."""
    width, height = request.clip_size
    return networks_of(request)["vae_decoder"].flops_of(frames=1, cells=width * height // CELL).total


def cells_of(request: GenerationRequest) -> int:
    """Count the latent cells in a frame of a pass."""
    return request.width * request.height // CELL


def control_network(model: str) -> str:
    """Guess a control unit's kind of network by its model's name."""
    return "sparse_ctrl" if "sparse" in model.lower() else "controlnet"


def _reading_flops(request: GenerationRequest) -> float:
    """Count operations for encoding inputs, and a clip enlarged as pixels."""
    encoder, decoder = (networks_of(request)[name] for name in ("vae_encoder", "vae_decoder"))
    reads = bool(request.source_video) and (request.starts_from_pictures or bool(request.mask))
    frames = request.num_frames if reads else bool(request.first_frame) + bool(request.last_frame)
    flops = encoder.flops_of(frames=frames, cells=cells_of(request)).total
    if request.hires_scale > 1 and request.hires_method is HiresMethod.PIXEL:
        large = request.clip_size[0] * request.clip_size[1] // CELL
        flops += decoder.flops_of(frames=request.num_frames, cells=cells_of(request)).total
        flops += encoder.flops_of(frames=request.num_frames, cells=large).total
    return flops
