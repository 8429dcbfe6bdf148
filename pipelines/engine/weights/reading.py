"""The one door for weights: read files without trusting them.

Tensors are read in turns, each checked and turned into the number type asked for as it comes, so that a file of 4 GB
takes no more memory than what is made of it. What goes wrong here is said in words that name the file but never a path
of this disk.
"""

import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from pipelines.engine.weights.pickles import unpickle
from pipelines.engine.weights.scaled import apply_factors, drop_factors, refuse_quantised, whole_numbers
from pipelines.engine.weights.variants import NETWORK, weight_files
from pipelines.plan.errors import WeightsError
from pipelines.plan.faults import Fault
from pipelines.plan.findings import Finding
from pipelines.plan.model_files.foreign_files import MAPPED, is_safetensors, unreadable

FOLDER_CONFIG = "config.json"
FOLDER_WEIGHTS = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")  # the first that is there
#: Bytes of a file that are mapped at once; what is mapped counts as memory in use.
_TURN = 1 << 28
#: The number types that can be read, by safetensors' names, and their bytes.
_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1}
_BYTES |= {"I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}


def read_weights(
    path: Path, *, field: str = "weights", dtype: torch.dtype | None = None, prefix: str = ""
) -> dict[str, torch.Tensor]:
    """Read a file's tensors into CPU memory, without `state_dict` and `module.`.

    Args:
        path: A .safetensors file, or a pickle (.ckpt, .pth, .pt, .bin) of tensors.
        field: The request's field it was chosen by, for the error text.
        dtype: The type that floating-point numbers get as they are read; their own by default, but float16 for float8.
        prefix: Only tensors whose names begin so are read; it is taken off.

    Raises:
        WeightsError: The file is missing, cut off, not what its name says, asks to run code, is of a number type that
            can't be read, or holds NaN or infinity.
    """
    stored = _mapped(path, field, prefix) if _is_mapped(path) else _unpickled(path, field)
    tensors = {}
    for name, tensor in stored:
        own_name = name.removeprefix("module.")
        if own_name.startswith(prefix):
            tensors[own_name.removeprefix(prefix)] = _convert(tensor, dtype, field=field, file=path.name, name=name)
    return apply_factors(tensors, field=field, file=path.name)


def read_shapes(path: Path, *, field: str = "weights") -> dict[str, tuple[int, ...]]:
    """Read the names and shapes that `read_weights` gives, without tensors.

    Raises:
        WeightsError: As `read_weights`, numbers excepted.
    """
    if _is_mapped(path):
        with _safetensors(path, field) as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    else:
        shapes = {name: tuple(tensor.shape) for name, tensor in unpickle(path, field).items()}
    refuse_quantised(shapes, field=field, file=path.name)
    return drop_factors({name.removeprefix("module."): shape for name, shape in shapes.items()})


def read_metadata(path: Path, *, field: str = "weights") -> dict[str, str]:
    """Read a .safetensors header's notes; empty for other files.

    Raises:
        WeightsError: The file is missing or damaged.
    """
    if not _is_mapped(path):
        return {}
    with _safetensors(path, field) as file:
        return dict(file.metadata() or {})


def require_finite(tensors: Mapping[str, torch.Tensor], *, field: str, name: str) -> None:
    """Refuse weights with NaN or infinity, which give black pictures.

    Raises:
        WeightsError: A tensor has such a value.
    """
    for key, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise _not_finite(field, name, key)


def weights_in(folder: Path) -> Path:
    """Return the weights file of a model's folder; it may not exist."""
    return next(iter(weight_files(folder, NETWORK)), folder / FOLDER_WEIGHTS[0])


def read_model(kind: Any, folder: Path, file: Path, dtype: torch.dtype, *, field: str) -> Any:
    """Build a frozen transformers model from a folder and a weights file.

    Args:
        kind: Its class.
        folder: Of its configuration.
        field: The request's field it was chosen by, for the error text.

    Raises:
        OSError, ValueError: The configuration can't be read, or the file lacks tensors.
        WeightsError: As `read_weights`.
    """
    config = kind.config_class.from_pretrained(folder, local_files_only=True)
    tensors = read_weights(file, field=field, dtype=dtype)
    model, loading = kind.from_pretrained(
        None, config=config, state_dict=tensors, dtype=dtype, output_loading_info=True
    )
    if loading["missing_keys"]:  # the library would fill them with random numbers
        raise ValueError(f"{folder.name} lacks {sorted(loading['missing_keys'])[0]}")
    return model.requires_grad_(False).eval()


def read_folder(folder: Path, *, kind: str, what: str, field: str, name: str) -> tuple[Path, dict[str, object]]:
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
        class_name = config["_class_name"]
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise no_config(field, name) from err
    if class_name != kind:
        raise WeightsError(
            Fault(
                code="weights.other_class",
                field=field,
                rule="be {wanted:s}",
                got=name,
                seen="'{got:s}', which is a {class_name:s}",
                fix="Choose another",
                values={"wanted": what, "class_name": str(class_name)},
            )
        )
    return weights_in(folder), {key: value for key, value in config.items() if not key.startswith("_")}


def no_config(field: str, name: str) -> WeightsError:
    """Build the error for a diffusers folder without a readable configuration."""
    return WeightsError(
        Fault(
            code="weights.no_config",
            field=field,
            rule="be a folder with a {config:s} and weights",
            got=name,
            seen="'{got:s}', which has no readable {config:s}",
            fix="Install it again or choose another",
            values={"config": FOLDER_CONFIG},
        )
    )


def require_layout(
    actual: Mapping[str, tuple[int, ...]],
    expected: Mapping[str, tuple[int, ...]],
    *,
    what: str,
    field: str,
    name: str,
) -> None:
    """Refuse a file whose tensor names and shapes aren't the model's.

    Args:
        found, expected: Tensor name -> shape.
        what, field, name: As in `not_whole`.

    Raises:
        WeightsError: A tensor is missing, too many, or of another shape; the first is named.
    """
    lacking, extra = sorted(expected.keys() - actual.keys()), sorted(actual.keys() - expected.keys())
    words = {"what": what, "field": field, "name": name}
    if lacking:
        counted = {"count": len(lacking), "tensor": lacking[0]}
        raise not_whole(
            Finding("weights.lacks_tensors", "it lacks {count} tensors, the first {tensor:s}", counted), **words
        )
    if extra:
        counted = {"count": len(extra), "tensor": extra[0]}
        raise not_whole(
            Finding("weights.too_many_tensors", "it has {count} tensors too many, the first {tensor:s}", counted),
            **words,
        )
    for key, shape in expected.items():
        if actual[key] != shape:
            details = {"tensor": key, "shape": _by(actual[key]), "wanted_shape": _by(shape)}
            why = "{tensor:s} has the shape {shape:s} where {wanted_shape:s} is needed"
            raise not_whole(Finding("weights.other_shape", why, details), **words)


def not_whole(why: Finding | str, *, what: str, field: str, name: str) -> WeightsError:
    """Build the error for a file that isn't a whole `what`."""
    finding = Finding("weights.not_whole", "{why:s}", {"why": why}) if isinstance(why, str) else why
    return WeightsError(
        Fault(
            code=finding.code,
            field=field,
            rule="be a whole {what:s}",
            got=name,
            seen=f"'{{got:s}}': {finding.words}",
            fix="Download it again or choose another",
            values={"what": what, **finding.values},
        )
    )


def missing(err: KeyError, prefix: str = "") -> Finding:
    """Describe a missing tensor, by a lookup's error."""
    return Finding("weights.lacks_tensor", "it lacks {tensor:s}", {"tensor": f"{prefix}{err.args[0]}"})


def _is_mapped(path: Path) -> bool:
    """Tell whether to read a file as .safetensors, by content or name."""
    return path.suffix.lower() in MAPPED or is_safetensors(path)


def _safetensors(path: Path, field: str) -> safe_open:
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError, ValueError) as err:
        raise unreadable(path, field) from err


