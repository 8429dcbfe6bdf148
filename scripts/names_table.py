"""Write what other programs call our fields into a page: `python -m scripts.names_table docs/names.md`."""

import sys
from collections.abc import Iterable
from pathlib import Path

from api.recipes.comfy_names import WIDGETS
from api.recipes.webui_args import ARGUMENT_FIELDS
from api.recipes.webui_names import ARGUMENT_LABELS, CLOSED_LOOPS, CONTROL_MODULES, REVERSES
from pipelines.plan.request import field_label
from pipelines.plan.request_fields.units import ControlUnit, ImagePrompt

_UNITS = {"controls": ControlUnit, "image_prompts": ImagePrompt}
_PAGE = """# Called X there, Y here

Made from the code by `make docs`: what reads other programs' files and calls, and the fields of a request. The name in
`code` is the same on the command line (with hyphens), in recipes and at the endpoints.

## From sd-webui-animatediff

Its arguments are read from pictures, clips and texts that carry them, and at [`/sdapi`](sdapi.md).

| there, on the page | there, in files and calls | here, on the page | here |
|---|---|---|---|
{arguments}

| its value | here |
|---|---|
{values}

| its preprocessor | here |
|---|---|
{modules}

## From ComfyUI-AnimateDiff-Evolved

Graphs are not read; this says which field a widget is.

| node | widget | here, on the page | here | what else differs |
|---|---|---|---|---|
{widgets}
"""


def names_page() -> str:
    """The whole page."""
    arguments = [
        f"| {ARGUMENT_LABELS[key]} | `{key}` | {field_label(field)} | `{field}` |"
        for key, field in ARGUMENT_FIELDS.items()
    ]
    values = [f"| `closed_loop`: {theirs} | `closed_loop`: {ours.value} |" for theirs, ours in CLOSED_LOOPS.items()]
    values += [
        f"| `reverse`: {', '.join(map(str, sorted(theirs)))} | `reverse`: {ours.value} |"
        for theirs, ours in REVERSES.items()
    ]
    modules = [f"| {theirs} | {_module(*ours)} |" for theirs, ours in CONTROL_MODULES.items()]
    widgets = [f"| {one.node} | {one.name} | {label_of(one.field)} | `{one.field}` | {one.note} |" for one in WIDGETS]
    return _PAGE.format(
        arguments=_lines(arguments), values=_lines(values), modules=_lines(modules), widgets=_lines(widgets)
    )


def label_of(field: str) -> str:
    """What the page calls a field, or a part of a unit as `controls weight`.

    Example:
        >>> label_of("num_frames"), label_of("controls key_frames")
        ('Frames', 'Control units: Key frames')
    """
    name, _, part = field.partition(" ")
    if not part:
        return field_label(name)
    extra = _UNITS[name].model_fields[part].json_schema_extra
    assert isinstance(extra, dict)
    return f"{field_label(name)}: {extra['label']}"


def _module(name: str, options: dict[str, float]) -> str:
    return " ".join([f"`{name}`", *(f"with {option} {value:g}" for option, value in options.items())])


def _lines(rows: Iterable[str]) -> str:
    return "\n".join(rows)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(names_page())
