"""A picture of the windows: which frames go through the model together, and how much each of them counts.

Drawn from the engine's own plan. Bars are SVG in the text's and the accent's colour, words are HTML, so that
they keep their size and follow the page's theme.
"""

import html
from collections.abc import Mapping, Sequence
from itertools import groupby, pairwise
from typing import Any

import gradio as gr
from gradio.components import Component

from pipelines.context import Window, plan_windows
from pipelines.errors import InvalidRequestError
from pipelines.request import GenerationRequest
from ui.progress import message_html
from ui.quiet_events import QUIET

WINDOW_FIELDS = (
    "num_frames",
    "num_inference_steps",
    "seed",
    "context_schedule",
    "context_length",
    "context_overlap",
    "context_stride",
    "closed_loop",
    "context_fuse",
)
"""The fields that decide the windows."""

STEPS_DRAWN = 3
MOST_FRAMES = 128  # beyond it a frame is narrower than 4 pixels; of a longer clip the beginning is drawn
MOST_WINDOWS = 16  # a step; more are counted
MOST_TOLD = 6

_BAR, _PITCH = 0.8, 1.0
_FAINTEST = 0.12  # a frame that goes along without counting is seen all the same


def follow_windows(controls: Mapping[str, Component], picture: gr.HTML) -> None:
    """Draw anew whenever one of the controls of `WINDOW_FIELDS` changes, by hand or with a model."""
    inputs = [controls[name] for name in WINDOW_FIELDS]
    gr.on(
        [control.change for control in inputs],
        lambda *values: windows_html(dict(zip(WINDOW_FIELDS, values, strict=True))),
        inputs,
        picture,
        trigger_mode="always_last",
        preprocess=False,  # the request checks the values, and its words name the field
        **QUIET,
    )


def windows_html(values: Mapping[str, Any]) -> str:
    """The picture for values of controls, or the sentence that says which of them breaks its rule.

    Args:
        values: Any of `WINDOW_FIELDS`; others are left out, absent ones are the request's defaults.
    """
    try:
        request = GenerationRequest.build(**{name: values[name] for name in WINDOW_FIELDS if name in values})
    except InvalidRequestError as err:
        return message_html(str(err), is_error=True)
    return draw_windows(request)


def draw_windows(request: GenerationRequest) -> str:
    """The windows of the first steps, steps with the same windows drawn once.

    Example:
        >>> "together" in draw_windows(GenerationRequest.build(num_frames=16, seed=0))
        True
    """
    steps = range(min(STEPS_DRAWN, request.num_inference_steps))
    plans = [(step, plan_windows(request, step)) for step in steps]
    drawn = []
    for windows, same in groupby(plans, key=lambda plan: plan[1]):
        numbers = [step + 1 for step, _ in same]
        drawn.append(_draw_step(request, numbers, windows))
    last = min(request.num_frames, MOST_FRAMES) - 1
    ends = f"<p><span>frame 0</span><span>frame {last:,}</span></p>" if last else ""
    return f'<figure class="windows"><figcaption>{_caption(request)}</figcaption>{"".join(drawn)}{ends}</figure>'


def _caption(request: GenerationRequest) -> str:
    frames, length = request.num_frames, request.context_length
    if frames <= length:
        back = " The clip is then played backwards, too." if request.frames_played_back else ""
        return f"The clip fits into one window: all frames go through the model together.{back}"
    part = f" Of {frames:,} frames the first {MOST_FRAMES} are drawn." if frames > MOST_FRAMES else ""
    return f"A row is one window: frames that go through the model together. The fuller, the more they count.{part}"


def _draw_step(request: GenerationRequest, numbers: Sequence[int], windows: Sequence[Window]) -> str:
    columns = min(request.num_frames, MOST_FRAMES)
    in_sight = [window for window in windows if any(frame < columns for frame in window.frame_indices)]
    drawn = in_sight[:MOST_WINDOWS]
    title = f"Step {numbers[0]}" if len(numbers) == 1 else f"Steps {numbers[0]} to {numbers[-1]}"
    count = "1 window" if len(windows) == 1 else f"{len(windows):,} windows"
    if len(drawn) < len(in_sight):
        count += f", {len(drawn)} drawn"
    bars = "".join(_bars(window, row, columns) for row, window in enumerate(drawn))
    told = html.escape(f"{title}, {count}: {_in_words(windows)}.")
    return (
        f"<p><span>{title}</span><span>{count}</span></p>"
        f'<svg role="img" aria-label="{told}" viewBox="0 0 {columns} {len(drawn)}" preserveAspectRatio="none" '
        f'style="height:{len(drawn) * 0.6:.1f}rem" fill="currentColor">{bars}</svg>'
    )


def _bars(window: Window, row: int, columns: int) -> str:
    """A window's frames, neighbours of the same shade in one rectangle."""
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
    """First frame, last frame and shade of each run of neighbours."""
    runs: list[tuple[int, int, float]] = []
    for frame, shade in sorted(shades.items()):
        if runs and runs[-1][1:] == (frame - 1, shade):
            runs[-1] = (runs[-1][0], frame, shade)
        else:
            runs.append((frame, frame, shade))
    return runs


def _in_words(windows: Sequence[Window]) -> str:
    told = [_frames_in_words(window.frame_indices) for window in windows[:MOST_TOLD]]
    if len(windows) > MOST_TOLD:
        told.append(f"and {len(windows) - MOST_TOLD:,} more")
    return "; ".join(told)


def _frames_in_words(frames: Sequence[int]) -> str:
    """A window's frames, shortly.

    Example:
        >>> [_frames_in_words(frames) for frames in [(4, 5, 6), (6, 7, 0, 1), (0, 2, 4), (0, 3, 4)]]
        ['frames 4 to 6', 'frames 6 to 1 over the end', 'every 2nd frame from 0 to 4', '3 frames from 0 to 4']
    """
    first, last = frames[0], frames[-1]
    if len(frames) == 1:
        return f"frame {first}"
    gaps = {b - a for a, b in pairwise(frames)}
    over = " over the end" if min(gaps) < 0 else ""
    spacings = {gap for gap in gaps if gap > 0}
    if spacings <= {1}:
        return f"frames {first} to {last}{over}"
    if len(spacings) == 1:
        spacing = spacings.pop()
        return f"every {spacing}{'nd' if spacing == 2 else 'th'} frame from {first} to {last}{over}"
    return f"{len(frames)} frames from {first} to {last}{over}"
