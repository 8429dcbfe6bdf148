"""Texts of the page: localised by the browser, or here.

The visitor's language is in both cases the first one that their browser asks for.
"""

import re
from collections.abc import Mapping
from functools import cache

import gradio as gr
from gradio.context import LocalContext

from pipelines.plan.notes import Note
from ui.words.tables import ENGLISH, by_code, filled, languages, table


def word(key: str) -> str:
    """Build the reference by which the browser finds a text.

    In HTML there may be one of them.

    Args:
        key: Of the tables, one that needs no values but the server's limits.

    Raises:
        KeyError: There is no such text.
    """
    if key not in table(ENGLISH):
        raise KeyError(key)
    return str(gr.I18n()(key))


def say(language: str, key: str, **values: object) -> str:
    """Render a sentence with its values.

    Example:
        >>> say("de", "told.source.frames", frames=2000)
        '2.000 Bilder'
    """
    return filled(language, table(language)[key], values)


def say_or(language: str, key: str, otherwise: str) -> str:
    """Look up a text without values, or return another."""
    return table(language).get(key, otherwise)


def say_note(language: str, note: str) -> str:
    """Render a note in the visitor's language.

    As it is where it is no note or the language lacks it.

    Example:
        >>> say_note("de", Note("progress.step", "Step {step} of {steps}", step=3, steps=25)), say_note("de", "FILM")
        ('Schritt 3 von 25', 'FILM')
    """
    text = by_code(language, "notes").get(note.code) if isinstance(note, Note) else None
    if text is None or not isinstance(note, Note):
        return str(note)
    values = {
        name: say_note(language, value) if isinstance(value, str) else value for name, value in note.values.items()
    }
    return filled(language, text, values)


def with_own_labels(language: str, refusal: str) -> str:
    """Replace the labels in an English refusal by the language's.

    Example:
        >>> with_own_labels("de", "num_frames must be greater than or equal to 1, got 0. Change 'Frames'.")
        "num_frames must be greater than or equal to 1, got 0. Change 'Bilder'."
    """
    keys = _labels()
    return re.sub(r"(?<=')[^'\n]+(?=')", lambda match: say_or(language, keys.get(match[0], ""), match[0]), refusal)


def visitor_language() -> str:
    """Detect the language of the current event's visitor; English without one."""
    request = LocalContext.request.get(None)
    return language_of(request.headers.get("accept-language", "")) if request else ENGLISH


def language_of(accepted: str) -> str:
    """Choose the language for a browser's `Accept-Language`.

    Args:
        accepted: The header, whose first is the one that the browser itself speaks.

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
    """Map every English label to its key.

    Where a field and something else are called the same, it is the field's.
    """
    rooms = ("mode.", "button.", "section.", "label.", "group.", "field.")
    keys: dict[str, str] = {}
    for room in rooms:
        keys |= {text: key for key, text in table(ENGLISH).items() if key.startswith(room) and key[-5:] != ".help"}
    return keys
