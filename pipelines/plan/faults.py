"""Broken rules as values, which every face puts into its own words.

The English words stand where a rule is checked; other languages have theirs by the rule's code.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from string import Formatter

from pipelines.plan.shown_values import shown

Place = tuple[str | int, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Fault:
    """One broken rule: `<field> must <rule>, got <got>. <fix>.`

    Args:
        code: Stable name of the rule, such as `windows.overlap_too_long`; other languages find their sentence by it.
        field: What the rule is about, by its name in the request or call; empty where it is about nothing named.
        rule: What the value must do, as a template: `{limit}` and the names of `values` are filled in,
            `{seed:name}` is what the face calls another field, `{seed:label}` the label of its control in quotes and
            `{field:label}` that of the field itself.
        got: The value, shown as JSON; a text is shown as it is.
        fix: What to do, a template without a full stop at its end.
        limit: The bound or the choices that the value breaks, if there are any.
        place: Where in the field it stands: the number of a list's item from 1, then the item's key.
        values: What the templates name besides.
        seen: What stands behind "got", a template such as `{got:.1f} GiB` or `{got:s}, which is empty`. Without a
            format a text is shortened.
        note: Sentences behind the others, a template.
        end: What stands behind `fix`.
    """

    code: str
    field: str = ""
    rule: str = ""
    got: object = None
    fix: str = ""
    limit: object = None
    place: Place = ()
    values: Mapping[str, object] = dataclasses.field(default_factory=dict)
    seen: str = "{got}"
    note: str = ""
    end: str = "."

    @property
    def template(self) -> str:
        """The English sentence with its places open."""
        subject = "{subject} must " if self.field or self.place else "must "
        return f"{subject}{self.rule}, got {self.seen}. {self.fix}{self.end}{f' {self.note}' if self.note else ''}"

    def of(self, name: str, *place: str | int) -> "Fault":
        """Return the fault about a field, its old field becoming the place."""
        inner = (*self.place,) if not self.field else (self.field, *self.place)
        return dataclasses.replace(self, field=name, place=(*place, *inner))


class Words:
    """Words of a face for fields, controls and values; here English."""

    def sentence(self, fault: Fault) -> str:
        """Render the whole refusal."""
        return self.filled(fault.template, fault)

    def text(self, refusal: str) -> str:
        """Render a refusal that is only text, such as another program's."""
        return refusal

    def subject(self, name: str, place: Place) -> str:
        """Render a refusal's beginning, such as `controls 1 weight`."""
        return " ".join(map(str, (self.name(name), *place) if name else place))

    def name(self, field: str) -> str:
        """Render a field's name in a sentence."""
        return field

    def label(self, field: str) -> str:
        """Render the label of a field's control, in quotes."""
        return f"'{_label(field)}'"

    def value(self, value: object, spec: str) -> str:
        """Format a value for a sentence; `spec` is as for `format`."""
        if isinstance(value, list):
            value = ", ".join(map(shown, value))
        return format(value, spec) if spec or isinstance(value, str) else shown(value)

    def filled(self, template: str, fault: Fault) -> str:
        """Fill a template with the values of a fault."""
        named_field = _FieldName(next((str(key) for key in fault.place[::-1] if isinstance(key, str)), fault.field))
        is_number = isinstance(fault.got, (int, float)) and not isinstance(fault.got, bool)
        got = fault.got if is_number else _Text(fault.got if isinstance(fault.got, str) else shown(fault.got))
        values = {"subject": self.subject(fault.field, fault.place), "field": named_field, "got": got}
        return _Filler(self).vformat(template, (), values | {"limit": fault.limit} | dict(fault.values))


class _Filler(Formatter):
    def __init__(self, words: Words) -> None:
        self._words = words

    def get_field(self, field_name: str, args: Sequence[object], kwargs: Mapping[str, object]) -> tuple[object, str]:  # noqa: ARG002 - as the base class has it
        return kwargs.get(field_name, _FieldName(field_name)), field_name

    def format_field(self, value: object, format_spec: str) -> str:
        if isinstance(value, _FieldName):
            if format_spec not in ("name", "label"):
                raise KeyError(str(value))  # a value that the fault has not
            return self._words.label(value) if format_spec == "label" else self._words.name(value)
        if isinstance(value, _Text) and not format_spec:
            return shown(str(value))
        return self._words.value(value, format_spec)


class _Text(str):
    """A value that is a text, of any length."""

    __slots__ = ()


class _FieldName(str):
    """A field that a template speaks of."""

    __slots__ = ()


ENGLISH = Words()


def _label(name: str) -> str:
    from pipelines.plan.request import field_label  # the request's own checks make faults

    return field_label(name)
