"""The command line: request fields as options, a clip as a file."""

import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from api.command_line.batch_file import plan_batch, read_batch, shared_folders
from api.command_line.clip_requests import (
    build_one,
    build_several,
    check_request,
    clip_values,
    is_seed_open,
    wants_draft,
)
from api.command_line.clips import EXIT_FAILED, EXIT_INTERRUPTED, Job, done_seed, make_clips, make_grid_clip
from api.command_line.estimates import report_estimates
from api.command_line.instead import make_preview, make_test_clip, report_names
from api.command_line.outputs import LINE, Output, check_places, ensure_folder, formats_of
from api.command_line.parser import EXIT_USAGE, Command, parse
from api.command_line.terminal import Results, warn
from pipelines.plan.choices import OutputFormat
from pipelines.plan.draft import draft_of
from pipelines.plan.errors import InvalidRequestError, UserError
from pipelines.plan.faults import Fault
from pipelines.plan.request import GenerationRequest
from pipelines.plan.settings import Settings, process_settings, use_settings
from studio.control_preview import MakePreview, preview_clip
from studio.engine import MakeClip, make_clip
from studio.fields import FieldValues
from studio.grid import GridPlan, parse_axis, plan_grid


def main(
    arguments: Sequence[str] | None = None, *, engine: MakeClip = make_clip, preview: MakePreview = preview_clip
) -> int:
    """Run the command.

    Args:
        arguments: The words after the program's name; `sys.argv` if not given.
        engine: Makes clips.
        preview: Makes what a control unit would follow.

    Returns:
        The exit code: 0; 2 where nothing was begun, for what the caller can put right; 1 where a clip could not be
        made, or an estimate doesn't fit; 130 after Ctrl-C.
    """
    try:
        command = parse(arguments)
        with use_settings(_settings_of(command)):
            return _run(command, engine, preview)
    except UserError as err:
        warn(str(err))
        return EXIT_USAGE
    except KeyboardInterrupt:
        warn("Stopped; nothing was written.")
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # who reads along has seen enough, as `head` has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED


def _run(command: Command, engine: MakeClip, preview: MakePreview) -> int:
    results = Results(as_json=command.json)
    if command.list:
        return report_names(command.list, results)
    if command.self_test:
        return make_test_clip(engine, results)
    if command.batch is not None:
        return _run_batch(command, engine, results)
    if command.preprocess:
        return _run_preprocessor(command, preview, results)
    if command.grid:
        return _run_grid(command, engine, results)
    return _run_clips(command, engine, results)


def _run_clips(command: Command, engine: MakeClip, results: Results) -> int:
    """Generate one clip, or one of each seed."""
    outputs = _outputs(command)
    values = clip_values(_with_seeds(command), warn) | _formats(outputs)
    requests = build_several(values, command.count)
    if command.estimate:
        return _report_estimates([(None, request) for request in requests], results)
    several = len(requests) > 1
    jobs = []
    for request in requests:
        targets = tuple(output.with_seed(request.seed, is_one_of_several=several) for output in outputs)
        done = done_seed(request, targets, any_seed=is_seed_open(values)) if command.skip_done else None
        if done is None:
            check_places(targets)
        jobs.append(Job(request, targets, done_seed=done))
    return make_clips(jobs, engine, results)


def _run_grid(command: Command, engine: MakeClip, results: Results) -> int:
    outputs = _outputs(command)
    values = clip_values(_with_seeds(command), warn) | _formats(outputs)
    is_draft = wants_draft(values)
    plan: GridPlan = plan_grid(
        {name: value for name, value in values.items() if name != "draft" or not is_draft},
        [parse_axis(axis) for axis in command.grid],
    )
    if is_draft:
        plan = replace(plan, requests=tuple(draft_of(request) for request in plan.requests))
    for request in plan.requests:
        check_request(request)
    if command.estimate:
        return _report_estimates([(None, request) for request in plan.requests], results)
    check_places(outputs)
    return make_grid_clip(plan, outputs, engine, results)


def _run_batch(command: Command, engine: MakeClip, results: Results) -> int:
    lines = read_batch(str(command.batch))
    output = command.output or ([f"{LINE}.mp4"] if command.estimate else [])
    defaults = {**command.clip, "output": output} if output else command.clip
    with ExitStack() as folders:
        for folder in shared_folders(output):
            folders.enter_context(ensure_folder(folder))
        jobs = plan_batch(lines, defaults, skip_done=command.skip_done)
        if command.estimate:
            return _report_estimates([(job.line, job.request) for job in jobs if job.done_seed is None], results)
        return make_clips(jobs, engine, results, goes_on=True)


def _run_preprocessor(command: Command, preview: MakePreview, results: Results) -> int:
    """Write the first control unit's preview in place of the clip."""
    outputs = _outputs(command)
    if formats_of(outputs) != (OutputFormat.MP4,):
        raise InvalidRequestError(
            Fault(
                code="preview.output_no_mp4",
                field="output",
                rule="be one .mp4 with --preprocess",
                got="another",
                fix="Write -o control.mp4",
            )
        )
    request = build_one(clip_values(_with_seeds(command), warn))
    if not request.controls:
        raise InvalidRequestError(
            Fault(
                code="preview.no_control",
                field="control",
                rule="be given with --preprocess",
                got="none",
                fix="Write --control 'model=…'",
            )
        )
    check_places(outputs)
    return make_preview(request, outputs[0], preview, results)


def _report_estimates(requests: Sequence[tuple[int | None, GenerationRequest]], results: Results) -> int:
    return 0 if report_estimates(requests, results) else EXIT_FAILED


def _outputs(command: Command) -> list[Output]:
    """Read where files go; optional only where none is made."""
    if not command.output and not command.estimate:
        raise InvalidRequestError(
            Fault(
                code="output.missing",
                field="output",
                rule="be given",
                got="none",
                fix="Write -o clip.mp4, or see --help",
            )
        )
    outputs = [Output.parse(name) for name in command.output]
    formats_of(outputs)
    return outputs


def _formats(outputs: Sequence[Output]) -> FieldValues:
    return {"formats": formats_of(outputs)} if outputs else {}


def _with_seeds(command: Command) -> FieldValues:
    """Collect the clip's options, with `--seeds` as the seed."""
    clip = dict(command.clip)
    if command.seeds is None:
        return clip
    if "seed" in clip:
        raise InvalidRequestError(
            Fault(code="seeds.with_seed", field="seeds", rule="come without --seed", got="both", fix="Leave one out")
        )
    return clip | {"seed": command.seeds}


def _settings_of(command: Command) -> Settings:
    """Read the settings; who sits at a terminal may load any model."""
    config = process_settings()
    changes: dict[str, object] = {} if "hub_models" in config.model_fields_set else {"hub_models": "any"}
    if command.checkpoints is not None and not (command.list or command.self_test):
        changes["checkpoint_dir"] = _checkpoint_dir(command.checkpoints)
    return config.model_copy(update=changes)


def _checkpoint_dir(folder: str) -> Path:
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise UserError(
            Fault(
                code="checkpoints.no_folder",
                field="checkpoints",
                rule="be a folder",
                got=folder,
                fix="Name another",
                values={"why": str(err.strerror)},
                seen="{got:s} ({why:s})",
            )
        ) from err
    return Path(folder)
