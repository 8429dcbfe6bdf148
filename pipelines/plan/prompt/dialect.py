"""Find other programs' prompt syntax, which is plain text here.

Source: the prompt grammars of AUTOMATIC1111's web UI, ComfyUI, NovelAI, InvokeAI, SwarmUI, Deforum, Midjourney and of
the extensions Dynamic Prompts and ADE, as their documentation describes them.
"""

import re
from collections.abc import Iterator
from enum import StrEnum
from itertools import pairwise
from typing import NamedTuple

from pipelines.plan.prompt.letters import plain_prompt

_SHOWN = 60
_MOST_CHARACTERS = 20_000  # a request's prompt has no more


class Dialect(StrEnum):
    """Meaning of a piece of a prompt in another program."""

    SCHEDULE = "schedule"
    ALTERNATION = "alternation"
    ROUND_SCHEDULE = "round_schedule"
    BREAK = "break"
    AND = "and"
    CHOICE = "choice"
    BRACES = "braces"
    WILDCARD = "wildcard"
    TAG = "tag"
    LOOSE_TAG = "loose_tag"
    EMBEDDING = "embedding"
    COLON_WEIGHT = "colon_weight"
    BACK_WEIGHT = "back_weight"
    LIKE_A_KEY = "like_a_key"
    WRITTEN_BREAK = "written_break"
    FLAG = "flag"


MEANINGS: dict[Dialect, str] = {
    Dialect.SCHEDULE: "which changes words between steps in other programs and only weakens them here. To change words "
    "over the clip write keys such as '0: cat' and '8: dog', a line each",
    Dialect.ALTERNATION: "which takes turns between words at every step in other programs and only weakens them here. "
    "To change words over the clip write keys such as '0: cat' and '8: dog', a line each",
    Dialect.ROUND_SCHEDULE: "where only the last number is a weight here. To change words over the clip write keys "
    "such as '0: cat' and '8: dog', a line each",
    Dialect.BREAK: "which begins a new part of the prompt in other programs and is a word here. Leave it out",
    Dialect.AND: "which combines prompts in other programs and is a word here. Write a comma or 'and'",
    Dialect.CHOICE: "which draws one of them in other programs and is plain text here. Write the one you want, or make "
    "them all with a grid",
    Dialect.BRACES: "which is a weight in other programs and plain text here. Write a weight such as (word:1.1)",
    Dialect.WILDCARD: "which draws a line of a file in other programs and is plain text here. Write what it stands for",
    Dialect.TAG: "which means something in other programs and is plain text here: tags are <lora:name:0.8>, for LoRAs "
    "and textual inversions. Remove it or write it so",
    Dialect.LOOSE_TAG: "which is plain text here. Write a tag such as <lora:name:0.8>",
    Dialect.EMBEDDING: "which is a textual inversion in other programs and plain text here. Write a tag such as "
    "<lora:name:1>",
    Dialect.COLON_WEIGHT: "which is a weight in other programs and plain text here. Write a weight such as (word:1.3)",
    Dialect.BACK_WEIGHT: "where what follows the bracket is a weight in other programs and plain text here. Write a "
    "weight such as (word:1.3)",
    Dialect.LIKE_A_KEY: "which looks like a key and is text of the whole clip here. Write a key such as '8: text', a "
    "space after the colon, or begin the line with a word",
    Dialect.WRITTEN_BREAK: "two signs where a line break may be meant. Begin a new line there",
    Dialect.FLAG: "which is a setting in other programs and a word here. Leave it out, and set what it means with the "
    "fields",
}
"""What follows the piece in a sentence: what it is elsewhere, what it is here, what to do."""


class Foreign(NamedTuple):
    """A piece of a prompt that other programs understand.

    Args:
        dialect: What it is there.
        text: As it is written, shortened.
        line, column: Where it begins, both from 1.
    """

    dialect: Dialect
    text: str
    line: int
    column: int

    def sentence(self, field: str) -> str:
        """Say what it is, where, and what to write instead."""
        return f"{field} has '{self.text}' (line {self.line}, column {self.column}), {MEANINGS[self.dialect]}."


def find_foreign(prompt: str) -> list[Foreign]:
    """Find foreign syntax, the first piece of each kind, in order.

    Words such as BREAK count in capitals alone, and `[word]` is understood.

    Example:
        >>> [(piece.dialect.value, piece.text) for piece in find_foreign("a [cat:dog:0.5] BREAK [calm], and 16:9")]
        [('schedule', '[cat:dog:0.5]'), ('break', 'BREAK')]
    """
    text = plain_prompt(prompt[:_MOST_CHARACTERS])
    narrow = text.translate(_NARROW)
    first: dict[Dialect, int] = {}
    written: dict[Dialect, str] = {}
    for dialect, start, end in (*_in_brackets(narrow), *_by_pattern(narrow), *_like_keys(narrow)):
        if start < first.get(dialect, len(text) + 1):
            first[dialect], written[dialect] = start, text[start:end]
    return [
        Foreign(dialect, _short(written[dialect]), text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at))
        for dialect, at in sorted(first.items(), key=lambda item: item[1])
    ]


