"""Read a batch from a JSON Lines file, one clip per line."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from api.command_line.clip_requests import build_one, clip_values, is_seed_open
from api.command_line.clips import Job, done_seed
from api.command_line.outputs import LINE, Output, check_places, formats_of, line_pattern
from api.command_line.terminal import warn
from media.letters import decode_text
from pipelines.plan.errors import InvalidRequestError, UserError
from pipelines.plan.faults import Fault
from studio.fields import FieldValues

STANDARD_INPUT = "-"
_MOST_FAULTS = 20
_SHOWN = 60


def read_batch(name: str) -> list[tuple[int, str]]:
    """Read a batch file's non-empty lines, numbered from 1.

    Args:
        name: Its path; "-" for standard input.

    Raises:
        UserError: There is no such file, it is no text, or has no line.
    """
    try:
        data = sys.stdin.buffer.read() if name == STANDARD_INPUT else Path(name).read_bytes()
        lines = _decode(data).split("\n")
    except OSError as err:
        raise UserError(
            Fault(
                code="batch.unreadable",
                field="batch",
                rule="be a file that can be read",
                got=name,
                fix="Check the path",
                values={"why": str(err.strerror)},
                seen="{got:s} ({why:s})",
            )
        ) from err
    except UnicodeDecodeError as err:
        raise UserError(
            Fault(
                code="batch.no_utf8",
                field="batch",
                rule="be text in UTF-8",
                got=err.start,
                fix="Save it anew",
                seen="byte {got:,} that is none",
            )
        ) from err
    numbered_lines = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if not numbered_lines:
        raise UserError(
            Fault(
                code="batch.empty",
                field="batch",
                rule="have a line",
                got="none",
                fix='Write {{"prompt": "a red circle"}}',
            )
        )
    return numbered_lines


def _decode(data: bytes) -> str:
    """Decode UTF-8, or what Windows' shell writes behind `>`."""
    text, is_certain = decode_text(data) if data.startswith((b"\xff\xfe", b"\xfe\xff")) else (None, False)
    return text if text and is_certain else data.decode("utf-8-sig")


def plan_batch(
    lines: Sequence[tuple[int, str]], defaults: Mapping[str, object], *, skip_done: bool = False
) -> list[Job]:
    """Check all lines and build every clip's request.

    A line is read as if its members were options behind those of the command line: what it says takes the place of
    the same option, null takes an option away, and a field that is given anywhere wins over presets and recipes.

    Args:
        lines: Their numbers and texts.
        defaults: What the options say of all clips, by name; paths, as those in the lines, from the current folder.
        skip_done: Mark the clips that are there.

    Raises:
        InvalidRequestError: Lines break rules; its text has a line for each, with its number.
    """
    jobs: list[Job] = []
    faults: list[str] = []
    line_of_path: dict[Path, int] = {}
    for line, text in lines:
        try:
            job = _job(line, _members(text), defaults, skip_done=skip_done)
            for output in job.outputs:
                _take_name(output, line, line_of_path)
            jobs.append(job)
        except UserError as err:
            faults.append(f"line {line}: {err}")
    if faults:
        num_hidden = len(faults) - _MOST_FAULTS
        raise InvalidRequestError(
            "\n".join(faults[:_MOST_FAULTS] + ([f"… and {num_hidden:,} more lines."] if num_hidden > 0 else []))
        )
    return jobs


def shared_folders(output: Sequence[str]) -> Iterator[Path]:
    """Yield the folders that `-o` names; they may not exist yet."""
    for text in output:
        if line_pattern(text) != text and Output.parse(text).is_folder:
            yield Path(line_pattern(text)).parent


def _members(text: str) -> FieldValues:
    try:
        members = json.loads(text)
    except (ValueError, RecursionError) as err:
        raise InvalidRequestError(_no_json(text, err)) from err
    if not isinstance(members, dict):
        raise InvalidRequestError(
            Fault(
                code="batch.line_no_object",
                rule="be a JSON object",
                got=text.strip()[:_SHOWN],
                fix='Write {{"prompt": "…"}}',
            )
        )
    for name in ("formats", "count", "seeds", "grid"):
        if name in members:
            of_formats = name == "formats"
            raise InvalidRequestError(
                Fault(
                    code="batch.formats_in_line" if of_formats else "batch.several_in_line",
                    field=name,
                    rule="not be in a line",
                    got=members[name],
                    fix="The names of outputs say the formats" if of_formats else "A line is one clip",
                )
            )
    return members


def _no_json(text: str, err: Exception) -> Fault:
    is_located = isinstance(err, json.JSONDecodeError)
    return Fault(
        code="batch.line_no_json",
        rule="be JSON",
        got=text.strip()[:_SHOWN],
        fix="Put the line right",
        values={"why": err.msg, "column": err.colno} if isinstance(err, json.JSONDecodeError) else {},
        seen="{got} ({why:s} at column {column})" if is_located else "{got}",
    )


def _job(line: int, members: Mapping[str, object], defaults: Mapping[str, object], *, skip_done: bool) -> Job:
    options = {name: value for name, value in {**defaults, **members}.items() if value is not None}
    if isinstance(options.get("recipe"), Mapping):
        options["recipe"] = json.dumps(options["recipe"])
    names = _names(options.pop("output", None), is_own="output" in members)
    outputs = [Output.parse(name.replace(LINE, f"{line:04}")) for name in names]
    values = clip_values(options, lambda text: warn(f"line {line}: {text}"))
    request = build_one(values | {"formats": formats_of(outputs)})
    outputs = [output.with_seed(request.seed) for output in outputs]
    done = done_seed(request, outputs, any_seed=is_seed_open(values)) if skip_done else None
    if done is None:
        check_places(outputs)
    return Job(request, tuple(outputs), line, done)


def _names(output: object, *, is_own: bool) -> list[str]:
    """List a line's file names; shared ones get distinguishing placeholders."""
    names = [output] if isinstance(output, str) else output
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name for name in names):
        raise InvalidRequestError(
            Fault(
                code="batch.no_output",
                field="output",
                rule="be a name, or a list of names",
                got="none" if output is None else output,
                fix="Write -o clips/, or output into the line",
            )
        )
    return names if is_own else [line_pattern(name) for name in names]


def _take_name(output: Output, line: int, line_of_path: dict[Path, int]) -> None:
    other = line_of_path.setdefault(output.path.resolve(), line)
    if other != line:
        raise InvalidRequestError(
            Fault(
                code="batch.output_of_another_line",
                field="output",
                rule="differ from that of line {other}",
                got=str(output.path),
                fix="Use {number} in the name",
                values={"other": other, "number": LINE},
                seen="{got:s}",
            )
        )
