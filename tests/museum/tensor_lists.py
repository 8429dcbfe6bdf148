"""Published weight files as lists of their tensors: names, types and shapes, without the weights."""

import json
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from math import prod
from pathlib import Path

import torch

_FOLDER = Path(__file__).parent / "tensors"
DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


@dataclass(frozen=True)
class TensorList:
    """The tensors of one published file.

    Attributes:
        facts: What is known of the file beside them: `file`, `repo`, `bytes`, `sha256`, `source`, …
        tensors: Type (safetensors' names) and shape of each, by its published name, in the file's order.
    """

    facts: Mapping[str, str]
    tensors: Mapping[str, tuple[str, tuple[int, ...]]]

    @property
    def data_bytes(self) -> int:
        """Bytes of all tensors, without the file's header."""
        return sum(DTYPES[dtype].itemsize * prod(shape) for dtype, shape in self.tensors.values())

    def only(self, pattern: str) -> "TensorList":
        """The tensors whose names a pattern matches from the beginning, without the facts of the whole file."""
        return TensorList({}, {name: what for name, what in self.tensors.items() if re.match(pattern, name)})

    def without(self, pattern: str) -> "TensorList":
        """The tensors whose names a pattern does not match from the beginning, without the facts of the whole file."""
        return self.only(rf"(?!{pattern})")

    def renamed(self, pattern: str, replacement: str) -> "TensorList":
        """The same tensors, with a pattern in their names replaced."""
        return replace(self, tensors={re.sub(pattern, replacement, key): what for key, what in self.tensors.items()})

    def typed(self, dtype: str) -> "TensorList":
        """The same tensors with another type of floating-point numbers."""
        tensors = {
            name: (dtype if number_type.startswith(("F", "BF")) else number_type, shape)
            for name, (number_type, shape) in self.tensors.items()
        }
        return replace(self, tensors=tensors)

    def with_tensors(self, tensors: Mapping[str, tuple[str, tuple[int, ...]]]) -> "TensorList":
        """The same tensors and others, or others in the place of those of the same names."""
        return replace(self, tensors={**self.tensors, **tensors})

    def narrow(self, widths: Mapping[int, int], *, seed: int = 0) -> dict[str, torch.Tensor]:
        """Make small random tensors under the published names.

        Args:
            widths: Small sizes by published ones; sizes that aren't in it stay.
        """
        generator = torch.Generator().manual_seed(seed)
        narrowed = {}
        for name, (dtype, shape) in self.tensors.items():
            small = tuple(widths.get(size, size) for size in shape)
            random = torch.randn(small, generator=generator) / max(1, prod(small[1:])) ** 0.5
            narrowed[name] = random.to(DTYPES[dtype])
        return narrowed

    def write_zeros(self, path: Path, *, metadata: Mapping[str, str] | None = None) -> Path:
        """Write the file at full size as safetensors of zeros; sparse, so that it takes no room on most disks."""
        header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
        end = 0
        for name, (dtype, shape) in self.tensors.items():
            begin, end = end, end + DTYPES[dtype].itemsize * prod(shape)
            header[name] = {"dtype": dtype, "shape": shape, "data_offsets": (begin, end)}
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        with path.open("wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            file.truncate(8 + len(text) + end)
        return path


@cache
def tensor_list(name: str) -> TensorList:
    """Read the list `tensors/<name>.txt`.

    It begins with lines `# fact: value`; then a tensor a line, `name type shape`, the shape as `320x4x3x3` or `-`.
    """
    facts, tensors = {}, {}
    for line in (_FOLDER / f"{name}.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            fact, _, value = line.removeprefix("#").partition(":")
            facts[fact.strip()] = value.strip()
        elif line:
            tensor, dtype, shape = line.rsplit(maxsplit=2)
            tensors[tensor] = (dtype, () if shape == "-" else tuple(map(int, shape.split("x"))))
    return TensorList(facts, tensors)


def write_list(name: str, listed: TensorList) -> Path:
    """Write `tensors/<name>.txt`, from which `tensor_list` reads the same."""
    facts = [f"# {fact}: {value}" for fact, value in listed.facts.items()]
    tensors = [f"{key} {dtype} {'x'.join(map(str, shape)) or '-'}" for key, (dtype, shape) in listed.tensors.items()]
    path = _FOLDER / f"{name}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*facts, *tensors, ""]), encoding="utf-8")
    return path
