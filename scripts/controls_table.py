"""Write the table of controls into a Markdown file: `python -m scripts.controls_table README.md`."""

import sys
from pathlib import Path

from pydantic_core import PydanticUndefined

from api.fields import MODEL_FIELDS
from pipelines.request import GenerationRequest, field_bounds, field_label
from pipelines.schedules import Keys, schedule_text

BEGIN, END = "<!-- controls: begin -->", "<!-- controls: end -->"


def controls_table() -> str:
    """The fields of a request as a Markdown table."""
    rows = ["| name | on the page | default | range | meaning |", "|---|---|---|---|---|"]
    for name, field in GenerationRequest.model_fields.items():
        low, high = field_bounds(name)
        bounds = f"{low:,} to {high:,}" if low is not None and high is not None else ""
        if isinstance(field.annotation, type) and hasattr(field.annotation, "__members__"):
            bounds = ", ".join(field.annotation)
        rows.append(f"| `{name}` | {field_label(name)} | {_default(name)} | {bounds} | {field.description} |")
    return "\n".join(rows)


def _default(name: str) -> str:
    field = GenerationRequest.model_fields[name]
    default = field.default
    if field.annotation == Keys:
        return str(schedule_text(default))
    if name in MODEL_FIELDS:
        return "model"
    if name == "base_model":
        return "demo; SD 1.5 with a GPU"
    if default is PydanticUndefined:
        return "-1"
    if isinstance(default, tuple):
        return ", ".join(default) or "empty"
    return str(default) or "empty"


def with_controls(text: str) -> str:
    """The text with the table between its markers brought up to date."""
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{controls_table()}\n{END}{rest.split(END)[1]}"


def main() -> None:
    for name in sys.argv[1:]:
        path = Path(name)
        path.write_text(with_controls(path.read_text()))


if __name__ == "__main__":
    main()
