"""Frames on the disk without loss, about a third of their raw size, to be encoded once more."""

from collections.abc import Iterator

from media.ffmpeg import FrameFeed, FrameReader, Frames
from media.formats import ClipSpec


def without_loss(*, alpha: bool) -> tuple[str, ...]:
    """ffmpeg's arguments for the fastest encoder that keeps every bit; x264's knows no alpha."""
    if alpha:
        return ("-c:v", "ffv1", "-pix_fmt", "bgra", "-threads", "2")
    return ("-c:v", "libx264rgb", "-qp", "0", "-preset", "ultrafast", "-threads", "2")


class StoredFrames:
    """Takes frames as a writer does; once it is finished, they can be read as often as needed."""

    def __init__(self, spec: ClipSpec) -> None:
        self._spec = spec
        self._num_frames = 0
        self._path = spec.folder / "frames.mkv"
        self._feed = FrameFeed(
            spec.folder,
            *(*without_loss(alpha=spec.alpha), "-f", "matroska", self._path.name),
            width=spec.width,
            height=spec.height,
            fps=spec.fps,
            alpha=spec.alpha,
        )

    def write(self, frames: Frames) -> None:
        """Take frames, uint8 [n, H, W, channels]."""
        self._feed.write(frames)
        self._num_frames += len(frames)

    def finish(self) -> None:
        """Complete the file."""
        self._feed.finish()

    def abort(self) -> None:
        """End ffmpeg."""
        self._feed.abort()

    def __iter__(self) -> Iterator[Frames]:
        """Yield each frame, uint8 [H, W, channels]."""
        spec = self._spec
        with FrameReader(
            self._path, width=spec.width, height=spec.height, max_frames=self._num_frames, alpha=spec.alpha
        ) as frames:
            yield from frames
