"""The page's values as one request, broken rules apart."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.request import GenerationRequest
from studio.open_fields import is_open_length


@dataclass(frozen=True)
class PageRequest:
    """Request that the estimate and all charts of a change share.

    Args:
        request: Fields that break a rule have their defaults in it.
        faults: Of those fields, by name.
    """

    request: GenerationRequest
    faults: Mapping[str, InvalidRequestError]

    @classmethod
    def of(cls, values: Mapping[str, object]) -> Self:
        """Parse values of fields; a length of 0 is a window's.

        Example:
            >>> parsed = PageRequest.of({"width": 1, "num_frames": 0, "context_length": 12})
            >>> parsed.request.num_frames, list(parsed.faults)
            (12, ['width'])
        """
        fields, faults = dict(values), dict[str, InvalidRequestError]()
        if is_open_length(fields.get("num_frames")):
            fields["num_frames"] = fields.get("context_length", 16)
        while True:
            try:
                return cls(GenerationRequest.build(**fields), faults)
            except InvalidRequestError as err:
                name = err.fault.field if err.fault else ""
                faults[name] = err
                if name in fields:
                    del fields[name]
                else:
                    fields.clear()  # a rule between several fields that names none of them

    def fault_in(self, names: Iterable[str]) -> InvalidRequestError | None:
        """Return the first broken rule of some fields."""
        return next((self.faults[name] for name in names if name in self.faults), None)
