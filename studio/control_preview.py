"""Preview the frames that a control unit follows, as a small MP4."""

import secrets
from collections.abc import Callable, Generator
from pathlib import Path

from controlnet.control_clip import CHUNK
from pipelines.plan.choices import OutputFormat
from pipelines.plan.events import Progress, Stage
from pipelines.plan.notes import Note
from pipelines.plan.request import GenerationRequest
from studio.request_inputs import preview_control

MakePreview = Callable[[GenerationRequest, Path], Generator[Progress | Path, None, None]]

_WRITING = Note("progress.writing_preview", "Writing the preview")


def preview_clip(request: GenerationRequest, folder: Path) -> Generator[Progress | Path, None, None]:
    """Preprocess the first control unit's clip and write it as an MP4.

    Yields progress, then the file. Closing the iterator cancels, and leaves no file behind.

    Args:
        request: Its size, rate, seed, source clip and first control unit count.
        folder: An existing folder that the caller owns.

    Raises:
        UserError: The unit has nothing to follow, or its preprocessor can't be used or had.
    """
    from media.write import check_output, open_clip

    formats = (OutputFormat.MP4,)
    check_output(formats, request.fps)
    clip = yield from preview_control(request)
    writer = open_clip(
        folder,
        stem=f"control-{secrets.token_hex(4)}",
        formats=formats,
        fps=request.fps,
        width=clip.width,
        height=clip.height,
        recipe=request.to_json(),
    )
    with writer:
        for start in range(0, clip.num_frames, CHUNK):
            frames = range(start, min(start + CHUNK, clip.num_frames))
            writer.write(clip.frames(frames))
            yield Progress(
                Stage.PREPROCESS,
                frames.stop,
                clip.num_frames,
                note=_WRITING,
            )
    yield writer.files[0]