def foreign_notes(prompt: str, negative_prompt: str = "") -> tuple[str, ...]:
    """Describe foreign syntax in both prompts."""
    fields = (("prompt", prompt), ("negative_prompt", negative_prompt))
    return tuple(piece.sentence(field) for field, text in fields for piece in find_foreign(text))


_NARROW = str.maketrans({chr(letter + 0xFEE0): chr(letter) for letter in range(ord("!"), ord("~") + 1)})
"""Wide letters, as other programs' syntax is typed by accident, to those of ASCII."""

_Span = tuple[Dialect, int, int]
_PAIRS = {")": "(", "]": "[", "}": "{"}
_ONE = r"\s*[+-]?(?:\d+\.?\d*|\.\d+)%?\s*"
_NUMBER = re.compile(rf"{_ONE}(?:,{_ONE}){{0,8}}")  # several are the steps of prompt fusion, or one with a comma
_NAME = re.compile(r"[^\W\d_]")


class _Open:
    """An open bracket, with the positions of its colons and bars."""

    def __init__(self, sign: str, at: int) -> None:
        self.sign, self.at, self.has_bar = sign, at, False
        self.colons: list[int] = []


def _in_brackets(text: str) -> Iterator[_Span]:
    """Yield balanced brackets by their direct content."""
    stack: list[_Open] = []
    at = 0
    while at < len(text):
        sign = text[at]
        if sign == "\\":
            at += 1
        elif sign in "([{":
            stack.append(_Open(sign, at))
        elif sign in _PAIRS:
            if stack and stack[-1].sign == _PAIRS[sign]:
                yield from _classify(text, stack.pop(), at)
        elif stack and sign == "|":
            stack[-1].has_bar = True
        elif stack and sign == ":":
            stack[-1].colons.append(at)
        at += 1


def _classify(text: str, opened: _Open, end: int) -> Iterator[_Span]:
    span = (opened.at, end + 1)
    counts = bool(opened.colons and _NUMBER.fullmatch(text, opened.colons[-1] + 1, end))
    if opened.sign == "[":
        if counts:
            yield Dialect.SCHEDULE, *span
        elif opened.has_bar:
            yield Dialect.ALTERNATION, *span
    elif opened.sign == "{" and text[opened.at + 1 : opened.at + 40].lstrip()[:1] in ('"', "'"):
        yield Dialect.LIKE_A_KEY, *span
    elif opened.sign == "{" and end > opened.at + 1:
        yield (Dialect.CHOICE if opened.has_bar or "$$" in text[opened.at : opened.at + 40] else Dialect.BRACES), *span
    elif counts and len(opened.colons) > 1:
        before, last = opened.colons[-2:]
        words = text[opened.at + 1 : before], text[before + 1 : last]
        # "(style: oil:1.2)" and "(8:30:1.2)" are words with a weight.
        is_share = bool(re.fullmatch(r"\d*\.\d+", words[1]))
        if _NAME.search(words[0]) and (is_share or _NAME.search(words[1])) and not words[1][:1].isspace():
            yield Dialect.ROUND_SCHEDULE, *span


