"""Progress bar and preview picture while a clip is generated.

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

from pipelines.plan.events import Progress
from ui.words.speech import say, say_note, word
from ui.words.tables import ENGLISH

_PREVIEW_QUALITY = 85  # previews are small and shown large: blocks and colour bleeding would be seen
_FRAME_S = 0.15
_SECONDS_A_MINUTE = 60


def progress_html(progress: Progress, *, clip: str = "", language: str = ENGLISH) -> str:
    """Render a bar with stage, step and time left.

    Args:
        clip: Which clip of several it is, in words.
    """
    label = html.escape(say(language, f"told.stage.{progress.stage}"))
    facts = [html.escape(say_note(language, text)) for text in (clip, progress.note) if text]
    if progress.total > 1 and not progress.note:
        facts.append(say(language, "told.of", step=progress.step, total=progress.total))
    if progress.eta_s is not None and math.isfinite(progress.eta_s):
        facts.append(say(language, "told.left", time=duration_text(progress.eta_s, language)))
    return (
        '<div class="told" role="status" aria-live="polite">'
        f"<p><strong>{label}</strong><span>{' · '.join(facts)}</span></p>"
        f'<div class="bar" role="progressbar" aria-label="{label}" aria-valuemin="0" aria-valuemax="100" '
        f'aria-valuenow="{progress.fraction * 100:.0f}"><div style="width:{progress.fraction:.1%}"></div></div></div>'
    )


def message_html(text: str, *, notes: Sequence[str] = (), is_error: bool = False) -> str:
    """Render a line of plain text, and perhaps a list below."""
    items = "".join(f"<li>{html.escape(note)}</li>" for note in notes)
    note_list = f"<ul>{items}</ul>" if items else ""
    role, live, kind = ("alert", "assertive", "told wrong") if is_error else ("status", "polite", "told")
    return f'<div class="{kind}" role="{role}" aria-live="{live}"><p>{html.escape(text)}</p>{note_list}</div>'


def still_waits(status: str, language: str) -> bool:
    """Tell whether a status says that its event has not begun."""
    return say(language, "told.waiting") in status


def word_html(key: str) -> str:
    """Render a line of the page's words, localised by the browser."""
    return f'<div class="told" role="status" aria-live="polite"><p>{word(key)}</p></div>'


def preview_html(frames: np.ndarray, language: str = ENGLISH) -> str:
    """Render the clip so far as a moving picture.

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
    alt = html.escape(say(language, "told.preview"))
    return (
        f'<div class="preview" style="--width:{width};--height:{height};{film}">'
        f'<img alt="{alt}" src="data:image/jpeg;base64,{data}"></div>'
    )


def duration_text(seconds: float, language: str = ENGLISH) -> str:
    """Format seconds in words.

    Example:
        >>> duration_text(3.2), duration_text(75)
        ('3 s', '1 min 15 s')
    """
    whole = max(1, round(seconds))
    if whole < _SECONDS_A_MINUTE:
        return say(language, "told.seconds", seconds=whole)
    return say(language, "told.minutes", minutes=whole // _SECONDS_A_MINUTE, seconds=whole % _SECONDS_A_MINUTE)
