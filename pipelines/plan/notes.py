"""What is told while a clip is made: English sentences that know their code and their values. No torch."""

from collections.abc import Mapping
from typing import Self


class Note(str):
    """A sentence, or a part of one, that other languages have theirs for.

    Args:
        code: Other languages find their sentence by it, such as `progress.downloading`.
        template: English, with the names of values in braces.
        values: Numbers, texts and other notes by name.

    Example:
        >>> note = Note("progress.step", "step {step} of {steps}", step=3, steps=25)
        >>> note, note.code, note.values["step"]
        ('step 3 of 25', 'progress.step', 3)
    """

    code: str
    values: Mapping[str, object]

    def __new__(cls, code: str, template: str, **values: object) -> Self:
        """Fill the template."""
        return cls._of(template.format(**values), code, values)

    def capitalized(self) -> Self:
        """The same with a capital at its beginning; other languages write their own as they do."""
        return self._of(f"{self[:1].upper()}{self[1:]}", self.code, self.values)

    @classmethod
    def _of(cls, text: str, code: str, values: Mapping[str, object]) -> Self:
        note = super().__new__(cls, text)
        note.code, note.values = code, values
        return note

    def __reduce__(self) -> tuple[object, ...]:
        """Notes are sent between processes."""
        return type(self)._of, (str(self), self.code, dict(self.values))


def listed(parts: list[Note]) -> Note:
    """Several in a row, with commas between."""
    first, *others = parts
    return Note("list", "{first}, {rest}", first=first, rest=listed(others)) if others else first
