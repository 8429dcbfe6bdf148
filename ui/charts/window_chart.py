"""Chart of context windows and the weights of their frames.

Drawn from the engine's own plan. Bars are SVG in the text's and the accent's colour, words are HTML, so that
they keep their size and follow the page's theme.
"""

import html
from collections.abc import Mapping, Sequence
from itertools import groupby, pairwise

from pipelines.plan.context import Window, plan_windows
from pipelines.plan.request import GenerationRequest, fields_affecting
from ui.parts.page_request import PageRequest
from ui.parts.progress import message_html
from ui.words.refusals import page_words
from ui.words.speech import say
from ui.words.tables import ENGLISH

WINDOW_FIELDS = fields_affecting("windows")
"""The fields that decide the windows."""

STEPS_DRAWN = 3
MOST_FRAMES = 128  # beyond it a frame is narrower than 4 pixels; of a longer clip the beginning is drawn
MOST_WINDOWS = 16  # a step; more are counted
MOST_LISTED = 6

_BAR, _PITCH = 0.8, 1.0
_FAINTEST = 0.12  # a frame that goes along without counting is seen all the same


def windows_html(parsed: PageRequest, language: str = ENGLISH) -> str:
    """Render the chart, or the broken rule."""
    if err := parsed.fault_in(WINDOW_FIELDS):
        return message_html(err.in_words(page_words(language)), is_error=True)
    return draw_windows(parsed.request, language)


def draw_windows(request: GenerationRequest, language: str = ENGLISH) -> str:
    """Draw the windows of the first steps, equal steps once.

    Example:
        >>> "together" in draw_windows(GenerationRequest.build(num_frames=16, seed=0))
        True
    """
    steps = range(min(STEPS_DRAWN, request.num_inference_steps))
    plans = [(step, plan_windows(request, step)) for step in steps]
    steps_html = []
    for windows, same in groupby(plans, key=lambda plan: plan[1]):
        numbers = [step + 1 for step, _ in same]
        steps_html.append(_draw_step(request, numbers, windows, language))
    last = min(request.num_frames, MOST_FRAMES) - 1
    first_and_last = "".join(f"<span>{say(language, 'told.windows.frame', frame=frame)}</span>" for frame in (0, last))
    ends = f"<p>{first_and_last}</p>" if last else ""
    caption = _caption(request, language)
    return f'<figure class="windows"><figcaption>{caption}</figcaption>{"".join(steps_html)}{ends}</figure>'


def _caption(request: GenerationRequest, language: str) -> str:
    frames, length = request.num_frames, request.context_length
    if frames <= length:
        sentences = [say(language, "told.windows.fits")]
        return " ".join(sentences + ([say(language, "told.windows.back")] if request.frames_played_back else []))
    sentences = [say(language, "told.windows.row")]
    if frames > MOST_FRAMES:
        sentences.append(say(language, "told.windows.part", frames=frames, drawn=MOST_FRAMES))
    return " ".join(sentences)


def _draw_step(request: GenerationRequest, numbers: Sequence[int], windows: Sequence[Window], language: str) -> str:
    columns = min(request.num_frames, MOST_FRAMES)
    in_sight = [window for window in windows if any(frame < columns for frame in window.frame_indices)]
    drawn_windows = in_sight[:MOST_WINDOWS]
    title = say(language, "told.windows.step", step=numbers[0])
    if len(numbers) > 1:
        title = say(language, "told.windows.steps", first=numbers[0], last=numbers[-1])
    count = say(language, f"told.windows.{'one' if len(windows) == 1 else 'many'}", count=len(windows))
    if len(drawn_windows) < len(in_sight):
        count += f", {say(language, 'told.windows.drawn', drawn=len(drawn_windows))}"
    bars = "".join(_bars(window, row, columns) for row, window in enumerate(drawn_windows))
    label = html.escape(f"{title}, {count}: {_in_words(windows, language)}.")
    return (
        f"<p><span>{title}</span><span>{count}</span></p>"
        f'<svg role="img" aria-label="{label}" viewBox="0 0 {columns} {len(drawn_windows)}" preserveAspectRatio="none" '
        f'style="height:{len(drawn_windows) * 0.6:.1f}rem" fill="currentColor">{bars}</svg>'
    )


def _bars(window: Window, row: int, columns: int) -> str:
    """Draw a window's frames, joining neighbours of equal shade."""
    shades = {
        frame: round(max(weight, _FAINTEST), 2)
        for frame, weight in zip(window.frame_indices, window.weights, strict=True)
        if frame < columns
    }
    top = row * _PITCH + (_PITCH - _BAR) / 2
    return "".join(
        f'<rect x="{first}" y="{top:.1f}" width="{last - first + 1}" height="{_BAR}" opacity="{shade:g}"/>'
        for first, last, shade in _runs(shades)
    )


def _runs(shades: Mapping[int, float]) -> list[tuple[int, int, float]]:
    """Find first frame, last frame and shade of each run."""
    runs: list[tuple[int, int, float]] = []
    for frame, shade in sorted(shades.items()):
        if runs and runs[-1][1:] == (frame - 1, shade):
            runs[-1] = (runs[-1][0], frame, shade)
        else:
            runs.append((frame, frame, shade))
    return runs


def _in_words(windows: Sequence[Window], language: str) -> str:
    parts = [_frames_in_words(window.frame_indices, language) for window in windows[:MOST_LISTED]]
    if len(windows) > MOST_LISTED:
        parts.append(say(language, "told.windows.more", count=len(windows) - MOST_LISTED))
    return "; ".join(parts)


def _frames_in_words(frames: Sequence[int], language: str = ENGLISH) -> str:
    """Describe a window's frames shortly.

    Example:
        >>> [_frames_in_words(frames) for frames in [(4, 5, 6), (6, 7, 0, 1), (0, 2, 4), (0, 3, 4)]]
        ['frames 4 to 6', 'frames 6 to 1 over the end', 'every 2nd frame from 0 to 4', '3 frames from 0 to 4']
    """
    first, last = frames[0], frames[-1]
    if len(frames) == 1:
        return say(language, "told.windows.one_frame", frame=first)
    gaps = {b - a for a, b in pairwise(frames)}
    spacings = {gap for gap in gaps if gap > 0}
    ends = {"first": first, "last": last}
    if spacings <= {1}:
        text = say(language, "told.windows.frames", **ends)
    elif len(spacings) == 1:
        spacing = spacings.pop()
        text = say(language, f"told.windows.{'second' if spacing == 2 else 'nth'}", spacing=spacing, **ends)
    else:
        text = say(language, "told.windows.some", count=len(frames), **ends)
    return say(language, "told.windows.over", frames=text) if min(gaps) < 0 else text