def _mapped(path: Path, field: str, prefix: str) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield a .safetensors file's tensors, mapped until the next is requested."""
    with _safetensors(path, field) as file:
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        selected = {
            name: (part.get_dtype(), prod(part.get_shape()))
            for name, part in slices.items()
            if name.removeprefix("module.").startswith(prefix)
        }
        slices.clear()
    refuse_quantised(selected, field=field, file=path.name)
    for name, (dtype, _) in selected.items():
        if dtype not in _BYTES:
            raise WeightsError(
                Fault(
                    code="weights.number_type",
                    field=field,
                    rule="hold numbers of a type that is read here ({choices:s})",
                    got=path.name,
                    seen="'{got:s}' with {dtype:s} in {tensor:s}",
                    fix="Choose the same model in float16",
                    limit=tuple(_BYTES),
                    values={"choices": ", ".join(_BYTES), "dtype": dtype, "tensor": name},
                )
            )
    for turn in _turns({name: count * _BYTES[dtype] for name, (dtype, count) in selected.items()}):
        with _safetensors(path, field) as file:
            for name in turn:
                yield name, file.get_tensor(name)


def _unpickled(path: Path, field: str) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield a pickle's tensors, in turns if mapped, to bound memory."""
    tensors = unpickle(path, field)
    refuse_quantised(tensors, field=field, file=path.name)
    if not zipfile.is_zipfile(path):  # from before torch 1.6: it was read whole, and is let go of as it is used
        for name in list(tensors):
            yield name, tensors.pop(name)
        return
    turns = list(_turns({name: tensor.nbytes for name, tensor in tensors.items()}))
    for number, turn in enumerate(turns):
        if number:
            tensors.clear()
            tensors = unpickle(path, field)
        for name in turn:
            yield name, tensors.pop(name)


