"""Plan and generate grids: a clip for every combination of field values.

A request is one clip, as in `studio.batch`; a grid is a plan of requests, all of them checked before the first is made,
and their clips are put side by side in one.
"""

import json
import re
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import product
from pathlib import Path

from pipelines.plan.choices import OutputFormat
from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.events import Clip, Event, Progress, Stage
from pipelines.plan.faults import Fault
from pipelines.plan.notes import Note
from pipelines.plan.request import INPUT_FIELDS, GenerationRequest, field_label
from studio.engine import MakeClip, build_request
from studio.fields import FIELDS, FieldValues, json_type

MAX_CELLS = 64
MAX_AXES = 3
SEARCH_REPLACE = "prompt_sr"
"""An axis that is no field: its first value is looked for in the prompt, and the others take its place."""

_PLAIN = (int, float, float | str, bool)
_TEXTS = ("prompt", "negative_prompt", SEARCH_REPLACE)
_SHOWN = 60
_DIGITS = r"\d{1,12}(?:\.\d{1,6})?"
_RANGE = re.compile(rf"(-?{_DIGITS})\s*-\s*(-?{_DIGITS})\s*(?:\(\s*([+-]{_DIGITS})\s*\)|\[\s*(\d{{1,4}})\s*\])?")
_READABLE = (OutputFormat.PNG, OutputFormat.MP4, OutputFormat.GIF)  # the least lossy first

AXIS_FIELDS: tuple[str, ...] = (
    *(name for name in FIELDS if name not in ("formats", "extended_from")),
    *(name for name in INPUT_FIELDS if json_type(name) in _PLAIN),
    SEARCH_REPLACE,
)
"""What may differ from cell to cell."""


