"""Find an entry by its id, or refuse it with nearest ones."""

import difflib
import re
from collections.abc import Sequence
from typing import TypeVar

from pipelines.plan.catalog_entries import Entry, FileFields
from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.faults import Fault
from pipelines.plan.model_files.foreign_files import identify_by_ending
from pipelines.plan.model_files.kinds import READERS
from pipelines.plan.model_files.models_folder import WEIGHTS_FILES, foreign_file
from pipelines.plan.settings import settings

_HUB_ID = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(/(?P<file>[\w./-]+\.(safetensors|ckpt|pth|pt|bin)))?")
_MOST_NAMED = 6

_AnyEntry = TypeVar("_AnyEntry", bound=Entry)


def find_entry(
    field: str, model_id: str, entries: Sequence[_AnyEntry], free: _AnyEntry | None, place: str = ""
) -> _AnyEntry:
    """Find the entry of this name, or else the free one."""
    entries_by_name: dict[str, _AnyEntry] = {}
    for entry in entries:
        for name in entry.names:
            entries_by_name.setdefault(name, entry)  # of two namesakes the catalog's wins
    slashed = model_id.replace("\\", "/")  # as programs on Windows write folders
    if model_id in entries_by_name or slashed in entries_by_name:
        return entries_by_name.get(model_id) or entries_by_name[slashed]
    if free is not None:
        return free
    _refuse_foreign(field, model_id, place)
    by_lower_case = {known_id.lower(): known_id for known_id in entries_by_name}
    near = difflib.get_close_matches(model_id.lower()[:300], by_lower_case, n=3, cutoff=0.4)
    nearest = dict.fromkeys(entries_by_name[by_lower_case[name]].names[0] for name in near)
    choices = tuple(nearest or (entry.names[0] for entry in entries[:_MOST_NAMED]))
    raise InvalidRequestError(
        Fault(
            code="catalog.unknown",
            field=field,
            rule="be one of the catalog",
            got=model_id[:60],
            seen="'{got:s}'{place:s}",
            fix="Choose {choices:s}",
            limit=choices,
            values={"choices": ", ".join(f"'{name}'" for name in choices), "place": place},
        )
    )


def _refuse_foreign(field: str, model_id: str, place: str) -> None:
    """Refuse a file whose name's ending is not one of weights."""
    folders = READERS[field][1] if field in READERS else ()
    name = model_id if identify_by_ending(model_id) else foreign_file(folders, model_id)
    if name and (identified := identify_by_ending(name)):
        state, advice = identified
        raise InvalidRequestError(
            Fault(
                code=state.code,
                field=field,
                rule="be a file of weights ({endings})",
                got=name[-60:],
                seen=f"'{{got:s}}'{{place:s}}, which is {state.words}",
                fix=f"{advice}, or choose another",
                values={**state.values, "endings": ", ".join(WEIGHTS_FILES), "place": place},
            )
        )


def hub_fields(model_id: str) -> FileFields | None:
    """Parse `owner/repo` or `owner/repo/file`, if the operator allows any."""
    match = _HUB_ID.fullmatch(model_id)
    if not match or ".." in model_id or not settings().any_model:
        return None
    return {
        "id": model_id,
        "label": (match["file"] or match["repo"]).rsplit("/", 1)[-1],
        "description": "A model of the Hub that the operator named.",
        "source": "hub",
        "repo": match["repo"],
        "file": match["file"],
        "licence": "See the repository",
    }


def hub_entry(kind: type[_AnyEntry], model_id: str) -> _AnyEntry | None:
    """Build an entry of a Hub model, if the operator allows any."""
    fields = hub_fields(model_id)
    return kind(**fields) if fields else None
