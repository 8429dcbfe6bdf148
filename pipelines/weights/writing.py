"""Tensors into a .safetensors file, one after the other."""

import json
import struct
from collections.abc import Mapping
from pathlib import Path

import torch

_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
_ALIGNMENT = 8  # bytes, by which the format's header ends


def write_safetensors(tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    """Write a file of tensors with one of them in memory at a time.

    The library's own function turns all of them into bytes first, and knows no tensors that share their memory.

    Raises:
        OSError: The disk is full or can't be written.
    """
    header: dict[str, object] = {}
    end = 0
    stored = {name: tensor for name, tensor in tensors.items() if tensor.dtype in _NAMES}
    for name, tensor in stored.items():
        begin, end = end, end + tensor.nbytes
        header[name] = {"dtype": _NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor in stored.values():
            file.write(tensor.contiguous().flatten().view(torch.uint8).numpy().data if tensor.numel() else b"")
