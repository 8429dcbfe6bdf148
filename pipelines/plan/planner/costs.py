"""Costs of each architecture's networks: operations, weights and live memory.

The numbers are data, counted on the true architectures (`scripts/count_flops.py`).
"""

import tomllib
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from math import prod
from typing import NamedTuple

from pipelines.plan.architecture import Architecture
from pipelines.plan.catalog import find_base_model
from pipelines.plan.catalog_entries import ASSETS
from pipelines.plan.choices import HiresMethod
from pipelines.plan.context import plan_inner_windows
from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.request import GenerationRequest

CELL = 64  # pixels of a cell of latents


class Network(NamedTuple):
    """Counts of one network, a call for one image of a batch.

    Args:
        parameters: How many numbers it holds.
        live: Values for every cell of a frame that are in memory at the worst moment of a call.
        image, picture, cell, pair, time: Operations once, for every frame, for every cell of a frame, and those of
            attention for every two cells of a frame, and for every two frames at a cell.
    """

    parameters: int
    live: int = 0
    image: int = 0
    picture: int = 0
    cell: int = 0
    pair: int = 0
    time: int = 0

    def flops(self, frames: float, cells: int, window: float = 1, attention: float = 1) -> float:
        """Count a call's operations; those of attention count so many times."""
        of_cell = self.cell + attention * (cells * self.pair + window * self.time)
        return self.image + frames * (self.picture + cells * of_cell)


@cache
def networks() -> Mapping[str, Mapping[str, Network]]:
    """Return the networks by kind of base model: "demo", "sd15" or "sdxl"."""
    tables = tomllib.loads((ASSETS / "flops.toml").read_text("utf-8"))
    return {kind: {name: Network(**values) for name, values in table.items()} for kind, table in tables.items()}


def kind_of(base_model: str) -> str:
    """Choose a base model's cost table; unknown ones count as SD 1.5."""
    with suppress(InvalidRequestError):
        family = find_base_model(base_model).family or ""
        return family if family in networks() else Architecture.SD15
    return Architecture.SD15


def networks_of(request: GenerationRequest) -> Mapping[str, Network]:
    """Return the networks of a request's base model."""
    return networks()[kind_of(request.base_model)]


def control_network(model: str) -> str:
    """Guess a control unit's kind of network by its model's name."""
    return "sparse_ctrl" if "sparse" in model.lower() else "controlnet"


def cells_of(request: GenerationRequest) -> int:
    """Count the latent cells in a frame of a pass."""
    return request.width * request.height // CELL


def window_flops(request: GenerationRequest, attention: float = 1) -> float:
    """Count operations of one window, ControlNets, guidance and inner windows included."""
    nets, frames, images = networks_of(request), request.window_frames, 2 if request.guidance_scale > 1 else 1
    pairs = sum(len(inner.frame_indices) ** 2 for inner in plan_inner_windows(request, frames)) or frames**2
    calls = [("unet", float(images))]
    for unit in request.controls:
        calls.append(
            (control_network(unit.model), max(0.0, unit.end - unit.start) * (1 if unit.guess_mode else images))
        )
    size = (frames, cells_of(request), pairs / frames, attention)
    return sum(count * nets[name].flops(*size) for name, count in calls if name in nets)


def frame_flops(request: GenerationRequest) -> float:
    """Count the operations that decode a frame of the clip."""
    return networks_of(request)["vae_decoder"].flops(1, prod(request.clip_size) // CELL)


def reading_flops(request: GenerationRequest) -> float:
    """Count operations for encoding inputs, and a clip enlarged as pixels."""
    encoder, decoder = (networks_of(request)[name] for name in ("vae_encoder", "vae_decoder"))
    reads = bool(request.source_video) and (request.starts_from_pictures or bool(request.mask))
    frames = request.num_frames if reads else bool(request.first_frame) + bool(request.last_frame)
    flops = encoder.flops(frames, cells_of(request))
    if request.hires_scale > 1 and request.hires_method is HiresMethod.PIXEL:
        flops += decoder.flops(request.num_frames, cells_of(request))
        flops += encoder.flops(request.num_frames, prod(request.clip_size) // CELL)
    return flops