@dataclass(frozen=True, slots=True)
class Axis:
    """A field and the values it takes, as text."""

    field: str
    values: tuple[str, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of the values, with the field's label except for texts."""
        label = axis_label(self.field)
        return self.values if self.field in _TEXTS else tuple(f"{label} {value}" for value in self.values)

    def apply(self, values: Mapping[str, object], value: str) -> FieldValues:
        """Set one value of this axis in the request's fields."""
        if self.field != SEARCH_REPLACE:
            return {**values, self.field: value}
        prompt, search = str(values.get("prompt") or ""), self.values[0]
        if search not in prompt:
            rule, fix = "begin with words of the prompt", "Write the words to replace first"
            got = Fault("grid.not_in_prompt", SEARCH_REPLACE, rule, search, fix, seen="{got}, which is not in it")
            raise InvalidRequestError(got)
        return {**values, "prompt": prompt.replace(search, value)}


@dataclass(frozen=True, slots=True)
class GridPlan:
    """A grid that can be made.

    Args:
        axes: Columns, rows, and blocks of rows.
        requests: Row by row.
    """

    axes: tuple[Axis, ...]
    requests: tuple[GenerationRequest, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """Labels above the columns."""
        return self.axes[0].labels

    @property
    def rows(self) -> tuple[str, ...]:
        """Labels beside the rows; the last axis changes slowest."""
        return tuple(" · ".join(labels) for labels in product(*(axis.labels for axis in self.axes[:0:-1])))


def axis_label(field: str) -> str:
    """Label an axis as the page does."""
    return "Prompt S/R" if field == SEARCH_REPLACE else field_label(field)


def parse_axis(text: str) -> Axis:
    """Read `field: values`, as the command line takes it.

    Raises:
        InvalidRequestError: As `read_axis`.

    Example:
        >>> parse_axis("guidance_scale: 3, 7.5-8.5 (+0.5)")
        Axis(field='guidance_scale', values=('3', '7.5', '8', '8.5'))
    """
    field, colon, values = text.partition(":")
    if not colon:
        rule, fix = "be a field, a colon and values", "Write guidance_scale: 3, 7.5"
        raise InvalidRequestError(Fault("grid.no_axis", "grid", rule, text, fix))
    return read_axis(field.strip().replace("-", "_"), values)


def read_axis(field: str, text: str) -> Axis:
    """Read the values of an axis.

    Args:
        field: One of `AXIS_FIELDS`.
        text: Values with commas between, or with | between if they have commas themselves, as those of prompts
            always have. Of numbers also 1-4, each; 1-9 (+2), with a step; 1-10 [4], so many from end to end.

    Raises:
        InvalidRequestError: No such field, no value, one twice, or too many.

    Example:
        >>> read_axis("seed", "20, 1-10 [4]").values
        ('20', '1', '4', '7', '10')
    """
    if field not in AXIS_FIELDS:
        rule, slots = "name a field of the request or {replace}", {"replace": SEARCH_REPLACE}
        raise InvalidRequestError(Fault("grid.unknown_field", "grid", rule, field, "Choose another", values=slots))
    separator = "|" if "|" in text or field in _TEXTS else ","
    parts = [part.strip() for part in text.split(separator)]
    ranged = field != SEARCH_REPLACE and json_type(field) in _PLAIN
    values = tuple(value for part in parts for value in (_expand_range(field, part) if ranged else [part]))
    # Only texts may be empty: a prompt with a word left out.
    if not text.strip() or (field not in _TEXTS and "" in values):
        rule, slots = "have values of {axis}", {"axis": field}
        raise InvalidRequestError(Fault("grid.no_values", "grid", rule, text, "Write 1, 2 or 1-4", values=slots))
    _check_number(field, len(values))
    twice = sorted(value for value in set(values) if values.count(value) > 1)
    if twice:
        rule, slots = "name each value of {axis} once", {"axis": field, "value": twice[0][:_SHOWN]}
        got = f"{twice[0][:_SHOWN]} twice"
        raise InvalidRequestError(Fault("grid.value_twice", "grid", rule, got, "Leave one out", values=slots))
    return Axis(field, values)


def plan_grid(values: Mapping[str, object], axes: Sequence[Axis]) -> GridPlan:
    """Validate values and build every cell's request before any is generated.

    A seed of -1 is drawn once for all cells, unless the seed is an axis.

    Args:
        values: The request's fields.
        axes: One to three: columns, rows, blocks of rows.

    Raises:
        InvalidRequestError: There are no axes, too many or the same twice; too many cells; or a value breaks its
            field's rule: the text names the cell.
    """
    names = [axis.field for axis in axes]
    if not 1 <= len(names) <= MAX_AXES or len(set(names)) < len(names):
        got = ", ".join(names) or "none"
        rule, fix = "have 1 to {limit} different axes", "Change the axes"
        raise InvalidRequestError(Fault("grid.axes", "grid", rule, got, fix, limit=MAX_AXES))
    count = 1
    for axis in axes:
        count *= len(axis.values)
    if count > MAX_CELLS:
        rule, fix = "have at most {limit} clips", "Name fewer values"
        raise InvalidRequestError(Fault("grid.too_many_clips", "grid", rule, count, fix, limit=MAX_CELLS))
    common = dict(values)
    formats = common.get("formats")
    if isinstance(formats, Sequence) and formats and not set(formats) & set(_READABLE):
        # The grid is put together from the clips' files.
        common["formats"] = (OutputFormat.MP4, *formats)
    requests: list[GenerationRequest] = []
    for cell_values in product(*(axis.values for axis in reversed(axes))):
        request = _request(common, list(zip(axes, reversed(cell_values), strict=True)))
        if "seed" not in names:
            common["seed"] = request.seed
        requests.append(request)
    return GridPlan(tuple(axes), tuple(requests))


def make_grid(
    make_clip: MakeClip, plan: GridPlan, folder: Path, cells: Path, *, stem: str = "grid"
) -> Generator[tuple[int, Event], None, None]:
    """Generate the clip of every cell, then assemble them side by side.

    Args:
        make_clip: The engine.
        plan: What to make.
        folder: Existing, empty; for the grid's own files and what is half done.
        cells: Existing; finished clips are put there at once and stay, whatever becomes of the others.
        stem: Name of the grid's files without ending.

    Yields:
        Which cell, from 1, and what it tells; behind the last cell, what the grid itself tells: its `Clip` has the
        clip's files and then the picture.

    Raises:
        UserError: As the engine's.
    """
    clips: list[Clip] = []
    for number, request in enumerate(plan.requests, start=1):
        work = folder / f"{number:02}"
        work.mkdir()
        with closing(make_clip(request, work)) as events:
            for event in events:
                if isinstance(event, Clip):
                    files = tuple(path.replace(cells / f"cell-{number:02}{path.suffix}") for path in event.files)
                    clips.append(replace(event, files=files))
                    yield number, clips[-1]
                else:
                    yield number, event
    for event in _assemble(plan, clips, folder, stem):
        yield len(clips) + 1, event


def _assemble(plan: GridPlan, clips: Sequence[Clip], folder: Path, stem: str) -> Generator[Event, None, None]:
    from media.grid_clip import write_grid  # Pillow, numpy and ffmpeg; plans need none of them

    about = {
        "grid": [{"field": axis.field, "values": axis.values} for axis in plan.axes],
        "cells": [json.loads(clip.recipe) for clip in clips],
    }
    recipe = json.dumps(about, ensure_ascii=False)
    writing = write_grid(
        [_readable(clip.files) for clip in clips],
        folder,
        columns=plan.columns,
        rows=plan.rows,
        stem=stem,
        formats=plan.requests[0].formats,
        recipe=recipe,
    )
    total = 0
    with closing(writing):
        while True:
            try:
                done, total = next(writing)
            except StopIteration as finished:
                warnings = tuple(dict.fromkeys(warning for clip in clips for warning in clip.warnings))
                yield Clip(finished.value, recipe, total, sum(clip.seconds for clip in clips), warnings)
                return
            yield Progress(
                Stage.DECODE,
                done,
                total,
                note=Note(
                    "progress.side_by_side",
                    "Putting the clips side by side: {done} of {total} frames",
                    done=done,
                    total=total,
                ),
            )


def _readable(files: Iterable[Path]) -> Path:
    by_suffix = {path.suffix: path for path in files}
    return next(by_suffix[suffix] for suffix in (".zip", ".mp4", ".gif") if suffix in by_suffix)


def _request(common: Mapping[str, object], cell: Sequence[tuple[Axis, str]]) -> GenerationRequest:
    where = ", ".join(f"{axis.field} {value[:_SHOWN]}" for axis, value in cell)
    values = dict(common)
    try:
        for axis, value in sorted(cell, key=lambda pair: pair[0].field == SEARCH_REPLACE):  # in the cell's own prompt
            values = axis.apply(values, value)
        return build_request(**values)
    except InvalidRequestError as err:
        raise InvalidRequestError(_cell_fault(err, where)) from err


def _cell_fault(err: InvalidRequestError, where: str) -> Fault | str:
    """Extend a clip's fault with its cell in the grid."""
    if err.fault is None:
        return f"{err} This is about the grid's clip with {where}."
    values = {**err.fault.values, "cell": where}
    return replace(err.fault, note="This is about the grid's clip with {cell}.", values=values)


def _expand_range(field: str, text: str) -> list[str]:
    """Expand one part of a value list, which may be a range."""
    match = _RANGE.fullmatch(text)
    if not match:
        return [text]
    first, last = Decimal(match[1]), Decimal(match[2])
    if match[4]:
        count = int(match[4])
        _check_number(field, count)
        values = [first + (last - first) * place / max(1, count - 1) for place in range(count)]
        whole = json_type(field) is int
        return [str(round(value)) if whole else f"{float(value):.6g}" for value in values]
    step = Decimal(match[3] or (1 if last >= first else -1))
    if not step or (last - first) / step < 0:
        slots = {"first": str(first), "last": str(last), "axis": field, "step": str(step)}
        rule = "lead from {first} to {last} of {axis}"
        raise InvalidRequestError(Fault("grid.step", "grid", rule, f"a step of {step}", "Change it", values=slots))
    count = int((last - first) / step) + 1
    _check_number(field, count)
    return [f"{(first + place * step).normalize():f}" for place in range(count)]


def _check_number(field: str, count: int) -> None:
    if not 1 <= count <= MAX_CELLS:
        rule, values = "have 1 to {limit} values of {axis}", {"axis": field}
        raise InvalidRequestError(
            Fault("grid.too_many_values", "grid", rule, count, "Name fewer", limit=MAX_CELLS, values=values)
        )
