"""Larger pictures: by interpolation, or by a super-resolution network followed by it."""

from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import product
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from finishing.stages import Picture
from pipelines.engine.weights.downloads import fetch
from pipelines.engine.weights.reading import read_weights, require_finite
from pipelines.plan.catalog_entries import Upscaler
from pipelines.plan.errors import WeightsError
from pipelines.plan.faults import Fault

FIELD = "upscaler"
LANCZOS = "lanczos"
"""The one upscaler that is no network."""
TILE = 256
"""Side of the squares that a network is asked for, pixels of the small picture: memory is that of one."""
MARGIN = 24
"""What a network sees around a square and is thrown away, so that none of its edges shows, pixels."""
_INSTEAD = f"Choose '{LANCZOS}', which needs no model"


class UpscaleStage:
    """Stage that resizes every frame.

    Args:
        size: Width and height, pixels.
        network: What enlarges them first; without one they are only interpolated.
    """

    def __init__(self, size: tuple[int, int], network: "SuperResolution | None" = None) -> None:
        self._size = size
        self._network = network

    def take(self, frame: Picture) -> Iterator[Picture]:
        """Yield the frame in its new size."""
        yield resized(self._network.enlarge(frame) if self._network else frame, self._size)

    def end(self) -> Iterator[Picture]:
        """Nothing is held back."""
        return iter(())


def resized(frame: Picture, size: tuple[int, int]) -> Picture:
    """Resize a frame to a width and height in pixels.

    Enlarged by OpenCV's Lanczos over eight pixels: on the procedural world, made small and enlarged to 1024×1024, it
    was as near to the original as Pillow's over six (42.1 and 42.1 dB at 2×, 36.9 and 36.9 at 4×) and no slower.
    Made smaller by the mean over areas, where Lanczos without a wider filter would alias.
    """
    width, height = size
    if frame.shape[1::-1] == size:
        return frame
    grows = width >= frame.shape[1] and height >= frame.shape[0]
    scaled = cv2.resize(frame, size, interpolation=cv2.INTER_LANCZOS4 if grows else cv2.INTER_AREA)
    return np.asarray(scaled, np.uint8).reshape(height, width, 3)


class SuperResolution:
    """Super-resolution network with a fixed scale; create it by `load_upscaler`.

    Args:
        network: RGB [1, 3, h, w] from 0 to 1 -> [1, 3, scale · h, scale · w].
        scale: How many times as large, >= 1.
        device: Where the network is.
        dtype: The number type it computes in.
    """

    def __init__(self, network: Callable[[Tensor], Tensor], scale: int, device: str, dtype: torch.dtype) -> None:
        self.scale = scale
        self._network = network
        self._device = device
        self._dtype = dtype

    def enlarge(self, frame: Picture) -> Picture:
        """Enlarge a frame, square by square.

        Args:
            frame: RGB uint8 [H, W, 3].

        Returns:
            uint8 [scale · H, scale · W, 3].
        """
        height, width = frame.shape[:2]
        large = np.empty((height * self.scale, width * self.scale, 3), np.uint8)
        for top, left in product(range(0, height, TILE), range(0, width, TILE)):
            bottom, right = min(top + TILE, height), min(left + TILE, width)
            above, before = min(MARGIN, top), min(MARGIN, left)
            context = frame[top - above : bottom + MARGIN, left - before : right + MARGIN]
            enlarged = self._draw(context)[above * self.scale :, before * self.scale :]
            tile = large[top * self.scale : bottom * self.scale, left * self.scale : right * self.scale]
            tile[:] = enlarged[: tile.shape[0], : tile.shape[1]]
        return large

    @torch.inference_mode()
    def _draw(self, frame: Picture) -> Picture:
        picture = torch.from_numpy(frame.copy()).to(self._device, self._dtype).permute(2, 0, 1)[None] / 255
        enlarged = self._network(picture)[0].float().clamp(0, 1)
        pixels: Picture = (enlarged * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
        return pixels


def load_upscaler(entry: Upscaler, device: str) -> SuperResolution:
    """Download and load a network, caching the last one.

    Raises:
        WeightsError: It can't be had, is damaged, unsafe, or no super-resolution network for colour pictures.
    """
    path = entry.folder
    if entry.source == "hub":
        assert entry.file is not None, "an upscaler is always one file"
        path = fetch(entry.repo, entry.file, entry.revision, field=FIELD, instead=_INSTEAD)
    return _read(path, path.stat().st_mtime_ns, device)


@lru_cache(maxsize=1)
def _read(path: Path, changed_ns: int, device: str) -> SuperResolution:
    del changed_ns  # a file that has changed is another one
    # What tells architectures apart by their tensors' names; imported late, it takes seconds.
    from spandrel import ImageModelDescriptor, ModelLoader

    tensors = read_weights(path, field=FIELD)
    try:
        descriptor = ModelLoader().load_from_state_dict(tensors)
    except Exception as err:  # each architecture reads sizes off shapes in its own way, and raises whatever it meets
        raise WeightsError(_refused(path, "upscaler.unknown_network", "which holds no network that is known")) from err
    if not isinstance(descriptor, ImageModelDescriptor) or (descriptor.input_channels, descriptor.output_channels) != (
        3,
        3,
    ):
        raise WeightsError(_refused(path, "upscaler.other_network", "which is a network for something else"))
    dtype = torch.float16 if device != "cpu" and descriptor.supports_half else torch.float32
    descriptor.model.requires_grad_(False).eval().to(device, dtype)
    require_finite(descriptor.model.state_dict(), field=FIELD, name=path.name)  # in half, too
    descriptor.to(device, dtype)
    return SuperResolution(descriptor, descriptor.scale, device, dtype)


def _refused(path: Path, code: str, why: str) -> Fault:
    return Fault(
        code=code,
        field=FIELD,
        rule="be a super-resolution network for colour pictures",
        got=f"'{path.name}'",
        fix=_INSTEAD,
        values={"name": path.name},
        seen=f"{{got:s}}, {why}",
    )
