"""Prompts that change over the clip: lines of `frame: text`.

    oil painting           lines before the first key: joined before the text of every key
    0: a field in spring   a key: frame, colon, space, text
    8: a field in summer
    by the sea             lines after the last key: joined after the text of every key

A key's frame may be counted from the end (`-1` is the last), be a fraction of the clip (`0.5`, `1.0` is the
last frame) or a range, both ends in it (`8-12`). Two colons hold a key until the next (`0:: text`). Between
keys one text turns into the other; before the first and after the last it stays, unless the clip is a loop.
A prompt without such lines is an ordinary one, and is not touched.

Source: the dialect of the web extension sd-webui-animatediff; the other forms of a frame and the hold are
those of ComfyUI-AnimateDiff-Evolved.
"""

import math
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import NamedTuple

from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.faults import Fault
from pipelines.plan.prompt.letters import plain_prompt

MAX_KEYS = 200  # each distinct text is encoded and its states are kept

_FRAME = r"-?(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)"
_KEY = re.compile(rf"\s*(?P<first>{_FRAME})(?:-(?P<last>{_FRAME}))?(?P<colon>::?)(?=\s|$)")
_ALMOST_KEY = re.compile(r"\s*(?=[-.]*[0-9])[-.0-9]+\s*:")
# Parts are joined by one comma.
_EDGES = (
    " \t\r,\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000\uff0c\u3001"
)
_SHOWN = 40
_MOST_DIGITS = 9


class LineFault(NamedTuple):
    """A fault in a line of a travelling prompt.

    Args:
        line, column: Where, both from 1.
        length: How many characters are meant; may be 0, at the end of the line.
        fault: The broken rule, without its field.
    """

    line: int
    column: int
    length: int
    fault: Fault


@dataclass(frozen=True, slots=True)
class Key:
    """One key.

    Args:
        first, last: Its frames, from 0; the same but for a range.
        holds: Whether it stays until the next key.
        text: Its own text, without the lines that all keys share.
        line, column, length: Where its frames are written.
    """

    first: int
    last: int
    holds: bool
    text: str
    line: int
    column: int
    length: int


@dataclass(frozen=True, slots=True)
class Script:
    """A parsed prompt; without keys or faults an ordinary one.

    Args:
        head, tail: What stands before and after the text of every key.
        keys: By ascending frames; those with a fault are left out.
        faults: From the top down.
    """

    head: tuple[str, ...]
    keys: tuple[Key, ...]
    tail: tuple[str, ...]
    faults: tuple[LineFault, ...]

    def parts(self, key: Key) -> tuple[str, ...]:
        """Return the shared lines and a key's text, in reading order."""
        return (*self.head, key.text, *self.tail)

    def whole_text(self, key: Key) -> str:
        """Join the shared lines and a key's text."""
        return _joined(self.parts(key))


class Stay(NamedTuple):
    """Frames that show one text; in a loop `last` may wrap."""

    first: int
    last: int
    text: int


class Mix(NamedTuple):
    """Blend of two texts: `share` (0 to below 1) of `after`."""

    before: int
    after: int
    share: float


@dataclass(frozen=True, slots=True)
class PromptTravel:
    """Which texts a clip shows when.

    Args:
        texts: The distinct texts; if they were edited, two of them may be the same.
        stays: By ascending frames; between two of them one text turns into the other.
        period: Frames after which a loop is where it began; 0 for an open clip.
        parts: The lines that each text was joined from; none where it is taken as it is.
    """

    texts: tuple[str, ...]
    stays: tuple[Stay, ...]
    period: int = 0
    parts: tuple[tuple[str, ...], ...] = field(default=(), compare=False)

    @classmethod
    def constant(cls, text: str) -> "PromptTravel":
        """Build a travel of one text for all frames."""
        return cls((text,), (Stay(0, 0, 0),))

    @property
    def is_constant(self) -> bool:
        """Whether all frames show the same."""
        return len(self.texts) == 1

    def edited(self, edit: Callable[[str], str]) -> "PromptTravel":
        """Change the texts, and nothing of when each is shown.

        Args:
            edit: Changes every part before they are joined; what is empty then is left out.
        """
        if not self.parts:
            return replace(self, texts=tuple(map(edit, self.texts)))
        return replace(self, texts=tuple(_joined(map(edit, parts)) for parts in self.parts), parts=())

    def mix_at(self, frame: int) -> Mix:
        """Return a frame's blend of texts, which depends on the frame alone.

        Args:
            frame: From 0, within the clip.
        """
        first = self.stays[0]
        if frame < first.first:
            if not self.period:
                return Mix(first.text, first.text, 0.0)
            frame += self.period
        place = bisect_right(self.stays, frame, key=lambda stay: stay.first) - 1
        current = self.stays[place]
        after, start = current, current.last + 1
        if place + 1 < len(self.stays):
            after = self.stays[place + 1]
            start = after.first
        elif self.period:
            after, start = first, first.first + self.period
        if frame <= current.last or after.text == current.text:
            return Mix(current.text, current.text, 0.0)
        return Mix(current.text, after.text, (frame - current.last) / (start - current.last))

    def value_at(self, frame: int, values: Sequence[float]) -> float:
        """Interpolate a number linearly along with the texts.

        Args:
            frame: From 0, within the clip.
            values: One for each text.

        Example:
            >>> travel = PromptTravel(("dawn", "noon"), (Stay(0, 0, 0), Stay(4, 4, 1)))
            >>> [travel.value_at(frame, (0.25, 1.25)) for frame in range(6)]
            [0.25, 0.5, 0.75, 1.0, 1.25, 1.25]
        """
        mix = self.mix_at(frame)
        return values[mix.before] + mix.share * (values[mix.after] - values[mix.before])


