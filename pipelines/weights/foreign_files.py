"""What a file is that can't be read as weights, told by its first bytes and its length. No torch."""

import json
from pathlib import Path

from pipelines.errors import WeightsError

#: Bytes of a safetensors header: a full Stable Diffusion XL checkpoint has 0.4 MB of it.
HEADER_LIMIT = 1 << 25
#: How names of such files end, the short one in ComfyUI's circles.
MAPPED = (".safetensors", ".sft")
_GLANCE = 512
_LENGTH = 8  # bytes of a header's length
_MEGABYTE = 1e6
_AGAIN = "Download it again"
_ELSE = "Choose the same model as .safetensors"
_BEGINNINGS = (
    (
        b"version https://git-lfs",
        "a pointer to a file in Git LFS, not the file itself",
        "Download the file it stands for",
    ),
    (b"GGUF", "a GGUF file of quantised weights, which is not read here", _ELSE),
    (b"\x1f\x8b", "an archive (gzip)", "Unpack it"),
    (b"7z\xbc\xaf", "an archive (7z)", "Unpack it"),
    (b"Rar!", "an archive (RAR)", "Unpack it"),
    (b"\x89HDF", "an HDF5 file of another library", _ELSE),
    (b"\x89PNG", "a picture", "Choose a file of weights"),
    (b"\xff\xd8\xff", "a picture", "Choose a file of weights"),
)
_ZIP = b"PK\x03\x04"
#: How pickles begin, those of Python's first protocols excepted.
PICKLED = b"\x80"
#: How names of files end that people have beside their weights, what those are, and what to do about them.
_ENDINGS = (
    ((".gguf", ".ggml"), "a GGUF file of quantised weights", _ELSE),
    ((".onnx", ".ort"), "a network in ONNX, which other engines run", _ELSE),
    ((".engine", ".trt", ".plan"), "an engine of TensorRT, built for one card", _ELSE),
    ((".mlmodel", ".mlpackage", ".mlmodelc"), "a network in Core ML, which Apple's engine runs", _ELSE),
    ((".msgpack", ".h5", ".keras", ".tflite", ".pb"), "of another library than PyTorch", _ELSE),
    ((".pkl", ".pickle"), "a pickle that may not be one of PyTorch's", "Rename it to .pt if it is a file of tensors"),
    ((".zip", ".7z", ".rar", ".tar", ".gz", ".tgz", ".xz"), "an archive", "Unpack it"),
    ((".part", ".crdownload", ".download", ".aria2", ".incomplete", ".tmp"), "a download without its end", _AGAIN),
)
_PAGES = (b"<!doctype", b"<html", b"<?xml", b"<head")
_PAGE = ("a web page, as a download behind a login gives", "Log in where it is published and download it again")
_RENAMED = ("a pickle or an archive under another name", "Rename it to .ckpt if it is a checkpoint")


def is_safetensors(path: Path) -> bool:
    """Whether a file begins as a .safetensors file does, whatever its name says."""
    try:
        with path.open("rb") as file:
            begin = file.read(_LENGTH + 1)
    except OSError:
        return False
    return (
        len(begin) > _LENGTH and begin[_LENGTH:] == b"{" and int.from_bytes(begin[:_LENGTH], "little") <= HEADER_LIMIT
    )


def told_by_ending(name: str) -> tuple[str, str] | None:
    """What a file is by its name's ending, and what to do about it; None if it may be one of weights.

    Example:
        >>> told_by_ending("model.Q4_K.gguf")
        ('a GGUF file of quantised weights', 'Choose the same model as .safetensors')
    """
    return next(((state, advice) for ends, state, advice in _ENDINGS if name.lower().endswith(ends)), None)


def unreadable(path: Path, field: str, why: str | None = None) -> WeightsError:
    """What to raise for a file that can't be read as weights: what it is, as far as its bytes tell.

    Args:
        path: The file; it may be missing.
        field: The request's field it was chosen by.
        why: What is wrong with it, where the reader knows better than the bytes do.
    """
    kind = "safetensors file" if path.suffix.lower() in MAPPED else "file of tensors"
    state, advice = (why, _AGAIN) if why else _told(path)
    return WeightsError(
        f"{field} must be a whole {kind}, got '{path.name}', which is {state}. {advice} or choose another."
    )


def _told(path: Path) -> tuple[str, str]:
    """What a file is, and what to do about it."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            begin = file.read(_GLANCE)
    except OSError:
        return "missing or can't be opened", _AGAIN
    by_mark = next(((state, advice) for mark, state, advice in _BEGINNINGS if begin.startswith(mark)), None)
    named_safetensors = path.suffix.lower() in MAPPED
    kinds = (
        (not begin, ("empty", _AGAIN)),
        (by_mark is not None, by_mark or ("", "")),
        (begin.lstrip().lower().startswith(_PAGES), _PAGE),
        (begin.startswith((_ZIP, PICKLED)) and named_safetensors and not is_safetensors(path), _RENAMED),
        (named_safetensors or is_safetensors(path), (_told_by_header(path, size, begin), _AGAIN)),
    )
    return next((told for is_so, told in kinds if is_so), ("cut off or not one at all", _AGAIN))


def _told_by_header(path: Path, size: int, begin: bytes) -> str:
    """What is wrong with a .safetensors file, by its own account of its length."""
    length = int.from_bytes(begin[:_LENGTH], "little")
    if begin[_LENGTH : _LENGTH + 1] != b"{" or length > HEADER_LIMIT:
        return "cut off or not one at all"
    if _LENGTH + length > size:
        return "cut off in its header"
    try:
        with path.open("rb") as file:
            file.seek(_LENGTH)
            entries = json.loads(file.read(length))
        ends = [entry["data_offsets"][1] for name, entry in entries.items() if name != "__metadata__"]
        whole = _LENGTH + length + max(ends, default=0)
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
        return "one whose header can't be read"
    if size < whole:
        return f"cut off: {size / _MEGABYTE:,.1f} of {whole / _MEGABYTE:,.1f} MB are there"
    return "one whose header doesn't fit what follows it"
