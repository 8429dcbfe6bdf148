"""Store LoRA files dropped on the page, briefly and under unguessable names."""

import re
import shutil
from pathlib import Path
from uuid import uuid4

from pipelines.engine.weights.digests import sha256_of
from studio.engine_start import import_engine

_MOST_BYTES = 4 << 30  # of all dropped files together; the oldest give way
_DIGITS = 12  # of the content's sha256: who has the name has the file
_MOST_LETTERS = 40


def keep_dropped(path: Path, folder: Path) -> str:
    """Check a dropped file and store it; return its name for tags.

    The same file has the same name every time. Lists and error texts name dropped files to nobody.

    Args:
        path: The file.
        folder: `dropped_dir` of the studio's settings; made if missing.

    Raises:
        WeightsError: It is no LoRA or textual inversion, or damaged, or unsafe.
    """
    import_engine()  # brings torch, which the page must not wait for
    from pipelines.engine.lora.files import read_lora

    read_lora(path)
    stem = re.sub(r"[^\w.-]+", "_", path.stem)[:_MOST_LETTERS]
    name = f"{stem}-{sha256_of(path)[:_DIGITS]}"
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"{name}.{uuid4().hex}"
    try:
        shutil.copyfile(path, part)  # under no name of weights, so that nobody reads half of it
        part.replace(folder / (name + path.suffix))
    finally:
        part.unlink(missing_ok=True)
    _make_room(folder)
    return name


def _make_room(folder: Path) -> None:
    total = 0
    for path in sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime_ns, reverse=True):
        total += path.stat().st_size
        if total > _MOST_BYTES:
            path.unlink()