def plan_travel(
    prompt: str, *, num_frames: int, field: str = "prompt", hold: float = 0.0, closed: bool = False
) -> PromptTravel:
    """Read a prompt and plan which text each frame shows.

    Args:
        prompt: An ordinary prompt or one with keys.
        num_frames: Length of the clip.
        field: The prompt's name, for the error text.
        hold: How much of the way to the next key every key stays as it is, 0 to 1. It never reaches the next key.
        closed: Whether the clip is a loop, in which the last key turns into the first.

    Raises:
        InvalidRequestError: A line is wrong; the text names line and column.

    Example:
        >>> travel = plan_travel("a tree\\n0: in spring\\n4: in summer", num_frames=8)
        >>> travel.texts
        ('a tree, in spring', 'a tree, in summer')
        >>> travel.mix_at(1)
        Mix(before=0, after=1, share=0.25)
    """
    script = read_script(prompt, num_frames=num_frames)
    if script.faults:
        raise InvalidRequestError(script.faults[0].fault.of(field))
    if not script.keys:
        return PromptTravel.constant(script.head[0])
    return travel_along(script, num_frames=num_frames, hold=hold, closed=closed)


def travel_along(script: Script, *, num_frames: int, hold: float = 0.0, closed: bool = False) -> PromptTravel:
    """Plan the travel of a script with keys; arguments as `plan_travel`."""
    parts_by_text = {script.whole_text(key): script.parts(key) for key in script.keys}
    texts = tuple(parts_by_text)
    ends = [key.first for key in script.keys[1:]]
    ends.append(script.keys[0].first + num_frames if closed else num_frames)
    stays = tuple(
        Stay(key.first, _last_of_stay(key, end, hold), texts.index(script.whole_text(key)))
        for key, end in zip(script.keys, ends, strict=True)
    )
    return PromptTravel(texts, stays, num_frames if closed else 0, tuple(parts_by_text.values()))


def _joined(parts: Iterable[str]) -> str:
    stripped = (part.strip(_EDGES) for part in parts)
    return ", ".join(part for part in stripped if part)


def _last_of_stay(key: Key, end: int, hold: float) -> int:
    share = 1.0 if key.holds else hold
    return min(key.last + round(share * (end - key.last)), end - 1)


def has_keys(prompt: str) -> bool:
    """Tell whether any line of a prompt is a key, even invalid."""
    return any(_KEY.match(line) for line in plain_prompt(prompt).split("\n"))


def read_script(prompt: str, *, num_frames: int) -> Script:
    """Parse a prompt, collecting faults of its `plain_prompt`'s lines."""
    prompt = plain_prompt(prompt)
    lines = [(number, line) for number, line in enumerate(prompt.split("\n"), start=1) if line.strip()]
    matches = [_KEY.match(line) for _, line in lines]
    places = [place for place, match in enumerate(matches) if match]
    if not places:
        return Script((prompt,), (), (), ())
    keys: list[Key] = []
    faults: list[LineFault] = []
    shared: dict[int, str] = {}  # lines without frames
    for place, ((number, line), match) in enumerate(zip(lines, matches, strict=True)):
        if match and any(index > places[0] for index in shared):
            faults.append(_key_below_text(match, number, lines[max(shared)][0]))
        elif match:
            result = _read_key(match, number, num_frames)
            keys.extend([result] if isinstance(result, Key) else [])
            faults.extend([result] if isinstance(result, LineFault) else [])
        elif almost := _ALMOST_KEY.match(line):
            faults.append(_almost_key(almost, number))
        else:
            shared[place] = line.strip(_EDGES)
    keys.sort(key=lambda key: (key.first, key.line))
    faults += [*_clashes(keys), *_too_many(keys)]
    head = tuple(text for place, text in shared.items() if text and place < places[0])
    tail = tuple(text for place, text in shared.items() if text and place > places[0])
    return Script(head, tuple(keys), tail, tuple(sorted(faults, key=lambda fault: fault[:2])))


