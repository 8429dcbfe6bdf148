"""Chart of how the first and last frame of a clip fade."""

import html
from collections.abc import Sequence

from pipelines.plan.image_falloff import hold_weights
from pipelines.plan.request import fields_affecting
from ui.parts.page_request import PageRequest
from ui.parts.progress import message_html
from ui.words.refusals import page_words
from ui.words.speech import say
from ui.words.tables import ENGLISH

HOLD_FIELDS = fields_affecting("falloff")
"""The numbers that decide the shares; whether there is a last frame is the other thing."""

MOST_COLUMNS = 128  # beyond it a column is narrower than 4 pixels; of a longer clip so many frames are drawn

_SOME_PICTURE = "0" * 64


def hold_html(parsed: PageRequest, *, has_last: bool, language: str = ENGLISH) -> str:
    """Render the chart of a first frame, or the broken rule.

    Args:
        parsed: The page.
        has_last: Whether there is a last frame.
        language: The visitor's.

    Example:
        >>> "frame 15" in hold_html(PageRequest.of({"num_frames": 16}), has_last=False)
        True
    """
    if err := parsed.fault_in(HOLD_FIELDS):
        return message_html(err.in_words(page_words(language)), is_error=True)
    pictures = {"first_frame": _SOME_PICTURE, "last_frame": _SOME_PICTURE if has_last else ""}
    weights = hold_weights(parsed.request.model_copy(update=pictures))
    return draw_hold(weights, has_last=has_last, language=language)


def draw_hold(weights: Sequence[tuple[float, float]], *, has_last: bool, language: str = ENGLISH) -> str:
    """Draw a column per frame: first share, noise, last share.

    Args:
        weights: As `hold_weights` gives them.
        has_last: Whether there is a last frame.
    """
    count = len(weights)
    places = [round(i * (count - 1) / (MOST_COLUMNS - 1)) for i in range(MOST_COLUMNS)]
    columns = [weights[place] for place in places] if count > MOST_COLUMNS else weights
    first = "".join(_column(x, 1 - a, a) for x, (a, _) in enumerate(columns))
    last = "".join(_column(x, 0, b) for x, (_, b) in enumerate(columns))
    names = ("first", "last") if has_last else ("first",)
    legend = "".join(f'<span class="{name}">{say(language, f"field.{name}_frame.label")}</span>' for name in names)
    ends = [say(language, "told.hold.frame", frame=frame) for frame in (0, count - 1)]
    return (
        f'<figure class="hold"><figcaption>{legend}'
        f'<span class="noise">{say(language, "told.hold.noise")}</span></figcaption>'
        f'<svg role="img" aria-label="{html.escape(_in_words(weights, language, has_last=has_last))}" '
        f'viewBox="0 0 {len(columns)} 1" preserveAspectRatio="none">'
        f'<g class="first">{first}</g><g class="last">{last}</g></svg>'
        f"<p><span>{ends[0]}</span><span>{ends[1]}</span></p></figure>"
    )


def _column(x: int, top: float, height: float) -> str:
    return f'<rect x="{x}" y="{top:.3f}" width="1" height="{height:.3f}"/>' if height > 0 else ""


def _in_words(weights: Sequence[tuple[float, float]], language: str, *, has_last: bool) -> str:
    """Describe the shares at start, middle and end for screen readers."""
    parts = []
    for place in sorted({0, len(weights) // 2, len(weights) - 1}):
        first, last = weights[place]
        shares = {"first": f"{first:.0%}", "last": f"{last:.0%}", "noise": f"{1 - first - last:.0%}"}
        parts.append(say(language, f"told.hold.{'both' if has_last else 'only_first'}", frame=place, **shares))
    return "; ".join(parts)
