"""How the page speaks: words that the browser puts into its language, and sentences made here in a visitor's.

Which language a visitor has is decided in both cases by the first one their browser asks for.
"""

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import gradio as gr
from gradio.context import LocalContext

from ui.words.tables import ENGLISH, filled, languages, table, written_number

_NUMBER = re.compile(r"\d{1,3}(,?\d{3})*(\.\d+)?")


def word(key: str) -> str:
    """What a component is given for a text: the browser finds the text by its key.

    In HTML there may be one of them.

    Args:
        key: Of the tables, one that needs no values but the server's limits.

    Raises:
        KeyError: There is no such text.
    """
    if key not in table(ENGLISH):
        raise KeyError(key)
    return str(gr.I18n()(key))


def say(language: str, key: str, **values: Any) -> str:
    """A sentence with its values.

    Example:
        >>> say("de", "told.source.frames", frames=2000)
        '2.000 Bilder'
    """
    return filled(language, table(language)[key], values)


def say_or(language: str, key: str, otherwise: str) -> str:
    """A text that has no values, or another where the tables have none, as of a model that the operator brought."""
    return table(language).get(key, otherwise)


def say_again(language: str, text: str, about: str = "progress") -> str:
    """What another room says in English, in the visitor's language; as it is where the tables don't know it.

    Args:
        about: The part of the tables' `heard` to look in.

    Example:
        >>> say_again("de", "Pass 1 of 2, step 3 of 25"), say_again("de", "Something else")
        ('Durchgang 1 von 2, Schritt 3 von 25', 'Something else')
    """
    if language == ENGLISH:
        return text
    for key, pattern in _heard(about):
        if found := pattern.fullmatch(text):
            values = {name: _again(language, value, about) for name, value in found.groupdict().items()}
            return filled(language, table(language)[key], values)
    return text


def with_own_labels(language: str, refusal: str) -> str:
    """A refusal, which stays English, with the controls it names called as the visitor sees them.

    Example:
        >>> with_own_labels("de", "num_frames must be greater than or equal to 1, got 0. Change 'Frames'.")
        "num_frames must be greater than or equal to 1, got 0. Change 'Bilder'."
    """
    keys = _labels()
    return re.sub(r"(?<=')[^'\n]+(?=')", lambda found: say_or(language, keys.get(found[0], ""), found[0]), refusal)


def visitor_language() -> str:
    """The language of whoever sent the event that is handled here and now; English outside of one."""
    request = LocalContext.request.get(None)
    return language_of(request.headers.get("accept-language", "")) if request else ENGLISH


def language_of(accepted: str) -> str:
    """The language for a browser.

    Args:
        accepted: Its `Accept-Language`, whose first is the one that the browser itself speaks.

    Returns:
        English where there is no table for it.

    Example:
        >>> [language_of(header) for header in ("de-AT,de;q=0.9,en;q=0.8", "fr,de;q=0.5", "")]
        ['de', 'en', 'en']
    """
    first = re.match(r"\s*([A-Za-z]+)", accepted)
    code = first[1].lower() if first else ENGLISH
    return code if code in languages() else ENGLISH


def _again(language: str, value: str, about: str) -> str:
    """A part of a sentence: a number, or a part that the tables know by itself."""
    return written_number(language, value) if _NUMBER.fullmatch(value) else say_again(language, value, about)


@cache
def _labels() -> Mapping[str, str]:
    """The key of every label in English; where a field and something else are called the same, the field's."""
    rooms = ("mode.", "button.", "section.", "label.", "group.", "field.")
    found: dict[str, str] = {}
    for room in rooms:
        found |= {text: key for key, text in table(ENGLISH).items() if key.startswith(room) and key[-5:] != ".help"}
    return found


@cache
def _heard(about: str) -> tuple[tuple[str, re.Pattern[str]], ...]:
    """The English sentences of other rooms as patterns, in the order of the table."""
    found = []
    for key, text in table(ENGLISH).items():
        if key.startswith(f"heard.{about}."):
            parts = re.split(r"\{(\w+)\}", text)
            pattern = "".join(f"(?P<{part}>.+?)" if odd % 2 else re.escape(part) for odd, part in enumerate(parts))
            found.append((key, re.compile(pattern, re.IGNORECASE)))
    return tuple(found)
