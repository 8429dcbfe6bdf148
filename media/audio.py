"""Add the sound of a source clip to a generated MP4."""

import re
from fractions import Fraction
from pathlib import Path

from media.ffmpeg import READ_TIMEOUT_S, run_ffmpeg, safe_input
from media.input_files import InputKind, sniff
from media.video import VideoReader

_COPIED = ("aac", "mp3")
_AAC = ("-c:a", "aac", "-b:a", "192k")


def add_audio(clip: Path, source: Path, target: Path, *, start: int, num_frames: int, fps: Fraction) -> bool:
    """Copy a clip, adding the sound of its part of the source.

    Pictures and recipe stay as they are.

    The sound plays at its own speed. It begins where the source's frame `start` does and ends with the clip, or
    where the source does. From the very beginning, sound that MP4 can hold is copied, to within a packet
    (about 20 ms) at the end; from anywhere else it is coded anew, because packets begin where they like.

    Args:
        clip: An MP4 that this app made.
        source: The source clip, which may come from anybody.
        target: Where the result goes; another file than `clip`.
        start: Frames of the source that were left out at its beginning.
        num_frames, fps: Of the clip.

    Returns:
        Whether there is sound; without, no file is written.

    Raises:
        BadInputError: The source is no playable video.
        FFmpegError: ffmpeg failed, for example because the disk is full.
    """
    if sniff(source) is not InputKind.VIDEO:
        return False
    video = VideoReader(source)
    if not video.has_audio:
        return False
    start_s = video.start_s + start / video.timing.fps
    whole = start_s == 0 and _codec(source) in _COPIED
    run_ffmpeg(
        *("-y", "-i", f"file:{clip.resolve()}"),
        *(() if whole else ("-ss", f"{float(start_s):.6f}")),
        *("-t", f"{float(num_frames / fps):.6f}", *safe_input(source)),
        *("-map", "0:v:0", "-map", "1:a:0", "-map_metadata", "0", "-map_chapters", "-1"),
        *("-c:v", "copy", *(("-c:a", "copy") if whole else _AAC)),
        *("-fflags", "+bitexact", "-movflags", "+faststart", "-f", "mp4", f"file:{target.resolve()}"),
    )
    return True


def _codec(source: Path) -> str:
    """Read the first audio codec from ffmpeg's list of packets."""
    done = run_ffmpeg(
        *safe_input(source),
        *("-map", "0:a:0", "-c", "copy", "-frames:a", "1", "-f", "framecrc", "pipe:1"),
        timeout_s=READ_TIMEOUT_S,
    )
    codec = re.search(rb"^#codec_id 0: (\w+)", done.stdout, re.MULTILINE)
    return codec[1].decode() if codec else ""
