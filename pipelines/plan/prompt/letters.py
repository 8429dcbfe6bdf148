"""Normalise prompts: invisible letters, wide colons, line breaks and foreign keys.

Texts come from editors, chats, web pages and other programs. What certainly means the same is spelt as this app spells
it before anything is read; an ordinary prompt stays as it is.
"""

import json
import re

_BREAKS = re.compile("\r\n|[\r\v\f\x1c-\x1e\x85\u2028\u2029]")
# Marks of byte order, width and direction. Joiners stay: scripts and emoji are written with them.
_UNSEEN = re.compile(
    "[\0-\x08\x0e-\x1b\x1f\x7f-\x84\x86-\x9f\xad\u034f\u061c\u17b4\u17b5\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffc]|(?<![^\0-\x7f])[\u200c\u200d\ufe0e\ufe0f]+(?![^\0-\x7f])"  # these join no letters of ASCII
)
_BLANKS = re.compile("[\u115f\u1160\u2800\u3164\uffa0](?![\u1161-\u11ff\uffa1-\uffdc])")  # letters that are empty
_COLONS = ":\uff1a\ufe55\u2236\ua789"
_DIGITS = "0-9\uff10-\uff19"
_DASHES = "\\-\u2010-\u2014\u2212\uff0d"
_PLAIN = str.maketrans(
    {chr(0xFF10 + digit): str(digit) for digit in range(10)}
    | dict.fromkeys(_COLONS, ":")
    | dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212\uff0d", "-")
    | dict.fromkeys("\uff0e\u3002", ".")
    | dict.fromkeys("\uff0c\u3001", ",")
)
_FRAME = rf"[{_DASHES}]?[{_DIGITS}.\uff0e]*[{_DIGITS}]"
# A frame, or a range of them, and its colon. Behind a narrow colon comes a space, behind a wide one none is needed.
_KEY = re.compile(
    rf"^(?P<edge>[^\S\n]*)[\u200c\u200d]*(?P<frames>{_FRAME}(?:[{_DASHES}]{_FRAME})?)"
    rf"[^\S\n]*(?P<colon>::?(?=\s|$)|[{_COLONS[1:]}]{{1,2}})",
    re.MULTILINE,
)
_QUOTED = re.compile(
    r"""\s*(?:"(?P<quoted>-?[0-9.]{1,12})"\s*:|(?P<plain>-?[0-9.]{1,12})\s*=)\s*(?P<text>"(?:[^"\\]|\\.)*+")\s*(?:,|$)"""
)
_QUOTES = (
    str.maketrans(dict.fromkeys("\u201c\u201d\u201e\u201f\uff02", '"') | {"\uff0c": ","}),
    str.maketrans(dict.fromkeys("'\u2018\u2019\u201a\u201b\uff07", '"')),
)
# A weight that a wide bracket, colon or digit keeps from being one; "（上午8：30）" is none.
_WEIGHT = re.compile(
    rf"(?<!\\)[(\uff08]([^()\uff08\uff09\n]*)[:\uff1a]\s*([+-]?[{_DIGITS}]{{0,2}}[.\uff0e][{_DIGITS}]{{1,4}})\s*[)\uff09]"
)
_BRACES = re.compile(r"\s*\{(.*)\}\s*,?\s*", re.DOTALL)


def plain_text(text: str) -> str:
    r"""Remove invisible letters, and end lines with a line feed.

    Example:
        >>> plain_text("\ufeffa fox\u2028in the\u200b snow\r\n")
        'a fox\nin the snow\n'
    """
    return _BREAKS.sub("\n", _BLANKS.sub(" ", _UNSEEN.sub("", text)))


def plain_digits(text: str) -> str:
    """Write numbers, and what stands between them, with the letters of ASCII.

    Example:
        >>> plain_digits("０：0.5，15： 1.5")
        '0:0.5,15: 1.5'
    """
    return plain_text(text).translate(_PLAIN)


def plain_prompt(text: str) -> str:
    r"""Normalise a prompt's letters, keys and weights.

    Letters are as of `plain_text`, keys `0: text`, a line each, weights `(a:1.2)`. Keys are also read with a wide
    colon, with a space before the colon, in wide digits, and as the JSON that Deforum and ComfyUI take, whatever its
    quotes; weights in wide brackets, too.

    Example:
        >>> plain_prompt("０： day\n8 : night"), plain_prompt('{"0": "day", "8": "night"}')
        ('0: day\n8: night', '0: day\n8: night')
        >>> plain_prompt("a （red：1.2） fox")
        'a (red:1.2) fox'
    """
    text = plain_text(text)
    for quotes in ({}, *_QUOTES):
        if (quoted := _read_quoted_keys(text.translate(quotes))) is not None:
            return quoted
    return _WEIGHT.sub(lambda match: f"({match[1]}:{match[2].translate(_PLAIN)})", _KEY.sub(_normalise_key, text))


def _normalise_key(match: re.Match[str]) -> str:
    colon = match["colon"].translate(_PLAIN)
    behind = match.string[match.end() : match.end() + 1]
    return f"{match['edge']}{match['frames'].translate(_PLAIN)}{colon}{'' if behind.isspace() or not behind else ' '}"


def _read_quoted_keys(text: str) -> str | None:
    """Convert quoted texts by frame to lines; None for other texts."""
    inner = braced[1] if (braced := _BRACES.fullmatch(text)) else text
    inner = inner.strip()
    lines, at = [], 0
    while at < len(inner):
        match = _QUOTED.match(inner, at)
        if not match:
            return None
        try:
            words = str(json.loads(match["text"], strict=False))
        except ValueError:
            return None
        lines.append(f"{match['quoted'] or match['plain']}: {' '.join(plain_text(words).split())}")
        at = match.end()
    return "\n".join(lines) if lines else None