def _turns(sizes: Mapping[str, int]) -> Iterator[Sequence[str]]:
    """Group the names of tensors that are mapped together."""
    turn: list[str] = []
    filled = 0
    for name, size in sizes.items():
        turn.append(name)
        filled += size
        if filled >= _TURN:
            yield turn
            turn, filled = [], 0
    yield turn


def _convert(tensor: torch.Tensor, dtype: torch.dtype | None, *, field: str, file: str, name: str) -> torch.Tensor:
    """Copy a tensor to the target type, and check its numbers."""
    if not tensor.is_floating_point():
        if name.endswith(".weight") and tensor.ndim > 1:
            raise whole_numbers(name, field=field, file=file)
        return tensor.clone(memory_format=torch.contiguous_format)
    target = dtype or (torch.float16 if tensor.itemsize == 1 else tensor.dtype)
    converted = tensor.to(target, copy=True, memory_format=torch.contiguous_format)
    # One sum tells of NaN and infinity in a single pass; only where it overflows itself is each number looked at.
    if not torch.isfinite(converted.sum(dtype=torch.float32)) and not torch.isfinite(converted).all():
        plain = tensor.float() if tensor.itemsize == 1 else tensor
        if torch.isfinite(plain).all():
            raise WeightsError(
                Fault(
                    code="weights.beyond_number_type",
                    field=field,
                    rule="hold numbers in the range of {dtype:s}, in which it would be computed here",
                    got=file,
                    seen="'{got:s}' with larger ones in {tensor:s}",
                    fix="Set STUDIO_DTYPE to float32, or choose another file",
                    values={"dtype": str(target).removeprefix("torch."), "tensor": name},
                )
            )
        raise _not_finite(field, file, name)
    return converted


def _not_finite(field: str, file: str, tensor: str) -> WeightsError:
    return WeightsError(
        Fault(
            code="weights.not_finite",
            field=field,
            rule="hold finite numbers",
            got=file,
            seen="'{got:s}' with NaN or infinity in {tensor:s}",
            fix="Choose another file",
            values={"tensor": tensor},
        )
    )


def _by(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "()"  # of a single number
