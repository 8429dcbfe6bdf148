"""Pickles of tensors, read without running anything that is in them.

torch's own reader with `weights_only=True` knows tensors and plain containers. Checkpoints as training programs leave
them hold more: the program's callbacks, settings and counters. Where nothing but those is beside the tensors, an empty
record stands for each of them, so that no code of anybody's is imported or run.
"""

import io
import pickle
import pickletools
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch

from pipelines.plan.errors import WeightsError
from pipelines.plan.faults import Fault
from pipelines.plan.findings import Finding
from pipelines.plan.model_files.foreign_files import PICKLED, unreadable

PICKLES = (".ckpt", ".pth", ".pt", ".bin")
#: Where what training programs leave beside the tensors comes from; all of it is passed over.
_BESIDE = ("pytorch_lightning.", "lightning.", "lightning_fabric.", "omegaconf.", "numpy.", "ldm.", "sgm.", "argparse.")
#: Dicts that published pickles put around the tensors: SparseCtrl's, textual inversions', ZoeDepth's, LeReS's, the
#: averaged and the last ones of super-resolution networks, CameraCtrl's two.
_WRAPPERS = (
    *("state_dict", "controlnet", "string_to_param", "model", "depth_model", "params_ema", "params"),
    *("motion_module_state_dict", "pose_encoder_state_dict"),
)
#: Dicts that published pickles have beside each other: IP-Adapters' two halves.
_PARTS = ("image_proj", "ip_adapter")
#: Bytes of everything that is no tensor: a list of all names in a checkpoint of two training runs has 1 MB.
_PICKLE_LIMIT = 1 << 24
_NAMED = 3  # foreign objects that a refusal names
_LEGACY_PICKLES = 4  # before the numbers, in files from before torch 1.6: a mark, a version, the system, the objects
#: What torch's own reader knows, or refuses by itself.
_PLAIN = re.compile(
    r"torch\.(\w+|(_utils|storage|_tensor|cuda|sparse|nn\.parameter)\.\w+|serialization\._get_layout)"
    r"|collections\.\w+|_codecs\.encode|(__builtin__|builtins)\.(set|bytearray|complex)"
)
_UNREADABLE = (
    *(pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError, IndexError, TypeError),
    *(AttributeError, OverflowError, AssertionError, zipfile.BadZipFile, NotImplementedError, RecursionError),
)


class _Record:
    """Stands for an object that is passed over."""

    def __new__(cls, *_: object) -> "_Record":
        return object.__new__(cls)

    def __init__(self, *_: object) -> None: ...

    def __setstate__(self, _: object) -> None: ...


def unpickle(path: Path, field: str) -> dict[str, torch.Tensor]:
    """Read a pickle's tensors out of published wrappers; mapped, not read.

    Raises:
        WeightsError: It is no pickle, is cut off, or holds what only code could open.
    """
    if path.suffix.lower() not in PICKLES:
        raise WeightsError(
            Fault(
                code="weights.ending",
                field=field,
                rule="be a .safetensors file or one of {choices:s}",
                got=path.name,
                seen="'{got:s}'",
                fix="Choose another file",
                limit=PICKLES,
                values={"choices": ", ".join(PICKLES)},
            )
        )
    archive = _archive(path, field)
    foreign = _foreign_objects(path, archive, field)
    if unknown := list(filter(_asks_for_code, foreign)):
        raise _not_opened(path, field, unknown)
    try:
        with torch.serialization.safe_globals([(_Record, name) for name in foreign]):
            # Mapped into memory where the format allows; files from before torch 1.6 are read whole.
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=True if archive else None)
    except pickle.UnpicklingError as err:
        why = "one that can't be opened safely: it is not pickled as torch does"
        raise unreadable(path, field, Finding("weights.pickled_otherwise", why)) from err
    except _UNREADABLE as err:
        raise unreadable(path, field) from err
    return {name: tensor for name, tensor in _tensors(content).items() if _is_plain(tensor, path, field)}


