"""What a visitor reads for the words that the page's components are given."""

import json
import re

from ui.words.tables import ENGLISH, translations


def shown(text: str, language: str = ENGLISH) -> str:
    """A component's text as a browser shows it: the first key in it is looked up.

    Raises:
        KeyError: There is no such text.
    """
    found = re.search(r"__i18n__(\{.*?\})", text)
    if not found:
        return text
    return text.replace(found[0], translations()[language][json.loads(found[1])["key"]])
