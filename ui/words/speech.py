"""How the page speaks: words that the browser puts into its language, and sentences made here in a visitor's.

Which language a visitor has is decided in both cases by the first one their browser asks for.
"""

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import gradio as gr
from gradio.context import LocalContext

from pipelines.plan.notes import Note
from ui.words.tables import ENGLISH, by_code, filled, languages, table


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


def say_note(language: str, note: str) -> str:
    """What another room tells, in the visitor's language; as it is where it is no note or the language lacks it.

    Example:
        >>> say_note("de", Note("progress.step", "Step {step} of {steps}", step=3, steps=25)), say_note("de", "FILM")
        ('Schritt 3 von 25', 'FILM')
    """
    text = by_code(language, "notes").get(note.code) if isinstance(note, Note) else None
    if text is None or not isinstance(note, Note):
        return str(note)
    values = {name: say_note(language, one) if isinstance(one, str) else one for name, one in note.values.items()}
    return filled(language, text, values)


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


@cache
def _labels() -> Mapping[str, str]:
    """The key of every label in English; where a field and something else are called the same, the field's."""
    rooms = ("mode.", "button.", "section.", "label.", "group.", "field.")
    found: dict[str, str] = {}
    for room in rooms:
        found |= {text: key for key, text in table(ENGLISH).items() if key.startswith(room) and key[-5:] != ".help"}
    return found