def _tensors(content: object) -> dict[str, torch.Tensor]:
    opened: set[int] = set()  # a pickle may hold a dict that holds itself
    while isinstance(content, dict) and id(content) not in opened:
        opened.add(id(content))
        content = next((content[name] for name in _WRAPPERS if isinstance(content.get(name), dict)), content)
    values: dict[object, object] = dict(content) if isinstance(content, Mapping) else {}
    for part in _PARTS:
        inside = values.pop(part, None)
        values |= {f"{part}.{name}": tensor for name, tensor in inside.items()} if isinstance(inside, dict) else {}
    return {str(name): tensor for name, tensor in values.items() if isinstance(tensor, torch.Tensor)}


def _is_plain(tensor: torch.Tensor, path: Path, field: str) -> bool:
    """Refuse sparse, quantised, complex or impossibly large tensors."""
    if tensor.layout is not torch.strided or tensor.is_quantized or tensor.is_meta or tensor.is_complex():
        raise unreadable(
            path, field, Finding("weights.no_plain_tensors", "one of sparse, quantised or complex tensors")
        )
    if tensor.nbytes > tensor.untyped_storage().nbytes() or tensor.nbytes > path.stat().st_size:
        raise unreadable(path, field, Finding("weights.larger_than_file", "one whose tensors are larger than the file"))
    return True


def _archive(path: Path, field: str) -> str | None:
    """Find the pickle in torch's zip format; None if it's no zip.

    Raises:
        WeightsError: It is another zip.
    """
    if not path.is_file():
        return None
    try:
        if not zipfile.is_zipfile(path):  # which may raise, too
            return None
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except _UNREADABLE as err:
        raise unreadable(path, field) from err
    pickled = next((member for member in members if member.filename.endswith("data.pkl")), None)
    if pickled is None:
        why = "an archive (zip) of other files, which must be unpacked first"
        raise unreadable(path, field, Finding("weights.zip_of_files", why))
    if any("/code/" in member.filename for member in members):
        raise unreadable(path, field, Finding("weights.torch_script", "a TorchScript program, not a file of tensors"))
    if pickled.file_size > _PICKLE_LIMIT or any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise unreadable(
            path, field, Finding("weights.packed_otherwise", "an archive packed in another way than torch's")
        )
    return pickled.filename


def _foreign_objects(path: Path, archive: str | None, field: str) -> list[str]:
    """List a pickle's classes and functions beside tensors, without running it."""
    names: set[str] = set()
    content = io.BytesIO()
    try:
        if archive:
            with zipfile.ZipFile(path) as packed:
                content = io.BytesIO(packed.read(archive))
        else:
            with path.open("rb") as file:
                content = io.BytesIO(file.read(_PICKLE_LIMIT))
        for _ in range(1 if archive else _LEGACY_PICKLES):
            names.update(_named_objects(content))
    except (*_UNREADABLE, MemoryError) as err:
        # Python's own pickles are one where torch's are four; what they ask for is told before what they lack.
        if not content.getvalue().startswith(PICKLED) or not any(map(_asks_for_code, names)):
            raise unreadable(path, field) from err
    return sorted(name for name in names if not _PLAIN.fullmatch(name))


def _asks_for_code(name: str) -> bool:
    return not _PLAIN.fullmatch(name) and not name.startswith(_BESIDE)


def _named_objects(content: io.BytesIO) -> Iterator[str]:
    """Yield the names that one pickle looks up."""
    texts = [""]
    for operation, argument, _ in pickletools.genops(content):
        if operation.name in {"GLOBAL", "INST"}:
            yield str(argument).replace(" ", ".")
        elif operation.name == "STACK_GLOBAL":  # of the two texts before it, in the latest protocols
            yield ".".join(texts[-2:])
        elif isinstance(argument, str):
            texts = [*texts[-1:], argument]


def _not_opened(path: Path, field: str, names: list[str]) -> WeightsError:
    return WeightsError(
        Fault(
            code="weights.runs_code",
            field=field,
            rule="hold nothing but tensors",
            got=path.name,
            seen="'{got:s}', which asks to run code",
            fix="Beside tensors it holds objects of other programs ({objects:s}), as training programs leave them and "
            "harmful files do; it was not opened. Choose a .safetensors file, or if you trust its maker convert it: "
            "load it with that program and save its tensors with safetensors.torch.save_file",
            values={"objects": ", ".join(sorted(names)[:_NAMED])},
        )
    )
