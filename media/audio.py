"""Add the sound of a source clip to a generated MP4."""

from fractions import Fraction
from pathlib import Path

from media.ffmpeg import run_ffmpeg, safe_input
from media.video import VideoReader
from media.video_listing import VideoListing

_COPIED = ("aac", "mp3")
_AAC = ("-c:a", "aac", "-b:a", "192k")


def add_audio(
    clip: Path, source: Path, target: Path, *, listing: VideoListing | None, start: int, num_frames: int, fps: Fraction
) -> bool:
    """Copy a clip, adding the sound of its part of the source.

    Pictures and recipe stay as they are.

    The sound plays at its own speed. It begins where the source's frame `start` does and ends with the clip, or
    where the source does. From the very beginning, sound that MP4 can hold is copied, to within a packet
    (about 20 ms) at the end; from anywhere else it is coded anew, because packets begin where they like.

    Args:
        clip: An MP4 that this app made.
        source: The source clip, which may come from anybody.
        target: Where the result goes; another file than `clip`.
        listing: The source's packets; None if it is no video.
        start: Frames of the source that were left out at its beginning.
        num_frames, fps: Of the clip.

    Returns:
        Whether there is sound; without, no file is written.

    Raises:
        FFmpegError: ffmpeg failed, for example because the disk is full.
    """
    if not (listing and listing.audio_codecs):
        return False
    video = VideoReader(source, listing)
    start_s = video.start_s + start / video.timing.fps
    whole = start_s == 0 and listing.audio_codecs[0] in _COPIED
    run_ffmpeg(
        *("-y", "-i", f"file:{clip.resolve()}"),
        *(() if whole else ("-ss", f"{float(start_s):.6f}")),
        *("-t", f"{float(num_frames / fps):.6f}", *safe_input(source)),
        *("-map", "0:v:0", "-map", "1:a:0", "-map_metadata", "0", "-map_chapters", "-1"),
        *("-c:v", "copy", *(("-c:a", "copy") if whole else _AAC)),
        *("-fflags", "+bitexact", "-movflags", "+faststart", "-f", "mp4", f"file:{target.resolve()}"),
    )
    return True
