"""Notes about a run: English sentences with a code and values."""

from collections.abc import Mapping
from typing import Self


class Note(str):
    """A translatable sentence, or a part of one.

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
        """Capitalize the English text; other languages write their own."""
        return self._of(f"{self[:1].upper()}{self[1:]}", self.code, self.values)

    @classmethod
    def _of(cls, text: str, code: str, values: Mapping[str, object]) -> Self:
        note = super().__new__(cls, text)
        note.code, note.values = code, values
        return note

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the note, to send it between processes."""
        return type(self)._of, (str(self), self.code, dict(self.values))


def listed(parts: list[Note]) -> Note:
    """Join notes with commas."""
    first, *remaining = parts
    return Note("list", "{first}, {rest}", first=first, rest=listed(remaining)) if remaining else first
