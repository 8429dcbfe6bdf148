"""What the page shows while a clip is made: a bar with stage, step and time left, and a preview picture.

Both are HTML: gradio's own bar disappears at the first value a handler yields, and a preview sent as an
image file costs a cached file and five times the time of one inside the page. A moving preview is a strip of its frames
that a style sheet moves through: a tenth of the time that an animated WebP takes (0.6 ms, eight frames of 128×128), at
rest where the visitor asks for less motion, and it goes on where the last one stood, not at its beginning.
"""

import base64
import html
import io
import math
import time
from collections.abc import Sequence

import numpy as np
from PIL import Image

from pipelines.events import Progress, Stage

STAGE_LABELS: dict[Stage, str] = {
    Stage.WAIT: "Waiting for a turn",
    Stage.PREPROCESS: "Looking at pictures and clips",
    Stage.LOAD: "Loading the model",
    Stage.ENCODE: "Reading the prompt",
    Stage.DENOISE: "Making the clip",
    Stage.DECODE: "Drawing the frames",
    Stage.WRITE: "Writing the files",
}
_PREVIEW_QUALITY = 85  # previews are small and shown large: blocks and colour bleeding would be seen
_FRAME_S = 0.15
_SECONDS_A_MINUTE = 60


def progress_html(progress: Progress, *, clip: str = "") -> str:
    """A bar with its stage, step and time left, which screen readers announce politely.

    Args:
        clip: Which clip of several it is, in words.
    """
    label = STAGE_LABELS[progress.stage]
    done = min(max(progress.step / progress.total, 0.0), 1.0) if progress.total > 0 else 0.0
    facts = [html.escape(text) for text in (clip, progress.note) if text]
    if progress.total > 1 and not progress.note:
        facts.append(f"{progress.step} of {progress.total}")
    if progress.eta_s is not None and math.isfinite(progress.eta_s):
        facts.append(f"about {duration_text(progress.eta_s)} left")
    return (
        '<div class="told" role="status" aria-live="polite">'
        f"<p><strong>{label}</strong><span>{' · '.join(facts)}</span></p>"
        f'<div class="bar" role="progressbar" aria-label="{label}" aria-valuemin="0" aria-valuemax="100" '
        f'aria-valuenow="{done * 100:.0f}"><div style="width:{done:.1%}"></div></div></div>'
    )


def message_html(text: str, *, notes: Sequence[str] = (), is_error: bool = False) -> str:
    """A line of plain text in the place of the bar, and perhaps a list below; errors are announced at once."""
    items = "".join(f"<li>{html.escape(note)}</li>" for note in notes)
    more = f"<ul>{items}</ul>" if items else ""
    role, live, kind = ("alert", "assertive", "told wrong") if is_error else ("status", "polite", "told")
    return f'<div class="{kind}" role="{role}" aria-live="{live}"><p>{html.escape(text)}</p>{more}</div>'


def preview_html(frames: np.ndarray) -> str:
    """The clip so far as a moving picture inside the page.

    Args:
        frames: uint8 [n, h, w, 3].
    """
    count, height, width, _ = frames.shape
    buffer = io.BytesIO()
    strip = Image.fromarray(frames.reshape(count * height, width, 3))
    strip.save(buffer, "JPEG", quality=_PREVIEW_QUALITY, subsampling=0)
    data = base64.b64encode(buffer.getvalue()).decode()
    lasts = count * _FRAME_S
    film = f"--frames:{count};--lasts:{lasts:.2f}s;--since:-{time.monotonic() % lasts:.2f}s"
    return (
        f'<div class="preview" style="--width:{width};--height:{height};{film}">'
        f'<img alt="Preview of the clip so far" src="data:image/jpeg;base64,{data}"></div>'
    )


def duration_text(seconds: float) -> str:
    """Seconds in words.

    Example:
        >>> duration_text(3.2), duration_text(75)
        ('3 s', '1 min 15 s')
    """
    whole = max(1, round(seconds))
    if whole < _SECONDS_A_MINUTE:
        return f"{whole} s"
    return f"{whole // _SECONDS_A_MINUTE} min {whole % _SECONDS_A_MINUTE} s"
