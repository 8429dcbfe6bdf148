"""Losslessly coded frames on disk, to be encoded once more."""

from collections.abc import Iterator

from media.fed_writer import FedWriter
from media.ffmpeg import FrameReader, Frames
from media.formats import ClipSpec


def without_loss(*, alpha: bool) -> tuple[str, ...]:
    """Build ffmpeg's arguments for the fastest lossless encoder.

    x264's knows no alpha.
    """
    if alpha:
        return ("-c:v", "ffv1", "-pix_fmt", "bgra", "-threads", "2")
    return ("-c:v", "libx264rgb", "-qp", "0", "-preset", "ultrafast", "-threads", "2")


class StoredFrames(FedWriter):
    """Writer whose frames can be read back any number of times."""

    def __init__(self, spec: ClipSpec) -> None:
        self._path = spec.folder / "frames.mkv"
        super().__init__(
            spec,
            *(*without_loss(alpha=spec.alpha), "-f", "matroska", self._path.name),
        )

    def finish(self) -> None:
        """Complete the file."""
        self._feed.finish()

    def __iter__(self) -> Iterator[Frames]:
        """Yield each frame, uint8 [H, W, channels]."""
        spec = self._spec
        with FrameReader(
            self._path, width=spec.width, height=spec.height, max_frames=self._num_frames, alpha=spec.alpha
        ) as frames:
            yield from frames
