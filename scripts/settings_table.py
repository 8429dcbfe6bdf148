"""Write the table of the operator's settings into a Markdown file: `python -m scripts.settings_table README.md`."""

import sys
from pathlib import Path
from typing import Any, get_args

from annotated_types import Ge, Le
from pydantic.fields import FieldInfo

from pipelines.plan.settings import Settings

BEGIN, END = "<!-- settings: begin -->", "<!-- settings: end -->"


def settings_table() -> str:
    """The operator's settings as a Markdown table."""
    rows = ["| variable | default | range | unit | meaning |", "|---|---|---|---|---|"]
    for field in Settings.model_fields.values():
        extra: Any = field.json_schema_extra
        cells = (f"`{field.alias}`", _default(field.default), _range(field), extra["unit"], field.description)
        rows.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(rows)


def _default(value: object) -> str:
    if value is True:
        return "public"
    return "none" if value in (None, "") else f"{value:g}" if isinstance(value, (int, float)) else str(value)


def _range(field: FieldInfo) -> str:
    low = next((rule.ge for rule in field.metadata if isinstance(rule, Ge)), None)
    high = next((rule.le for rule in field.metadata if isinstance(rule, Le)), None)
    if low is not None:
        return f"{low:,} to {high:,}"
    if field.annotation is bool:
        return "public, private"
    return ", ".join(name for name in _names(field.annotation))


def _names(annotation: object) -> list[str]:
    """The choices in an annotation, with or without None."""
    return [name for part in get_args(annotation) for name in ([part] if isinstance(part, str) else _names(part))]


def with_settings(text: str) -> str:
    """The text with the table between its markers brought up to date."""
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{settings_table()}\n{END}{rest.split(END)[1]}"


def main() -> None:
    for name in sys.argv[1:]:
        path = Path(name)
        path.write_text(with_settings(path.read_text()))


if __name__ == "__main__":
    main()