_PATTERNS: tuple[tuple[Dialect, re.Pattern[str]], ...] = (
    (Dialect.BREAK, re.compile(r"(?<![\w'-])(?:BREAK|ADD(?:COL|ROW|BASE|COMM))(?![\w'-])|<break>")),
    (Dialect.AND, re.compile(r"(?<![\w'-])AND(?:_PERP|_SALT|_TOPK)?(?![\w'-])")),
    (Dialect.WILDCARD, re.compile(r"(?<!\w)__[\w./*+-]{1,80}?__(?!\w)")),
    (Dialect.TAG, re.compile(r"<(?!\s*lora\s*:)(?=[A-Za-z])[\w ]{1,30}(?:\[[^\[\]<>\n]{0,80}\])?:[^<>\n]{0,200}>")),
    (Dialect.LOOSE_TAG, re.compile(r"<\s*lora\b(?!\s*:)[^<>\n]{0,200}>|(?<![<\w])lora:[\w.-]{1,80}:[\d.]+", re.I)),
    (Dialect.EMBEDDING, re.compile(r"(?<![\w<])embedding:\s?[\w./\\-]{1,80}", re.I)),
    (Dialect.COLON_WEIGHT, re.compile(r"(?<![\w.:])-?\d+(?:\.\d+)?::(?=\S)[^:\n]{1,200}::")),
    (Dialect.BACK_WEIGHT, re.compile(r"\([^()\n]{1,200}\)(?:\d*\.?\d+(?![\w.])|[+]{1,8}|-{1,8}(?![\w-]))")),
    (Dialect.BACK_WEIGHT, re.compile(r"""(?:\w{1,40}|[)"'])\s?\.(?:and|blend|swap)\(""")),
    (Dialect.BACK_WEIGHT, re.compile(r"(?<![\w+-])[^\W\d]{3,40}(?:[+]{2,8}|-{2,8})(?![\w+-])")),
    (
        Dialect.FLAG,  # phones make one dash of two
        re.compile(
            r"(?<![\w-])(?:--(?:no|neg|seed|niji|stylize|chaos|quality|iw|tile|style|[sco]ref|weird|motion|steps|cfg)"
            r"|(?:--|\u2014)(?:ar|aspect)|--[vsqcwhd] ?(?=\d))(?![A-Za-z-])"
        ),
    ),
    (Dialect.WRITTEN_BREAK, re.compile(r"\\n(?=\s*-?[\d.]+\s*:)")),
)


def _by_pattern(text: str) -> Iterator[_Span]:
    for dialect, pattern in _PATTERNS:
        if match := pattern.search(text):
            yield dialect, match.start(), match.end()


_LIKE_A_KEY = re.compile(
    r"""[ \t]*(?:
    (?:frames?|keyframe|step|bild)[ \t]*[#:]?[ \t]*(?P<framed>\d{1,5})[ \t]*(?:[:=)\]]|->|=>|-(?=\s))  # frame 8: text
    |["'`\u201c\u201d\u2018\u2019](?P<quoted>-?\d{1,5})["'`\u201c\u201d\u2018\u2019][ \t]*[:=]          # '8': text
    |[-*\u2022#][ \t]*(?P<listed>\d{1,5})[ \t]*::?(?=\s)                                             # - 8: text
    |(?P<timed>\d{1,5})[ \t]*(?:s|sec|%)[ \t]*:(?=\s)                                               # 8%: text
    |[\[(](?P<boxed>\d{1,5})[\])][ \t]*:?(?=[ \t]*[^\W\d])                                         # [8] text
    |(?P<bare>\d{1,5})[ \t]*(?::(?=[^\W\d])|[-=]>?(?=\s)|[).;](?=[ \t]+[^\W\d])|(?=[ \t]+[^\W\d]))   # 8- text
    )""",
    re.VERBOSE | re.IGNORECASE,
)
_IN_A_KEY = re.compile(r",\s*(?P<frame>\d{1,5})\s*:\s")  # several keys in a line
_KEY_OF_FRAME = re.compile(r"\s*(?P<frame>-?[\d.]{1,12})(?:--?[\d.]{1,12})?::?(?=\s|$)")
# What people count in prompts, and no key begins with.
_COUNTED = re.compile(r"\s*\d+\s*(?:mm|cm|k|fps|bit|px|am|pm|years?|girls?|boys?|people)\b", re.IGNORECASE)


def _like_keys(text: str) -> Iterator[_Span]:
    """Yield lines that begin as keys do elsewhere.

    A number alone begins many ordinary lines, so numbers count only where they ascend over several lines from 0 on, or
    go on from the key above.
    """
    candidates: list[tuple[int, int, int, bool]] = []
    start, above = 0, -1
    for line in text.split("\n"):
        if key := _KEY_OF_FRAME.match(line):
            above = int(key["frame"]) if key["frame"].isdecimal() else above
            inner = _IN_A_KEY.search(line, key.end())
            if inner and int(inner["frame"]) > above:
                candidates.append((int(inner["frame"]), start + inner.start("frame"), start + len(line), True))
        elif match := _LIKE_A_KEY.match(line):
            certain = match["framed"] or match["quoted"] or match["listed"] or match["timed"]
            frame = int(certain or match["boxed"] or match["bare"])
            goes_on = 0 <= above < frame and not _COUNTED.match(line)
            candidates.append((frame, start, start + len(line), bool(certain) or goes_on))
        start += len(line) + 1
    frames = [frame for frame, *_ in candidates]
    listed = len(candidates) > 1 and frames[0] == 0 and all(earlier < later for earlier, later in pairwise(frames))
    for _, begin, end, certain in candidates:
        if certain or listed:
            yield Dialect.LIKE_A_KEY, begin, end


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= _SHOWN else f"{flat[: _SHOWN - 1]}…"
