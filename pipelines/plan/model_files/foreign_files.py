"""Identify files that aren't readable weights by their first bytes."""

import json
from pathlib import Path

from pipelines.plan.errors import WeightsError
from pipelines.plan.faults import Fault
from pipelines.plan.findings import Finding

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
        Finding("weights.lfs_pointer", "a pointer to a file in Git LFS, not the file itself"),
        "Download the file it stands for",
    ),
    (
        b"GGUF",
        Finding("weights.gguf", "a GGUF file of quantised weights, which is not read here"),
        _ELSE,
    ),
    (b"\x1f\x8b", Finding("weights.archive", "an archive ({kind:s})", {"kind": "gzip"}), "Unpack it"),
    (b"7z\xbc\xaf", Finding("weights.archive", "an archive ({kind:s})", {"kind": "7z"}), "Unpack it"),
    (b"Rar!", Finding("weights.archive", "an archive ({kind:s})", {"kind": "RAR"}), "Unpack it"),
    (b"\x89HDF", Finding("weights.hdf5", "an HDF5 file of another library"), _ELSE),
    (b"\x89PNG", Finding("weights.picture", "a picture"), "Choose a file of weights"),
    (b"\xff\xd8\xff", Finding("weights.picture", "a picture"), "Choose a file of weights"),
)
_ZIP = b"PK\x03\x04"
#: How pickles begin, those of Python's first protocols excepted.
PICKLED = b"\x80"
#: How names of files end that people have beside their weights, what those are, and what to do about them.
_ENDINGS = (
    ((".gguf", ".ggml"), Finding("weights.gguf_by_name", "a GGUF file of quantised weights"), _ELSE),
    ((".onnx", ".ort"), Finding("weights.onnx_by_name", "a network in ONNX, which other engines run"), _ELSE),
    (
        (".engine", ".trt", ".plan"),
        Finding("weights.tensorrt_by_name", "an engine of TensorRT, built for one card"),
        _ELSE,
    ),
    (
        (".mlmodel", ".mlpackage", ".mlmodelc"),
        Finding("weights.core_ml_by_name", "a network in Core ML, which Apple's engine runs"),
        _ELSE,
    ),
    (
        (".msgpack", ".h5", ".keras", ".tflite", ".pb"),
        Finding("weights.other_library_by_name", "of another library than PyTorch"),
        _ELSE,
    ),
    (
        (".pkl", ".pickle"),
        Finding("weights.plain_pickle_by_name", "a pickle that may not be one of PyTorch's"),
        "Rename it to .pt if it is a file of tensors",
    ),
    (
        (".zip", ".7z", ".rar", ".tar", ".gz", ".tgz", ".xz"),
        Finding("weights.archived_by_name", "an archive"),
        "Unpack it",
    ),
    (
        (".part", ".crdownload", ".download", ".aria2", ".incomplete", ".tmp"),
        Finding("weights.half_download_by_name", "a download without its end"),
        _AGAIN,
    ),
)
_PAGES = (b"<!doctype", b"<html", b"<?xml", b"<head")
_MISSING = Finding("weights.missing", "missing or can't be opened")
_EMPTY = Finding("weights.empty", "empty")
_NONE = Finding("weights.no_tensors", "cut off or not one at all")
_PAGE = (
    Finding("weights.web_page", "a web page, as a download behind a login gives"),
    "Log in where it is published and download it again",
)
_RENAMED = (
    Finding("weights.renamed", "a pickle or an archive under another name"),
    "Rename it to .ckpt if it is a checkpoint",
)


def is_safetensors(path: Path) -> bool:
    """Tell whether a file begins as .safetensors, whatever its name."""
    try:
        with path.open("rb") as file:
            begin = file.read(_LENGTH + 1)
    except OSError:
        return False
    return (
        len(begin) > _LENGTH and begin[_LENGTH:] == b"{" and int.from_bytes(begin[:_LENGTH], "little") <= HEADER_LIMIT
    )


def identify_by_ending(name: str) -> tuple[Finding, str] | None:
    """Identify a foreign file by its ending, with advice; None for weights.

    Example:
        >>> identify_by_ending("model.Q4_K.gguf")[1]
        'Choose the same model as .safetensors'
    """
    return next(((state, advice) for ends, state, advice in _ENDINGS if name.lower().endswith(ends)), None)


def unreadable(path: Path, field: str, why: Finding | None = None) -> WeightsError:
    """Build the error for an unreadable file, identified by its bytes.

    Args:
        path: The file; it may be missing.
        field: The request's field it was chosen by.
        why: What is wrong with it, behind "which is", where the reader knows better than the bytes do.
    """
    kind = "safetensors file" if path.suffix.lower() in MAPPED else "file of tensors"
    state, advice = (why, _AGAIN) if why else _identify(path)
    return WeightsError(
        Fault(
            code=state.code,
            field=field,
            rule=f"be a whole {kind}",
            got=path.name,
            seen=f"'{{got:s}}', which is {state.words}",
            fix=f"{advice} or choose another",
            values=state.values,
        )
    )


def _identify(path: Path) -> tuple[Finding, str]:
    """Identify a file, with advice."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            begin = file.read(_GLANCE)
    except OSError:
        return _MISSING, _AGAIN
    by_mark = next(((state, advice) for mark, state, advice in _BEGINNINGS if begin.startswith(mark)), None)
    named_safetensors = path.suffix.lower() in MAPPED
    kinds = (
        (not begin, (_EMPTY, _AGAIN)),
        (by_mark is not None, by_mark or (_NONE, _AGAIN)),
        (begin.lstrip().lower().startswith(_PAGES), _PAGE),
        (begin.startswith((_ZIP, PICKLED)) and named_safetensors and not is_safetensors(path), _RENAMED),
        (named_safetensors or is_safetensors(path), (_inspect_header(path, size, begin), _AGAIN)),
    )
    return next((verdict for is_so, verdict in kinds if is_so), (_NONE, _AGAIN))


def _inspect_header(path: Path, size: int, begin: bytes) -> Finding:
    """Explain a .safetensors file's damage by its own header."""
    length = int.from_bytes(begin[:_LENGTH], "little")
    if begin[_LENGTH : _LENGTH + 1] != b"{" or length > HEADER_LIMIT:
        return _NONE
    if _LENGTH + length > size:
        return Finding("weights.truncated_header", "cut off in its header")
    try:
        with path.open("rb") as file:
            file.seek(_LENGTH)
            entries = json.loads(file.read(length))
        ends = [entry["data_offsets"][1] for name, entry in entries.items() if name != "__metadata__"]
        whole = _LENGTH + length + max(ends, default=0)
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
        return Finding("weights.header_unreadable", "one whose header can't be read")
    if size < whole:
        megabytes = {"there": size / _MEGABYTE, "whole": whole / _MEGABYTE}
        return Finding("weights.truncated", "cut off: {there:,.1f} of {whole:,.1f} MB are there", megabytes)
    return Finding("weights.header_misfit", "one whose header doesn't fit what follows it")
