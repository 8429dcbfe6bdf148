"""How prompts are spelt: letters nobody sees, other colons and line breaks, and keys in other programs' forms.

Texts come from editors, chats, web pages and other programs. What certainly means the same is spelt as this app spells
it before anything is read; an ordinary prompt stays as it is. Text in, text out; no models, no torch.
"""

import json
import re

_BREAKS = re.compile("\r\n|[\r\v\f\x1c-\x1e\x85\u2028\u2029]")
# Marks of byte order, width and direction. Joiners stay: scripts and emoji are written with them.
_UNSEEN = re.compile("[\0\xad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]")
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
_BRACES = re.compile(r"\s*\{(.*)\}\s*,?\s*", re.DOTALL)


def plain_text(text: str) -> str:
    r"""Take out letters that nobody sees, and end every line with a line feed.

    Example:
        >>> plain_text("\ufeffa fox\u2028in the\u200b snow\r\n")
        'a fox\nin the snow\n'
    """
    return _BREAKS.sub("\n", _UNSEEN.sub("", text))


def plain_digits(text: str) -> str:
    """Write numbers, and what stands between them, with the letters of ASCII.

    Example:
        >>> plain_digits("０：0.5，15： 1.5")
        '0:0.5,15: 1.5'
    """
    return plain_text(text).translate(_PLAIN)


def plain_prompt(text: str) -> str:
    r"""Spell a prompt as this app does: letters as `plain_text`, keys as `0: text`, a line each.

    Keys are also read with a wide colon, with a space before the colon, in wide digits, and as the JSON that Deforum
    and ComfyUI take.

    Example:
        >>> plain_prompt("０： day\n8 : night"), plain_prompt('{"0": "day", "8": "night"}')
        ('0: day\n8: night', '0: day\n8: night')
    """
    text = plain_text(text)
    quoted = _quoted_keys(text)
    return _KEY.sub(_spelt_key, text) if quoted is None else quoted


def _spelt_key(match: re.Match[str]) -> str:
    colon = match["colon"].translate(_PLAIN)
    behind = match.string[match.end() : match.end() + 1]
    return f"{match['edge']}{match['frames'].translate(_PLAIN)}{colon}{'' if behind.isspace() or not behind else ' '}"


def _quoted_keys(text: str) -> str | None:
    """Lines of keys for a text that is nothing but quoted texts by frame; None for any other."""
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
