"""Helpers for networks: classes from controlnet_aux, checked weights, frames to maps.

controlnet_aux brings the architectures and nothing else. Its detectors read pickles by a bare `torch.load`,
bring pictures to a size of their own and give depth a new range in every frame, so none of that is used.
"""

import contextlib
import io
import warnings
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from controlnet.preprocessor import MODEL_CONFIG, MODEL_WEIGHTS, Filter, Setting
from pipelines.engine.weights.reading import not_whole, read_model, read_weights, require_layout
from pipelines.plan.errors import WeightsError
from pipelines.plan.image_fit import Frames

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet
_FIELD = "controls"


def from_aux(module: str, *names: str) -> Any:
    """Import named classes of a controlnet_aux module, without its output.

    Of any type: the library has none.
    """
    with quiet():
        imported = import_module(f"controlnet_aux.{module}")
    return getattr(imported, names[0]) if len(names) == 1 else tuple(getattr(imported, name) for name in names)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence warnings and prints while libraries import or build."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def load_network(
    build: Callable[[], nn.Module],
    path: Path | None,
    device: str,
    *,
    rename: Callable[[str], str] = lambda name: name,
) -> nn.Module:
    """Build a network and load a file's tensors into it.

    Args:
        build: Makes the network with any numbers.
        rename: The network's name of a tensor -> the file's.

    Raises:
        WeightsError: The file is damaged, unsafe, or lacks a tensor of the network.
    """
    assert path is not None, "weights that an option asks for are fetched before"
    with quiet():
        network = build()
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    tensors = read_weights(path, field=_FIELD)
    state_dict = {name: tensors[rename(name)] for name in expected if rename(name) in tensors}
    layout = {name: tuple(tensor.shape) for name, tensor in state_dict.items()}
    # Buffers that newer versions of the libraries compute are still in the files: more than is needed is fine.
    require_layout(layout, expected, what=type(network).__name__, field=_FIELD, name=path.name)
    network.load_state_dict(state_dict)
    return network.requires_grad_(False).eval().to(device)


def load_transformer(kind: type[nn.Module], folder: Path | None, device: str) -> nn.Module:
    """Load a transformers model from its folder.

    Args:
        kind: Its class.

    Raises:
        WeightsError: Its configuration or weights are missing, damaged or another model's.
    """
    assert folder is not None
    file = next((folder / name for name in MODEL_WEIGHTS if (folder / name).is_file()), folder / MODEL_WEIGHTS[0])
    try:
        with quiet():
            model = read_model(kind, folder, file, torch.float32, field=_FIELD)
    except WeightsError:
        raise
    except (OSError, ValueError, KeyError, RuntimeError) as err:
        what = f"folder of {MODEL_CONFIG} and weights"
        why = "its files are missing, damaged or another model's"
        raise not_whole(why, what=what, field=_FIELD, name=file.name) from err
    return model.to(device)


def on_frames(look: Callable[[Tensor], Tensor], setting: Setting, *, multiple: int = 64) -> Filter:
    """Wrap a network as a filter, resizing frames in and maps out.

    Args:
        look: RGB float32 [n, 3, h, w] from 0 to 255 -> [n, c, h', w'].
        multiple: What the sides of the network's pictures must be divisible by, pixels.

    Returns:
        A filter whose output is float32 [n, height, width] for one channel, else [n, height, width, c].
    """
    high, wide = working_size(setting, multiple=multiple)

    @torch.inference_mode()
    def apply(frames: Frames) -> npt.NDArray[np.float32]:
        pictures = torch.from_numpy(frames.copy()).to(setting.device).permute(0, 3, 1, 2).float()
        seen = look(_resized(pictures, high, wide))
        maps = _resized(seen.float(), setting.height, setting.width)
        return (maps[:, 0] if maps.shape[1] == 1 else maps.permute(0, 2, 3, 1)).cpu().numpy()

    return apply


def working_size(setting: Setting, *, multiple: int) -> tuple[int, int]:
    """Compute height and width from the shorter side, option `resolution`."""
    ratio = setting.options["resolution"] / min(setting.height, setting.width)
    high, wide = (max(multiple, round(side * ratio / multiple) * multiple) for side in (setting.height, setting.width))
    return high, wide


def as_imagenet(pictures: Tensor) -> Tensor:
    """Normalise pictures from 0 to 255 [n, 3, h, w] for ImageNet."""
    mean, std = (torch.tensor(values, device=pictures.device).view(1, 3, 1, 1) for values in (_MEAN, _STD))
    return (pictures / 255 - mean) / std


def _resized(pictures: Tensor, high: int, wide: int) -> Tensor:
    if pictures.shape[-2:] == (high, wide):
        return pictures
    return interpolate(pictures, (high, wide), mode="bilinear", antialias=True).contiguous()
