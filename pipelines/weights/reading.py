"""The one door for weights: read files without trusting them.

Pickles can run code when they are opened, so they are only ever read with `weights_only=True`, which
refuses everything but tensors and plain containers. What goes wrong here is said in words that name the
file but never a path of this disk.
"""

import json
import logging
import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from pipelines.cache import cache_folder
from pipelines.errors import WeightsError
from pipelines.weights.digests import sha256_of

_log = logging.getLogger(__name__)

PICKLES = (".ckpt", ".pth", ".pt", ".bin")
FOLDER_CONFIG = "config.json"
FOLDER_WEIGHTS = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")  # the first that is there
_CODE_WORDS = ("unsupported global", "unsupported class", "was not an allowed global", "unsupported storage")
#: Dicts that published pickles put around the tensors: SparseCtrl's, textual inversions', ZoeDepth's, LeReS's, the
#: averaged and the last ones of super-resolution networks, CameraCtrl's two.
_WRAPPERS = (
    *("state_dict", "controlnet", "string_to_param", "model", "depth_model", "params_ema", "params"),
    *("motion_module_state_dict", "pose_encoder_state_dict"),
)
#: Dicts that published pickles have beside each other: IP-Adapters' two halves.
_PARTS = ("image_proj", "ip_adapter")
_ALIGNMENT = 64  # bytes, torch's own


def read_weights(path: Path, *, field: str = "weights") -> dict[str, torch.Tensor]:
    """Read all tensors of a file into CPU memory, unwrapped from `state_dict` and `module.`.

    Args:
        path: A .safetensors file, or a pickle (.ckpt, .pth, .pt, .bin) of tensors.
        field: The request's field it was chosen by, for the error text.

    Raises:
        WeightsError: The file is missing, cut off, not what its name says, asks to run code, holds no
            tensors, or holds NaN or infinity.
    """
    source = as_safetensors(path, field=field)
    if source.suffix == ".safetensors":
        with _safetensors(source, field) as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    else:
        tensors = _unpickle(source, field)
    require_finite(tensors, field=field, name=path.name)
    return _unwrapped(tensors)


def as_safetensors(path: Path, *, field: str = "weights") -> Path:
    """The file itself, or for a pickle its copy as .safetensors in the cache, made on first use.

    The copy loads faster and can hold nothing but tensors; it is named by the pickle's content. Where the
    cache can't be written, the pickle itself is the answer.

    Raises:
        WeightsError: As `read_weights`.
    """
    if path.suffix not in PICKLES or not path.is_file():
        return path
    copy = cache_folder() / "weights" / f"{sha256_of(path)}.safetensors"
    if copy.is_file():
        return copy
    tensors = _unpickle(path, field)
    require_finite(tensors, field=field, name=path.name)
    part = copy.with_suffix(f".{os.getpid()}")
    try:
        copy.parent.mkdir(parents=True, exist_ok=True)
        save_file(_apart(_unwrapped(tensors)), part)
        part.replace(copy)
    except (OSError, SafetensorError) as err:
        part.unlink(missing_ok=True)
        _log.warning("No copy of %s could be kept (%s); it is read as it is.", path.name, err)
        return path
    return copy


def read_shapes(path: Path, *, field: str = "weights") -> dict[str, tuple[int, ...]]:
    """Names and shapes of a file's tensors, named as in `read_weights`, without reading the tensors.

    Raises:
        WeightsError: As `read_weights`, numbers excepted.
    """
    if path.suffix == ".safetensors":
        with _safetensors(path, field) as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    else:
        shapes = {name: tuple(tensor.shape) for name, tensor in _unpickle(path, field).items()}
    return _unwrapped(shapes)


def read_metadata(path: Path, *, field: str = "weights") -> dict[str, str]:
    """The notes in a .safetensors file's header; empty for other files.

    Raises:
        WeightsError: The file is missing or damaged.
    """
    if path.suffix != ".safetensors":
        return {}
    with _safetensors(path, field) as file:
        return dict(file.metadata() or {})


def require_finite(tensors: Mapping[str, torch.Tensor], *, field: str, name: str) -> None:
    """Refuse weights with NaN or infinity, which would give black pictures after all the work is done.

    Raises:
        WeightsError: A tensor has such a value.
    """
    for key, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise WeightsError(
                f"{field} must hold finite numbers, got '{name}' with NaN or infinity in {key}. Choose another file."
            )


def weights_in(folder: Path) -> Path:
    """The weights file of one model's diffusers folder; it may not be there."""
    return next((folder / name for name in FOLDER_WEIGHTS if (folder / name).is_file()), folder / FOLDER_WEIGHTS[0])


def read_model(kind: Any, folder: Path, file: Path, dtype: torch.dtype) -> Any:
    """Read a diffusers or transformers model of a class from its folder, with its weights in the given file.

    Raises:
        ValueError: The file lacks tensors, which both libraries would fill with random numbers.
    """
    model, loading = kind.from_pretrained(
        folder,
        torch_dtype=dtype,
        use_safetensors=file.suffix == ".safetensors",
        local_files_only=True,
        output_loading_info=True,
    )
    if loading["missing_keys"]:
        raise ValueError(f"{folder.name} lacks {sorted(loading['missing_keys'])[0]}")
    return model


