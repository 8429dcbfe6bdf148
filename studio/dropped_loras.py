"""Store LoRA files dropped on the page, briefly and under unguessable names."""

import os
import re
import shutil
from pathlib import Path
from uuid import uuid4

from pipelines.engine.weights.digests import sha256_of
from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.faults import Fault
from pipelines.plan.settings import DROPPED_DIR
from studio.engine_start import import_engine

_MOST_BYTES = 4 << 30  # of all dropped files together; the oldest give way
_DIGITS = 12  # of the content's sha256: who has the name has the file
_MOST_LETTERS = 40


def can_keep() -> bool:
    """Whether the server has a folder for dropped files."""
    return bool(os.environ.get(DROPPED_DIR))


def keep_dropped(path: Path) -> str:
    """Check a dropped file and store it; return its name for tags.

    The same file has the same name every time. Lists and error texts name dropped files to nobody.

    Raises:
        InvalidRequestError: This server keeps no dropped files.
        WeightsError: It is no LoRA or textual inversion, or damaged, or unsafe.
    """
    import_engine()  # brings torch, which the page must not wait for
    from pipelines.engine.lora.files import read_lora

    if not can_keep():
        rule = "be in this server's folder of models"
        raise InvalidRequestError(Fault("lora.dropped", "lora", rule, "a dropped file", "Choose another"))
    read_lora(path)
    stem = re.sub(r"[^\w.-]+", "_", path.stem)[:_MOST_LETTERS]
    name = f"{stem}-{sha256_of(path)[:_DIGITS]}"
    folder = Path(os.environ[DROPPED_DIR])
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
