"""Run ffmpeg on frames and files, never leaving it running."""

import subprocess
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryFile
from typing import Self

import imageio_ffmpeg
import numpy as np
import numpy.typing as npt

from media.input_files import demuxer_of

Frames = npt.NDArray[np.uint8]

MAX_PIXELS = 4096 * 4096
"""Largest picture that is read."""

FIRST_VIDEO = "0:V:0"
"""The first stream that moves: a capital V leaves out covers, which are streams of video, too."""

_ERROR_CHARACTERS = 600
# The usual pipe holds 64 KiB, a twelfth of a frame of 512 x 512; the two sides then wait for each other all the time.
_PIPE_BYTES = 1 << 20


class FFmpegError(RuntimeError):
    """ffmpeg failed."""


def _command(*args: str) -> list[str]:
    return [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-hide_banner", "-nostats", "-v", "error", *args]


def safe_input(path: Path, *, decoder: str = "") -> tuple[str, ...]:
    """Build the arguments that open a file from anybody.

    A "video" may be a playlist that names other people's files. Whitelisting protocols does not stop that (they are
    all `file`); naming the demuxer does. `file:` keeps the name from being read as a URL.

    Args:
        decoder: For the pictures, in the place of ffmpeg's own choice.

    Raises:
        FFmpegError: It begins as no clip does.
    """
    demuxer = demuxer_of(path)
    if not demuxer:
        raise FFmpegError("the file is of no kind that is read")
    return (
        *("-protocol_whitelist", "file", "-format_whitelist", demuxer, "-f", demuxer),
        *("-max_pixels", str(MAX_PIXELS), *(("-c:V", decoder) if decoder else ())),
        *("-i", f"file:{path.resolve()}"),
    )


def raw_video(pixel_format: str, width: int, height: int, fps: Fraction) -> tuple[str, ...]:
    """Build the arguments that describe raw pictures on the next input."""
    size, rate = f"{width}x{height}", str(fps)
    return ("-f", "rawvideo", "-pixel_format", pixel_format, "-video_size", size, "-framerate", rate)


def run_ffmpeg(*args: str, folder: Path | None = None) -> subprocess.CompletedProcess[bytes]:
    """Run ffmpeg to its end and return its output.

    Args:
        args: Everything after the general options.
        folder: Working directory; with it, short relative names serve, whatever characters the real path has.

    Raises:
        FFmpegError: It failed.
    """
    done = subprocess.run(_command(*args), cwd=folder, capture_output=True, check=False)
    if done.returncode:
        raise _failure(done.returncode, done.stderr)
    return done


class FrameFeed:
    """ffmpeg process that reads raw frames, in constant memory.

    Its messages go to a file, not a pipe: a pipe that nobody reads would stop both sides once it is full.

    Args:
        folder: Working directory of the process; the output arguments name files in it.
        output_args: What follows the input: filters, codecs, file names.
        width, height: Size of the frames, pixels.
        fps: Exact frame rate.
        alpha: Whether they have a fourth channel.
    """

    def __init__(
        self, folder: Path, *output_args: str, width: int, height: int, fps: Fraction, alpha: bool = False
    ) -> None:
        self._messages = TemporaryFile()  # noqa: SIM115 - closed in _end
        source = raw_video("rgba" if alpha else "rgb24", width, height, fps)
        self._process = subprocess.Popen(
            _command("-y", *source, "-i", "pipe:0", *output_args),
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._messages,
            pipesize=_PIPE_BYTES,
        )

    def write(self, frames: Frames) -> None:
        """Write frames, returning when ffmpeg has taken them.

        They are uint8 [n, H, W, 3 or 4].

        Raises:
            FFmpegError: ffmpeg has stopped.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(np.ascontiguousarray(frames).data)
        except OSError as err:
            raise self._end() from err

    def finish(self) -> None:
        """Close the input and wait until the files are complete.

        Raises:
            FFmpegError: It failed.
        """
        failure = self._end()
        if self._process.returncode:
            raise failure

    def abort(self) -> None:
        """End ffmpeg at once; harmless when it has ended."""
        self._process.kill()
        self._end()

    def _end(self) -> FFmpegError:
        assert self._process.stdin is not None
        with suppress(OSError):  # it may be gone already; its exit status tells
            self._process.stdin.close()
        self._process.wait()
        if self._messages.closed:
            return _failure(self._process.returncode, b"")
        self._messages.seek(0)
        failure = _failure(self._process.returncode, self._messages.read())
        self._messages.close()
        return failure


class FrameReader:
    """Iterator over a file's frames, holding one; a context manager.

    Leaving the context ends ffmpeg.

    Args:
        path: The file, which may come from anybody.
        width, height: The size of its frames, as `probe` tells.
        max_frames: ffmpeg stops after so many.
        filters: What is done with the frames on their way; ends with RGB of that size. Empty for
            just that.
        seek_s: Where to begin, in seconds: at the first frame that is shown then or later.
        alpha: Whether frames are to have a fourth channel; without filters only.
        decoder: In the place of ffmpeg's own choice.
    """

    def __init__(
        self,
        path: Path,
        *,
        width: int,
        height: int,
        max_frames: int,
        filters: str = "",
        seek_s: Fraction = Fraction(0),
        alpha: bool = False,
        decoder: str = "",
    ) -> None:
        self._shape = (height, width, 4 if alpha else 3)
        self._messages = TemporaryFile()  # noqa: SIM115 - closed in __exit__
        pixels = "rgba" if alpha else "rgb24"
        to_rgb = f"scale={width}:{height}:flags=bicubic+accurate_rnd+full_chroma_int,format={pixels}"
        seek = ("-ss", f"{float(seek_s):.6f}") if seek_s else ()
        output = ("-map", FIRST_VIDEO, "-vf", filters or to_rgb, "-fps_mode", "passthrough", "-f", "rawvideo", "pipe:1")
        self._process = subprocess.Popen(
            _command(*seek, *safe_input(path, decoder=decoder), "-frames:v", str(max_frames), *output),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._messages,
            pipesize=_PIPE_BYTES,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._messages.close()

    def __iter__(self) -> Iterator[Frames]:
        """Yield uint8 [H, W, 3], or 4 with alpha.

        Raises:
            FFmpegError: The file cannot be decoded to its end.
        """
        assert self._process.stdout is not None
        num_bytes = int(np.prod(self._shape))
        while len(data := self._process.stdout.read(num_bytes)) == num_bytes:
            yield np.frombuffer(data, np.uint8).reshape(self._shape)
        self._process.wait()
        self._messages.seek(0)
        messages = self._messages.read()
        if data or messages or self._process.returncode:
            raise _failure(self._process.returncode, messages)


def _failure(returncode: int, messages: bytes) -> FFmpegError:
    text = messages.decode(errors="replace").strip()
    return FFmpegError(f"ffmpeg failed (exit status {returncode}): {text[-_ERROR_CHARACTERS:] or 'it said nothing'}")
