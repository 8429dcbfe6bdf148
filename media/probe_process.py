"""Ask the process that opens untrusted videos, `probe_worker.py`."""

import json
import os
import subprocess
import sys
from pathlib import Path
from threading import Timer

from media.ffmpeg import FFmpegError
from media.input_files import demuxer_of

READ_TIMEOUT_S = 60

_COMMAND = [sys.executable, "-m", "media.probe_worker"]
_MAX_FILES = 200
_MAX_ANSWER = 64 << 20
"""Bytes; those of 200,000 frames are 3 MB."""


class ProbeError(FFmpegError):
    """Video that cannot be read.

    Args:
        code: Of the fault.
        got: What is in the place of what is read, where the code does not say it.
    """

    def __init__(self, code: str = "clip.unplayable", got: str = "") -> None:
        super().__init__(code)
        self.code, self.got = code, got


class _Worker:
    def __init__(self) -> None:
        root = Path(__file__).parents[1]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(_COMMAND, cwd=root, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)
        self._owner = os.getpid()
        self._num_files = 0

    def is_usable(self) -> bool:
        """Whether it runs, has not read too many files, and is ours.

        One that a fork shares with its parent would mix up their answers.
        """
        return self._owner == os.getpid() and self._num_files < _MAX_FILES and self._process.poll() is None

    def ask(self, question: bytes, timeout_s: float) -> bytes:
        """Return the answer, without line feed if the process died."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._num_files += 1
        too_late = Timer(timeout_s, self._process.kill)
        too_late.start()
        try:
            self._process.stdin.write(question + b"\n")
            self._process.stdin.flush()
            return self._process.stdout.readline(_MAX_ANSWER)
        except OSError:
            return b""
        finally:
            too_late.cancel()

    def close(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.communicate()


_IDLE: list[_Worker] = []


def ask_worker(path: Path, *, timeout_s: float = READ_TIMEOUT_S, **question: object) -> object:
    """Have a video from anybody probed by another process.

    Args:
        path: The file.
        timeout_s: After so many seconds the process is killed.
        question: The arguments of `probe_worker.list_video`; or `tags`, for `read_tags`.

    Returns:
        What that returns.

    Raises:
        ProbeError: It is no video or cannot be read, or reading it crashed or took too long.
    """
    demuxer = demuxer_of(path)
    if not demuxer:
        raise ProbeError()
    try:
        worker = _IDLE.pop()
    except IndexError:  # none, or another thread has it
        worker = _Worker()
    if not worker.is_usable():
        worker = _Worker()
    question |= {"path": str(path.resolve()), "demuxer": demuxer}
    answer = worker.ask(json.dumps(question).encode(), timeout_s)
    is_whole = answer.endswith(b"\n")
    if is_whole and worker.is_usable() and not _IDLE:
        _IDLE.append(worker)
    else:
        worker.close()
    reading = json.loads(answer) if is_whole else {"refused": ()}
    if "refused" in reading:
        raise ProbeError(*reading["refused"])
    return reading["read"]
