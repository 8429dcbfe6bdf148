"""Frame interpolation with the FILM network.

Reda et al., "FILM: Frame Interpolation for Large Motion" (ECCV 2022, arXiv:2202.04901), in its PyTorch form, a
TorchScript archive. Such an archive is a program that TorchScript's interpreter runs, so it is never a visitor's: it
is the catalog's, at a fixed commit whose bytes are checked, or a file of the operator's own.
"""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from finishing.stages import Picture
from pipelines.engine.weights.downloads import fetch
from pipelines.plan.catalog_entries import Interpolator
from pipelines.plan.errors import WeightsError
from pipelines.plan.faults import Fault

FIELD = "interpolation"
MAX_FILE_BYTES = 1_000_000_000
"""FILM has 140 MB; what is many times as large is something else."""
_MULTIPLE = 64  # of its coarsest pictures, pixels


class Film:
    """FILM network on a device; create it by `load_film`.

    Args:
        network: (before, after, time) -> the frame then; RGB [1, 3, H, W] from 0 to 1, the sides multiples of 64, and
            time [1, 1] from 0 to 1.
        device: Where the network is.
        dtype: The number type it computes in.
    """

    def __init__(self, network: nn.Module, device: str, dtype: torch.dtype) -> None:
        self._network = network
        self._device = device
        self._dtype = dtype

    def draw_between(self, before: Picture, after: Picture, count: int) -> Iterator[Picture]:
        """Draw frames at even steps between two.

        The middle one first, then the middles of both halves from it: the network was trained on middles, and knows
        short ways better than long ones.

        Args:
            before, after: RGB uint8 [H, W, 3] of one size.
            count: How many, >= 1.

        Yields:
            uint8 [H, W, 3], from the nearest to `before` on. Beside the last one at most log2(count) are in memory.

        Raises:
            WeightsError: What the network draws is no picture of this size.
        """
        height, width = before.shape[:2]
        for frame in self._between(self._padded(before), self._padded(after), count):
            pixels = (frame[0, :, :height, :width].float().clamp(0, 1) * 255).round().to(torch.uint8)
            yield pixels.permute(1, 2, 0).cpu().numpy()

    def _between(self, before: Tensor, after: Tensor, count: int) -> Iterator[Tensor]:
        if not count:
            return
        earlier = count // 2
        middle = self._draw(before, after, (earlier + 1) / (count + 1))
        yield from self._between(before, middle, earlier)
        yield middle
        yield from self._between(middle, after, count - earlier - 1)

    @torch.inference_mode()
    def _draw(self, before: Tensor, after: Tensor, time: float) -> Tensor:
        try:
            picture = self._network(before, after, before.new_full((1, 1), time))
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as err:  # also whatever its program raises
            raise WeightsError(_bad_archive("film.program_fails", "its program fails")) from err
        if not isinstance(picture, Tensor) or picture.shape != before.shape or not torch.isfinite(picture).all():
            raise WeightsError(_bad_archive("film.no_picture", "what it draws is no picture"))
        return picture

    def _padded(self, frame: Picture) -> Tensor:
        picture = torch.from_numpy(frame.copy()).to(self._device, self._dtype).permute(2, 0, 1)[None] / 255
        height, width = frame.shape[:2]
        return pad(picture, (0, -width % _MULTIPLE, 0, -height % _MULTIPLE), mode="replicate")


def load_film(entry: Interpolator, device: str) -> Film:
    """Download and load FILM, caching the last one.

    Raises:
        WeightsError: It can't be had, or is no such archive.
    """
    path = entry.folder
    if entry.source == "hub":
        assert entry.file is not None, "the catalog names one"
        path = fetch(entry.repo, entry.file, entry.revision, field=FIELD, instead="Choose 'flow', which needs no model")
    return _read(path, path.stat().st_mtime_ns, device)


@lru_cache(maxsize=1)
def _read(path: Path, changed_ns: int, device: str) -> Film:
    del changed_ns  # a file that has changed is another one
    if path.stat().st_size > MAX_FILE_BYTES:
        raise WeightsError(_bad_archive("film.too_large", "it is far too large"))
    try:
        network = torch.jit.load(path, map_location="cpu").eval()  # straight to "mps" it can't be read
    except (RuntimeError, ValueError, OSError) as err:
        raise WeightsError(_bad_archive("film.damaged", "it is cut off or not one at all")) from err
    dtype = next((weight.dtype for weight in network.parameters()), torch.float32)
    if device == "cpu":  # where half-precision convolutions are missing or slow
        network, dtype = network.float(), torch.float32
    return Film(network.to(device), device, dtype)


def _bad_archive(code: str, why: str) -> Fault:
    return Fault(
        code=code,
        field=FIELD,
        rule="have a whole FILM archive",
        got=f"one of which {why}",
        fix="Choose 'flow' or replace it",
    )
