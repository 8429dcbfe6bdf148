"""Faults in the visitor's language, with fields named by their labels."""

from collections.abc import Sequence
from dataclasses import replace

from pipelines.plan.faults import Fault, Place, Words
from ui.words.speech import say_or, visitor_language, with_own_labels
from ui.words.tables import RECORDS, by_code, written_number

_LABELS_BESIDE_FIELDS = {"batch_count": "label.clips"}  # what has a control and is no field


class PageWords(Words):
    """Renderer of faults in a language of the page.

    A rule without a sentence in the language stays in English, its controls called as they are seen.

    Args:
        language: The visitor's.
        numbers: The page's number of each control unit of the request, where the request counts others.
    """

    def __init__(self, language: str, numbers: Sequence[int] = ()) -> None:
        self._language, self._numbers = language, numbers

    def sentence(self, fault: Fault) -> str:
        """Render the whole refusal."""
        fault = renumber_unit(fault, self._numbers)
        sentences, advice = by_code(self._language, "faults"), by_code(self._language, "advice")
        if fault.code not in sentences:
            return self.text(_EnglishPage().sentence(fault))
        fix = self.filled(advice.get(fault.fix, fault.fix), fault)
        text = self.filled(sentences[fault.code], replace(fault, values={**fault.values, "fix": fix}))
        return f"{text} {self.filled(advice.get(fault.note, fault.note), fault)}".strip()

    def text(self, refusal: str) -> str:
        """Render a refusal that is a text alone."""
        return with_own_labels(self._language, refusal)

    def name(self, field: str) -> str:
        """Look up the label of a field's control, else the field."""
        label = _label(self._language, field)
        return f"„{label}“" if label else field

    def label(self, field: str) -> str:
        """Quote the label."""
        return self.name(field)

    def subject(self, name: str, place: Place) -> str:
        """Name units by their number on the page, others by label."""
        if name in ("controls", "Unit") and place:
            unit, *rest = place
            return " ".join((f"Einheit {unit}", *map(self._part, rest)))
        return " ".join((self.name(name), *map(self._part, place)))

    def value(self, value: object, spec: str) -> str:
        """Format a number as the language writes it."""
        text = super().value(value, spec)
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return written_number(self._language, text) if is_number else text

    def _part(self, part: str | int) -> str:
        return self.name(part) if isinstance(part, str) else str(part)


class _EnglishPage(Words):
    def subject(self, name: str, place: Place) -> str:
        return super().subject("Unit" if name == "controls" and place else name, place)


def page_words(language: str | None = None, numbers: Sequence[int] = ()) -> Words:
    """Choose the words of a language, by default the visitor's."""
    return PageWords(language or visitor_language(), numbers)


def renumber_unit(fault: Fault, numbers: Sequence[int]) -> Fault:
    """Give a unit's fault the number it has on the page.

    Args:
        numbers: The page's number of each unit of the request.
    """

    def number_of(unit: object) -> int | None:
        return numbers[unit - 1] if isinstance(unit, int) and 1 <= unit <= len(numbers) else None

    place, values = fault.place, dict(fault.values)
    if fault.field == "controls" and place and (number := number_of(place[0])):
        place = (number, *place[1:])
    if number := number_of(values.get("unit")):
        values["unit"] = number
    return replace(fault, place=place, values=values)


def _label(language: str, field: str) -> str:
    keys = (*(f"{room}.{field}.label" for room in RECORDS.values()), _LABELS_BESIDE_FIELDS.get(field, ""))
    return next((label for key in keys if (label := say_or(language, key, ""))), "")