def _read_key(match: re.Match[str], line: int, num_frames: int) -> Key | LineFault:
    column = match.start("first") + 1
    length = match.end("colon") - match.start("first")
    first = _read_frame(match, "first", line, num_frames)
    last = _read_frame(match, "last", line, num_frames) if match["last"] else first
    if isinstance(first, LineFault) or isinstance(last, LineFault):
        return first if isinstance(first, LineFault) else last  # type: ignore[return-value]
    text = match.string[match.end() :].strip(_EDGES)
    if not text:
        rule, fix = "have text after the colon of every key", "Write it behind the colon"
        return _locate(line, match.end("colon") + 1, 0, Fault("travel.no_text", "", rule, "none", fix))
    if last < first:
        written = f"{match['first']}-{match['last']}"
        rule, fix = "have ranges that go forward", "Write the earlier frame first"
        values = {"written": written, "first": first, "last": last}
        fault = Fault("travel.backwards", "", rule, f"'{written}', which is {first} to {last}", fix, values=values)
        return _locate(line, column, len(written), fault)
    return Key(first, last, match["colon"] == "::", text, line, column, length)


def _read_frame(match: re.Match[str], group: str, line: int, num_frames: int) -> int | LineFault:
    """Parse the frame that is written there, counted from 0."""
    written = match[group]
    column = match.start(group) + 1
    if "." in written:
        share = float(written)
        if not 0 <= share <= 1:
            rule, fix = "have fractions of the clip from 0.0 to 1.0", "Write a frame without a point, or a fraction"
            fault = Fault("travel.no_fraction", "", rule, f"'{_short(written)}'", fix, limit=1)
            return _locate(line, column, len(written), fault)
        return math.floor(share * (num_frames - 1) + 0.5)
    frame = int(written) if len(written) <= _MOST_DIGITS else num_frames
    if not -num_frames <= frame < num_frames:
        rule = "have keys at frames of the clip, 0 to {limit} or -{length} to -1"
        fix = "Change the frame or {num_frames:label}, or begin the line with a word if it is no key"
        got, values = f"'{_short(written)}'", {"length": num_frames}
        fault = Fault("travel.beyond_the_clip", "", rule, got, fix, limit=num_frames - 1, values=values)
        return _locate(line, column, len(written), fault)
    return frame % num_frames


def _almost_key(match: re.Match[str], line: int) -> LineFault:
    start = len(match[0]) - len(match[0].lstrip())
    written = match.string[start:].split(" ")[0]
    rule = "have keys such as '8: text', '-1: text', '0.5: text', '8-12: text' or '8:: text', a space after the colon"
    fix = "Correct it, or begin the line with a word if it is no key"
    return _locate(line, start + 1, len(written), Fault("travel.almost_a_key", "", rule, f"'{_short(written)}'", fix))


def _key_below_text(match: re.Match[str], line: int, text_line: int) -> LineFault:
    rule = "have its keys together, and below them only what all keys share"
    fix = "Move the text below the last key, or join it to the line of its key"
    got, values = f"a key below the text of line {text_line}", {"text_line": text_line}
    fault = Fault("travel.key_below_text", "", rule, got, fix, values=values)
    return _locate(line, match.start("first") + 1, match.end("colon") - match.start("first"), fault)


def _clashes(keys: Sequence[Key]) -> Iterator[LineFault]:
    """Yield a fault at the later-written key of a shared frame."""
    for before, after in pairwise(keys):
        if after.first <= before.last:
            earlier, later = sorted((before, after), key=lambda key: key.line)
            got = f"frame {after.first} again, which line {earlier.line} has too"
            rule, fix = "have one key for a frame", "Change one of the two"
            values = {"frame": after.first, "other_line": earlier.line}
            fault = Fault("travel.frame_twice", "", rule, got, fix, values=values)
            yield _locate(later.line, later.column, later.length, fault)


def _too_many(keys: Sequence[Key]) -> Iterator[LineFault]:
    if len(keys) > MAX_KEYS:
        first = sorted(keys, key=lambda key: key.line)[MAX_KEYS]
        rule, fix = "have at most {limit} keys", "Remove the keys from here on"
        fault = Fault("travel.too_many_keys", "", rule, len(keys), fix, limit=MAX_KEYS)
        yield _locate(first.line, first.column, first.length, fault)


def _locate(line: int, column: int, length: int, fault: Fault) -> LineFault:
    values = {**fault.values, "line": line, "column": column}
    return LineFault(line, column, length, replace(fault, seen="{got} (line {line}, column {column})", values=values))


def _short(text: str) -> str:
    return text[:_SHOWN] + ("…" if len(text) > _SHOWN else "")