def settle(module: Any, device: str, *, field: str, name: str) -> None:
    """Freeze a model that was just read, check its numbers, and put it on the device.

    Raises:
        WeightsError: It holds NaN or infinity.
    """
    module.requires_grad_(False).eval()
    require_finite(module.state_dict(), field=field, name=name)
    for tensor in (*module.parameters(), *module.buffers()):
        tensor.data = aligned(tensor.data)
    module.to(device)


def read_folder(folder: Path, *, kind: str, what: str, field: str, name: str) -> tuple[Path, dict[str, Any]]:
    """Find the weights file of a diffusers folder, and read its configuration.

    Args:
        folder: The folder.
        kind: The class its configuration must name.
        what: That class in words, with its article.
        field: The request's field it was chosen by, for the error text.
        name: What to call it there.

    Raises:
        WeightsError: Its configuration can't be read, or is another class's.
    """
    try:
        config = json.loads((folder / FOLDER_CONFIG).read_text("utf-8"))
        found = config["_class_name"]
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise WeightsError(
            f"{field} must be a folder with a {FOLDER_CONFIG} and weights, got '{name}', "
            f"which has no readable {FOLDER_CONFIG}. Install it again or choose another."
        ) from err
    if found != kind:
        raise WeightsError(f"{field} must be {what}, got '{name}', which is a {found}. Choose another.")
    return weights_in(folder), {key: value for key, value in config.items() if not key.startswith("_")}


def require_layout(
    found: Mapping[str, tuple[int, ...]],
    expected: Mapping[str, tuple[int, ...]],
    *,
    what: str,
    field: str,
    name: str,
) -> None:
    """Refuse a file whose tensors are not, by name and shape, those of the model it should hold.

    Args:
        found, expected: Tensor name -> shape.
        what, field, name: As in `not_whole`.

    Raises:
        WeightsError: A tensor is missing, too many, or of another shape; the first is named.
    """
    lacking, extra = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    if lacking:
        raise not_whole(f"it lacks {len(lacking)} tensors, the first {lacking[0]}", what=what, field=field, name=name)
    if extra:
        why = f"it has {len(extra)} tensors too many, the first {extra[0]}"
        raise not_whole(why, what=what, field=field, name=name)
    for key, shape in expected.items():
        if found[key] != shape:
            why = f"{key} has the shape {_by(found[key])} where {_by(shape)} is needed"
            raise not_whole(why, what=what, field=field, name=name)


def not_whole(why: str, *, what: str, field: str, name: str) -> WeightsError:
    """What to raise for the file `name` that should be a whole `what`, chosen by the request's `field`."""
    return WeightsError(f"{field} must be a whole {what}, got '{name}': {why}. Download it again or choose another.")


def aligned(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor at an address CPU kernels like; a copy only if it was not.

    Tensors mapped from a file lie where its header happens to end, and kernels round differently at odd
    addresses (1e-6 was seen): without this the frames would depend on the file's layout.
    """
    return tensor if tensor.data_ptr() % _ALIGNMENT == 0 else tensor.clone()


def _safetensors(path: Path, field: str) -> Any:
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError, ValueError) as err:
        raise _damaged(path, field) from err


def _unpickle(path: Path, field: str) -> dict[str, torch.Tensor]:
    if path.suffix not in PICKLES:
        raise WeightsError(
            f"{field} must be a .safetensors file or one of {', '.join(PICKLES)}, got '{path.name}'. "
            "Choose another file."
        )
    try:
        content = _load(path)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError, IndexError) as err:
        if any(words in str(err).lower() for words in _CODE_WORDS):
            raise WeightsError(
                f"{field} must hold nothing but tensors, got '{path.name}', which asks to run code. "
                "It was not opened; choose a .safetensors file."
            ) from err
        raise _damaged(path, field) from err
    while isinstance(content, dict) and (
        inner := next((content[name] for name in _WRAPPERS if isinstance(content.get(name), dict)), None)
    ):
        content = inner
    tensors = dict(content) if isinstance(content, dict) else {}
    for part in _PARTS:
        inside = tensors.pop(part, None)
        tensors |= {f"{part}.{name}": tensor for name, tensor in inside.items()} if isinstance(inside, dict) else {}
    return {str(name): tensor for name, tensor in tensors.items() if isinstance(tensor, torch.Tensor)}


def _load(path: Path) -> object:
    """Map the file into memory where its format allows; files from before torch 1.6 are read whole."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except RuntimeError as err:
        if "mmap can only be used" not in str(err):
            raise
        return torch.load(path, map_location="cpu", weights_only=True)


def _apart(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors without shared memory, which the format does not know."""
    seen: set[int] = set()
    apart = {}
    for name, tensor in tensors.items():
        place = tensor.untyped_storage().data_ptr()
        apart[name] = tensor.clone() if place in seen else tensor.contiguous()
        seen.add(place)
    return apart


def _damaged(path: Path, field: str) -> WeightsError:
    kind = "safetensors file" if path.suffix == ".safetensors" else "file of tensors"
    state = "cut off or not one at all" if path.exists() else "missing"
    return WeightsError(
        f"{field} must be a whole {kind}, got '{path.name}', which is {state}. Download it again or choose another."
    )


def _by(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))


def _unwrapped(values: dict[str, Any]) -> dict[str, Any]:
    return {name.removeprefix("module."): value for name, value in values.items()}
