"""Weights files of a component: whole or sharded, full or half precision.

Publishers name them `model.safetensors`, `model.fp16.safetensors`, `model.safetensors.index.json` with its shards, and
the same as pickles; for diffusers' own networks `diffusion_pytorch_model` stands in the place of `model`.
"""

import json
from collections.abc import Iterator
from pathlib import Path

#: After the name: plain, in half precision, and as training left it, without the averages that draw better.
_FULL_FIRST, _HALF_FIRST = ("", ".fp16", ".non_ema"), (".fp16", "", ".non_ema")
_PICKLED_STEMS = {"model": "pytorch_model"}
NETWORK, TEXT = "diffusion_pytorch_model", "model"


def forms(stem: str, *, half: bool) -> Iterator[tuple[str, ...]]:
    """Yield names to look for, best first; a tuple's names are equal.

    Args:
        stem: `NETWORK` or `TEXT`.
        half: The weights are computed with in half precision, so that half is enough.
    """
    variants = _HALF_FIRST if half else _FULL_FIRST
    for variant in variants:
        yield f"{stem}{variant}.safetensors", f"{stem}.safetensors.index{variant}.json"
    for variant in variants:
        yield (f"{_PICKLED_STEMS.get(stem, stem)}{variant}.bin",)


def weight_files(folder: Path, stem: str, *, half: bool = False) -> tuple[Path, ...]:
    """List the files of the best form present, several if sharded.

    Shards are named whether they are there or not.
    """
    for names in forms(stem, half=half):
        for name in names:
            if (folder / name).is_file():
                return shards(folder / name) if name.endswith(".json") else (folder / name,)
    return ()


def shards(index: Path) -> tuple[Path, ...]:
    """List the files an index names; the index itself if unreadable."""
    try:
        names = sorted(set(json.loads(index.read_text("utf-8"))["weight_map"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return (index,)
    if not names or any(not isinstance(name, str) or Path(name).name != name for name in names):
        return (index,)
    return tuple(index.parent / name for name in names)
