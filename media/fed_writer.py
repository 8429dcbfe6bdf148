"""Base class of writers that stream frames into ffmpeg."""

from media.ffmpeg import FrameFeed, Frames
from media.formats import ClipSpec


class FedWriter:
    """Streams frames into ffmpeg and counts them; subclasses add `finish`.

    Args:
        spec: What is known of the clip.
        output_args: As `FrameFeed` takes them; file names are those of files in the clip's folder.
    """

    def __init__(self, spec: ClipSpec, *output_args: str) -> None:
        self._spec = spec
        self._num_frames = 0
        self._feed = FrameFeed(
            spec.folder, *output_args, width=spec.width, height=spec.height, fps=spec.fps, alpha=spec.alpha
        )

    def write(self, frames: Frames) -> None:
        """Take frames, uint8 [n, H, W, channels]."""
        self._feed.write(frames)
        self._num_frames += len(frames)

    def abort(self) -> None:
        """End ffmpeg."""
        self._feed.abort()
