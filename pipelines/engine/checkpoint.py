"""Checkpoints of runs on disk, to resume after the last finished step.

One file a run, named by a digest of all that decides its frames: another request, other weights or another
number type never take it up. It is written beside, brought to the disk and renamed, so whenever the process
or the machine stops, what is found is whole. It opens with the sha256 of the rest; what differs from that is
left aside, and the tensors behind it are read with `weights_only`, which runs no code.
"""

import hashlib
import io
import json
import os
import pickle
import re
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import diffusers
import torch

from pipelines.engine.denoise import DenoiseState
from pipelines.plan.request import GenerationRequest

#: Saving may take this share of the time, else a step is not kept. A state of 16 frames of 512×512 pixels is
#: 1 MB and took 22 ms on two busy cores, where a step takes minutes: only of clips of seconds are steps left out.
SAVE_SHARE = 0.02
#: What nobody has taken up again for so long is removed.
KEPT_DAYS = 7
#: Of what was left by runs that never ended, so many stay; the newest.
MOST_KEPT = 32

_FORMAT = 3  # raised when what is kept, or what a step computes, changes
_DIGEST_BYTES = 32
_DAY_S = 24 * 60 * 60
_NAME = re.compile(r"[0-9a-f]{64}\.(checkpoint|\d+-\d+\.part)")
_UNREADABLE = (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, TypeError, AttributeError)


def run_key(request: GenerationRequest, *, weights: Mapping[str, str], device: torch.device, dtype: torch.dtype) -> str:
    """Digest everything that decides a run's frames, 64 hex digits.

    Args:
        weights: All that was read for it -> sha256.
        device, dtype: What the UNet computes on and in.
    """
    deciding = {
        "format": _FORMAT,
        "request": request.to_json(),
        "weights": dict(weights),
        "computed": [device.type, str(dtype), torch.get_num_threads(), torch.__version__, diffusers.__version__],
    }
    return hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()


class Checkpoint:
    """Checkpoint of one run; without a folder all its calls do nothing.

    Args:
        folder: The operator's folder; made when first needed. Several processes may share it.
        key: The run, as `run_key` tells it.

    Attributes:
        warnings: What went wrong with keeping it, in words for people.
    """

    def __init__(self, folder: Path | None, key: str) -> None:
        self.warnings: list[str] = []
        self._path = folder / f"{key}.checkpoint" if folder else None
        self._started = time.monotonic()
        self._spent = 0.0
        self._last: DenoiseState | None = None

    def load(self) -> DenoiseState | None:
        """Load this run's last state, or None; remove old leftovers first."""
        if not self._path:
            return None
        try:
            _sweep(self._path.parent)
            return _unpack(self._path.read_bytes(), self._path.name)
        except FileNotFoundError:
            return None
        except (OSError, *_UNREADABLE):
            self.warnings.append("What was kept of an interrupted run is damaged; the clip is made from the start.")
            return None

    def save(self, state: DenoiseState) -> None:
        """Replace the last state, unless that exceeds saving's share of the time."""
        if not self._path:
            return
        self._last = state
        if self._spent <= SAVE_SHARE * (time.monotonic() - self._started):
            self.keep_last()

    def keep_last(self) -> None:
        """Write the last state given to `save`, unless it is on disk."""
        state, self._last = self._last, None
        if not self._path or not state:
            return
        start = time.monotonic()
        try:
            _replace(self._path, _pack(state, self._path.name))
        except OSError as err:  # a full disk is no reason to stop
            self.warnings.append(f"The run could not be kept on disk ({err.strerror}); interrupted, it starts anew.")
            self._path = None
        self._spent += time.monotonic() - start

    def remove(self) -> None:
        """Remove a finished run's checkpoint, with leftovers of killed processes."""
        if not self._path:
            return
        with suppress(OSError):
            for path in self._path.parent.glob(f"{self._path.stem}.*"):
                path.unlink(missing_ok=True)


def _pack(state: DenoiseState, name: str) -> bytes:
    payload = io.BytesIO()
    torch.save(state.to_dict(), payload)
    return _digest(payload.getbuffer(), name) + payload.getbuffer()


def _unpack(data: bytes, name: str) -> DenoiseState:
    digest, payload = data[:_DIGEST_BYTES], memoryview(data)[_DIGEST_BYTES:]
    if _digest(payload, name) != digest:
        raise ValueError("not what was written under this name")
    return DenoiseState.from_dict(torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True))


def _digest(payload: memoryview, name: str) -> bytes:
    """Digest name and payload, so that another run's file is not accepted."""
    digest = hashlib.sha256(name.encode())
    digest.update(payload)
    return digest.digest()


def _replace(path: Path, data: bytes) -> None:
    """Replace a file atomically, even if the power fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}-{threading.get_ident()}.part")
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
    if os.name == "posix":  # the new name is in the folder, which must reach the disk too
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _sweep(folder: Path) -> None:
    """Remove checkpoints unused for days or beyond `MOST_KEPT`, and no other files."""
    checkpoints = []
    for path in folder.iterdir():
        if _NAME.fullmatch(path.name):
            with suppress(FileNotFoundError):  # another process has just finished with it
                checkpoints.append((path.stat().st_mtime, path))
    newest_first = sorted(checkpoints, reverse=True)
    too_old = time.time() - KEPT_DAYS * _DAY_S
    for rank, (changed, path) in enumerate(newest_first):
        if rank >= MOST_KEPT or changed < too_old:
            path.unlink(missing_ok=True)
