"""Chart of prompt travel: keys, holds, blends and wrong lines.

The strip is SVG without words, so that it may be stretched to any width; numbers and texts are HTML. Words
and marks take the page's own colour, so that they can be read in the light and in the dark.
"""

import html
from collections.abc import Sequence

from pipelines.plan.prompt.dialect import find_foreign
from pipelines.plan.prompt.letters import plain_prompt
from pipelines.plan.prompt.travel import Key, LineFault, PromptTravel, Script, Stay, has_keys, read_script, travel_along
from ui.words.refusals import page_words
from ui.words.speech import say
from ui.words.tables import ENGLISH

#: Told apart side by side, and from white and from black; a text has the colour of its number.
COLOURS = ("#4f6bed", "#d97706", "#0d9488", "#c026d3", "#65a30d", "#e11d48")
_STRIP, _MARKS, _HEIGHT = 7, 8, 10  # where the colours end, where the marks begin, where they end
_CLOSEST_LABELS = 0.06  # of the width
_TEXT_SHOWN = 80
_LINE_SHOWN = 60
_BEFORE_FAULT = 20
_MOST_FAULTS = 5


def timeline_html(
    prompt: str,
    *,
    num_frames: int,
    field: str,
    label: str,
    hold: float = 0.0,
    closed: bool = False,
    language: str = ENGLISH,
) -> str:
    """Render the timeline of a prompt.

    Args:
        prompt, num_frames, field, hold, closed: As `plan_travel` takes them.
        label: What people call the prompt.
        language: The visitor's.

    Returns:
        HTML; nothing for a prompt without keys.
    """
    if not has_keys(prompt):
        return ""
    script = read_script(prompt, num_frames=num_frames)
    title = say(language, "told.timeline.title", label=label, frames=num_frames)
    parts = [f"<figcaption>{html.escape(title)}</figcaption>"]
    if script.keys:
        travel = travel_along(script, num_frames=num_frames, hold=hold, closed=closed)
        spoken = f"{title}: {'; '.join(_in_words(key, language) for key in script.keys)}."
        parts += [
            _strip(travel, script.keys, num_frames, html.escape(spoken), f"travel-{field}"),
            _numbers(script.keys, num_frames),
            _texts(travel, script, language),
        ]
    if script.faults:
        parts.append(_faults(plain_prompt(prompt).split("\n"), script.faults, field, language))
    return f'<figure class="travel">{"".join(parts)}</figure>'


def foreign_html(prompt: str, *, label: str, language: str = ENGLISH) -> str:
    """List the syntax of other programs in a prompt.

    Args:
        prompt, label, language: As `timeline_html` takes them.

    Returns:
        HTML; nothing where there is none.
    """
    items = "".join(
        f"<li>{html.escape(say(language, 'told.foreign', label=label, line=part.line))} "
        f"<mark>{html.escape(part.text)}</mark>, {html.escape(say(language, f'told.dialect.{part.dialect}'))}.</li>"
        for part in find_foreign(prompt)
    )
    return f'<ul class="travel foreign" role="status" aria-live="polite">{items}</ul>' if items else ""


def _strip(travel: PromptTravel, keys: Sequence[Key], num_frames: int, spoken: str, gradient: str) -> str:
    """Draw the colours of the texts above marks of the keys.

    Marks are paler where a key is held beyond its frames.
    """
    stays = list(travel.stays)
    if travel.period:  # the neighbours on the other side of either end
        stays = [_shift(stays[-1], -travel.period), *stays, _shift(stays[0], travel.period)]
    start, end = stays[0].first, stays[-1].last + 1
    stops = "".join(
        f'<stop offset="{(x - start) / (end - start):.5f}" stop-color="{_colour(stay.text)}"/>'
        for stay in stays
        for x in (stay.first, stay.last + 1)
    )
    held = "".join(_mark(stay.first, stay.last, 0.4) for stay in stays)
    marked = "".join(_mark(key.first, key.last, 1) for key in keys)
    return (
        f'<svg viewBox="0 0 {num_frames} {_HEIGHT}" preserveAspectRatio="none" role="img" aria-label="{spoken}">'
        f'<linearGradient id="{gradient}" gradientUnits="userSpaceOnUse" x1="{start}" x2="{end}">{stops}'
        f'</linearGradient><rect width="{num_frames}" height="{_STRIP}" fill="url(#{gradient})"/>{held}{marked}</svg>'
    )


def _shift(stay: Stay, frames: int) -> Stay:
    return Stay(stay.first + frames, stay.last + frames, stay.text)


def _mark(first: int, last: int, opacity: float) -> str:
    shape = f'x="{first}" y="{_MARKS}" width="{last + 1 - first}" height="{_HEIGHT - _MARKS}"'
    return f'<rect {shape} fill="currentColor" opacity="{opacity:g}"/>'


def _numbers(keys: Sequence[Key], num_frames: int) -> str:
    """List frame numbers below the keys, without overlaps."""
    labels, free_from = [], 0.0
    for key in keys:
        place = (key.first + 0.5) / num_frames
        if place >= free_from:
            labels.append(f'<span style="left:{place:.2%}">{key.first}</span>')
            free_from = place + _CLOSEST_LABELS
    return f'<div class="frames" aria-hidden="true">{"".join(labels)}</div>'


def _texts(travel: PromptTravel, script: Script, language: str) -> str:
    """List every key's frames and text with its colour."""
    items = "".join(
        f'<li><i style="background:{_colour(travel.texts.index(script.whole_text(key)))}"></i>'
        f"<b>{_frames(key, language)}</b> <span>{html.escape(_shorten(key.text, _TEXT_SHOWN))}</span></li>"
        for key in script.keys
    )
    return f'<ol tabindex="0" aria-label="{say(language, "told.timeline.keys")}">{items}</ol>'


def _faults(lines: Sequence[str], faults: Sequence[LineFault], field: str, language: str) -> str:
    items = [_fault_item(fault, lines[fault.line - 1], field, language) for fault in faults[:_MOST_FAULTS]]
    if len(faults) > _MOST_FAULTS:
        items.append(f"<li>{say(language, 'told.timeline.more', count=len(faults) - _MOST_FAULTS)}</li>")
    return f'<ul class="faults" role="status" aria-live="polite">{"".join(items)}</ul>'


def _fault_item(fault: LineFault, line: str, field: str, language: str) -> str:
    """Render the wrong line, marked, with the reason."""
    start = fault.column - 1
    begin = max(0, start - _BEFORE_FAULT)
    end = start + fault.length
    before, wrong, after = line[begin:start], line[start:end] or "\N{NO-BREAK SPACE}", line[end : begin + _LINE_SHOWN]
    marked_line = f"{html.escape(before)}<mark>{html.escape(_shorten(wrong, _LINE_SHOWN))}</mark>{html.escape(after)}"
    return f"<li><code>{marked_line}</code> {html.escape(page_words(language).sentence(fault.fault.of(field)))}</li>"


def _in_words(key: Key, language: str) -> str:
    return f"{_frames(key, language)} {_shorten(key.text, _TEXT_SHOWN)}"


def _frames(key: Key, language: str) -> str:
    frames = f"{key.first}" if key.first == key.last else f"{key.first}–{key.last}"
    return say(language, "told.timeline.held", frames=frames) if key.holds else frames


def _colour(text: int) -> str:
    return COLOURS[text % len(COLOURS)]


def _shorten(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
