"""One typed value of all that the page's components hold."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.faults import Fault
from studio.modes import Mode
from studio.stored_inputs import keep
from studio.uploads import uploaded_paths
from ui.parts.restored_inputs import (
    RESTORED_HASHES,
    UPLOADED_HASHES,
    restored_hash,
    stored_hash,
    with_stored_hash,
)
from ui.parts.updates import is_update


@dataclass(frozen=True)
class PageValues:
    """Values of the page's components as a browser sent them.

    A visitor can send anything, so that a value is an `object` until the request, or who reads it, has checked it.

    Args:
        by_id: By `elem_id`; not every event sends all.
    """

    by_id: Mapping[str, object]

    @classmethod
    def of(cls, names: Iterable[str], values: Iterable[object]) -> Self:
        """Name the values that an event sends in this order."""
        return cls(dict(zip(names, values, strict=True)))

    @property
    def mode(self) -> Mode:
        """The open tab.

        Raises:
            InvalidRequestError: It is none of the page's.
        """
        value = self.by_id.get("mode", Mode.TXT2VID)
        if value in list(Mode):
            return Mode(str(value))
        rule, known_modes = "be one of {limit}", ", ".join(Mode)
        raise InvalidRequestError(Fault("page.mode", "mode", rule, value, "Choose a tab", limit=known_modes))

    def value(self, name: str) -> object:
        """Return a component's value, None where it was not sent."""
        return self.by_id.get(name)

    def text(self, name: str) -> str:
        """Return a component's value as text, empty where there is none."""
        return str(self.by_id.get(name) or "")

    def fields(self, names: Iterable[str]) -> dict[str, object]:
        """Return the request's fields that have a component, as sent."""
        return {name: self.by_id[name] for name in names if name in self.by_id}

    def restored_hash(self, name: str) -> str:
        """Return a component's hash from a restored request; empty without.

        Raises:
            InvalidRequestError: As `restored_hash`.
        """
        return restored_hash(self.by_id.get(RESTORED_HASHES), name)

    def input_hash(self, name: str, *, field: str = "") -> str:
        """Return the hash of a component's files or restored one.

        Raises:
            InvalidRequestError: As `upload_hash`.
        """
        return self.upload_hash(name, field=field) or self.restored_hash(name)

    def upload_hash(self, name: str, *, field: str = "") -> str:
        """Return the hash of a component's files; empty without.

        They are stored when they are uploaded, and here only if that call has not come back, or a day went by.

        Raises:
            InvalidRequestError: A file can't be used, or as `restored_hash`.
        """
        value, field = self.value(name), field or name
        sha256 = self.stored_hash(value)
        # Of a source and its mask, from the same file chosen there, there are two: here it is refused.
        return sha256 if sha256 and " " not in sha256 else keep(uploaded_paths(value, field), field=field)

    def stored_hash(self, value: object) -> str:
        """Return the hash of uploaded files that are stored; empty for others."""
        return stored_hash(self.by_id.get(UPLOADED_HASHES), value)

    def with_stored(self, value: object, sha256: str) -> str:
        """Return the hidden component's value with the hash of uploads."""
        return with_stored_hash(self.by_id.get(UPLOADED_HASHES), self.by_id.values(), value, sha256)

    def updated(self, updates: Mapping[str, object]) -> Self:
        """Return the page with what an event's updates set."""
        values = {
            name: update["value"] if is_update(update) else update
            for name, update in updates.items()
            if not is_update(update) or "value" in update
        }
        return type(self)({**self.by_id, **values})
