"""Write what the code knows into docs/api.md: `python -m scripts.api_docs docs/api.md`.

Prose stands in the page itself. Between `<!-- made: … -->` and `<!-- /made -->` stand an example of docs/examples,
which tests run, or tables of parameters; these are made here.
"""

import inspect
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from gradio.utils import get_function_description
from pydantic import BaseModel

from api.web.endpoint import COUNT_HELP, PRESET_HELP, SOURCE_FRAMES_HELP, clip_signature, preprocess_endpoint
from api.web.facts import list_fields, list_models
from api.web.field_facts import FieldFacts, choices_of, field_facts, type_in_words
from api.web.tools import clip_tool, estimate_clip
from pipelines.plan.presets import PRESETS
from pipelines.plan.request import field_label
from pipelines.plan.request_fields.units import ControlUnit, ImagePrompt
from pipelines.plan.schedules import schedule_text
from pipelines.plan.settings import MAX_CLIPS
from studio.control_preview import preview_clip
from studio.engine import make_clip
from studio.field_groups import GROUPS, IN_SIGHT
from studio.fields import FIELDS
from studio.modes import SOURCE_FRAMES, Mode

EXAMPLES = Path(__file__).resolve().parents[1] / "docs" / "examples"
_MADE = re.compile(r"(<!-- made: (\w+) ?([\w.]*) -->\n).*?(<!-- /made -->)", re.DOTALL)
_LANGUAGES = {".py": "python", ".sh": "sh"}
_HEAD = ("| name | on the page | type | default | range | meaning |", "|---|---|---|---|---|---|")


def with_made(text: str) -> str:
    """The page with everything between its markers brought up to date."""

    def made(found: re.Match[str]) -> str:
        begin, kind, name, end = found.groups()
        return f"{begin}{_KINDS[kind](name)}\n{end}"

    return _MADE.sub(made, text)


def example(name: str) -> str:
    """An example as a block of code."""
    path = EXAMPLES / name
    return f"```{_LANGUAGES[path.suffix]}\n{path.read_text()}```"


def groups(_: str) -> str:
    """The fields that words alone need, under the headings that the page has."""
    parts = [_table(_row(name, field_facts(name)) for name in IN_SIGHT)]
    for heading, names in GROUPS.items():
        parts += [f"\n### {heading}\n", _table(_row(name, field_facts(name)) for name in names)]
    return "\n".join(parts)


def more(mode_name: str) -> str:
    """The parameters that an endpoint for clips has beside those of words alone, and those with another default."""
    mode = Mode(mode_name)
    rows = [_row(name, field_facts(name)) for name in mode.fields if name not in Mode.TXT2VID.fields]
    if mode is Mode.VID2VID:
        rows.append(_row(SOURCE_FRAMES, FieldFacts("list of files", "none", "", SOURCE_FRAMES_HELP)))
        rows.append(_row("num_frames", FieldFacts("whole number", "0", "0 to 10,000", "0 takes the source's length.")))
        rows.append(_row("fps", FieldFacts("number or text", "none", "", "Without it the source's exact rate.")))
    return _table(rows)


def beside(_: str) -> str:
    """The parameters of every endpoint for clips that stand under none of the page's headings."""
    shape = clip_signature(Mode.TXT2VID).parameters
    helps = {"batch_count": (COUNT_HELP, f"1 to {MAX_CLIPS}")}
    helps["preset"] = (PRESET_HELP, ", ".join(preset.id for preset in PRESETS))
    facts = {
        name: FieldFacts(type_in_words(shape[name].annotation), str(shape[name].default or "none"), allowed, text)
        for name, (text, allowed) in helps.items()
    }
    facts = {name: field_facts(name) for name in Mode.TXT2VID.fields if name not in FIELDS} | facts
    return _table(_row(name, fact) for name, fact in facts.items())


def unit(name: str) -> str:
    """The fields of a control unit or an image prompt."""
    rows = ["| name | on the page | default | meaning |", "|---|---|---|---|"]
    for key, field in _UNITS[name].model_fields.items():
        assert isinstance(field.json_schema_extra, dict)
        default = field.get_default(call_default_factory=True)
        shown = "required" if field.is_required() else schedule_text(default) if key == "weight" else default
        rows.append(f"| `{key}` | {field.json_schema_extra['label']} | {_shown(shown)} | {field.description} |")
    return "\n".join(rows)


def function(name: str) -> str:
    """What an endpoint does that takes no fields of a request by themselves, and its parameters."""
    fn = _FUNCTIONS[name]
    description, helps, returns = get_function_description(fn)
    rows = [
        f"| `{one.name}` | {type_in_words(one.annotation)} | {_shown(one.default)} | {choices_of(one.annotation)} | "
        f"{helps[one.name]} |"
        for one in inspect.signature(fn).parameters.values()
    ]
    head = ["| name | type | default | range | meaning |", "|---|---|---|---|---|"]
    return "\n".join([description, "", *([*head, *rows, ""] if rows else []), f"Returns: {' '.join(returns)}"])


def _table(rows: Iterable[str]) -> str:
    return "\n".join([*_HEAD, *rows])


def _row(name: str, facts: FieldFacts) -> str:
    label = field_label(name) if name in Mode.VID2VID.fields + Mode.IMG2VID.fields else ""
    return f"| `{name}` | {label} | {facts.kind} | {facts.default} | {facts.allowed} | {facts.meaning} |"


def _shown(default: object) -> str:
    if default is inspect.Parameter.empty:
        return "required"
    return "none" if default in (None, "", (), {}) else str(default)


_UNITS: dict[str, type[BaseModel]] = {"control": ControlUnit, "image": ImagePrompt}
_FUNCTIONS: dict[str, Callable[..., object]] = {
    "preprocess": preprocess_endpoint(preview_clip),
    "models": list_models,
    "fields": list_fields,
    "make_clip": clip_tool(make_clip),
    "estimate_clip": estimate_clip,
}
_KINDS: dict[str, Callable[[str], str]] = {
    "example": example,
    "groups": groups,
    "more": more,
    "beside": beside,
    "unit": unit,
    "function": function,
}


def main() -> None:
    for name in sys.argv[1:]:
        path = Path(name)
        path.write_text(with_made(path.read_text()))


if __name__ == "__main__":
    main()
