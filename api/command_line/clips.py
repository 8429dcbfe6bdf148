"""Generate clips and grids one by one and place their files."""

import traceback
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from api.command_line.outputs import Output, ensure_folder, take_all
from api.command_line.terminal import Bar, Results, quiet_when_piped, warn
from api.recipes.read import read_text
from pipelines.plan.errors import UserError
from pipelines.plan.events import Clip
from pipelines.plan.request import GenerationRequest
from studio.engine import MakeClip, run_folder
from studio.grid import GridPlan, make_grid

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130


@dataclass(frozen=True)
class Job:
    """A clip to generate.

    Args:
        request: What to make.
        outputs: Where its files go, in the order of the request's formats.
        line: Of the batch file, from 1; None where the options alone describe the clip.
        done_seed: The seed of the clip that is there already and need not be made again.
    """

    request: GenerationRequest
    outputs: tuple[Output, ...]
    line: int | None = None
    done_seed: int | None = None


def done_seed(request: GenerationRequest, outputs: Sequence[Output], *, any_seed: bool = False) -> int | None:
    """Return the seed of a clip whose files all carry this recipe.

    Args:
        any_seed: Whether a clip of another seed is as good, since it was left to chance.
    """
    recipes: list[GenerationRequest] = []
    for output in outputs:
        if not output.recipe_file.is_file():
            return None
        try:
            recipes.append(GenerationRequest.from_json(read_text(output.recipe_file.resolve())))
        except UserError:  # another program's, or cut off
            return None
    seed = recipes[0].seed if any_seed else request.seed
    expected = request.model_copy(update={"seed": seed})
    return seed if all(recipe == expected for recipe in recipes) else None


def make_clips(jobs: Sequence[Job], engine: MakeClip, results: Results, *, goes_on: bool = False) -> int:
    """Generate clips; return the exit code.

    Args:
        goes_on: Whether one that can't be made leaves the others to be made.

    Raises:
        Exception: What went wrong is the program's fault, and the others are not to be made.
    """
    quiet_when_piped()
    left = [job for job in jobs if job.done_seed is None]
    written = failed = 0
    for job in jobs:
        if job.done_seed is not None:
            for output in job.outputs:
                results.skipped(output.path, seed=job.done_seed, line=job.line)
    try:
        for number, job in enumerate(left, start=1):
            part = f"clip {number} of {len(left)}" if len(left) > 1 else ""
            if _try_clip(job, engine, results, part, goes_on=goes_on):
                written += 1
                continue
            failed += 1
            if not goes_on:
                break
    except KeyboardInterrupt:
        summary = f"{written} of {len(left)} clips were written" if written else "nothing was written"
        warn(f"Stopped; {summary}.")
        return EXIT_INTERRUPTED
    if failed and len(left) > 1:
        warn(f"{written} of {len(left)} clips were written.")
    return EXIT_FAILED if failed else 0


def make_grid_clip(plan: GridPlan, outputs: Sequence[Output], engine: MakeClip, results: Results) -> int:
    """Generate a grid beside the outputs; return the exit code."""
    quiet_when_piped()
    first = outputs[0].path
    cells = first.with_name(f"{first.stem}-cells")
    with ensure_folder(cells):
        try:
            _make_grid(plan, outputs, cells, engine, results)
        except UserError as err:
            results.failed(str(err), line=None)
            return EXIT_FAILED
        except KeyboardInterrupt:
            warn("Stopped; the grid's finished clips were kept.")
            return EXIT_INTERRUPTED
    return 0


def _make_grid(plan: GridPlan, outputs: Sequence[Output], cells: Path, engine: MakeClip, results: Results) -> None:
    with (
        run_folder(cells.parent, prefix=".grid-") as folder,
        closing(make_grid(engine, plan, folder, cells)) as events,
        closing(Bar()) as bar,
    ):
        for number, event in events:
            if not isinstance(event, Clip):
                bar.show(event)
            elif number <= len(plan.requests):
                results.written(event.files[0], seed=plan.requests[number - 1].seed, seconds=event.seconds)
            else:
                picture = _picture_beside(outputs)
                _take(event, outputs, event.files[:-1])
                picture.take(event.files[-1])
                for target in [*outputs, picture]:
                    results.written(target.path)


def _try_clip(job: Job, engine: MakeClip, results: Results, part: str, *, goes_on: bool) -> bool:
    """Generate a clip; return success. Program faults raise unless `goes_on`."""
    try:
        _make(job, engine, results, part)
    except UserError as err:
        results.failed(str(err), line=job.line)
        return False
    except BrokenPipeError:  # nobody reads along any more: the end of them all
        raise
    except Exception as err:
        if not goes_on:
            raise
        traceback.print_exc()  # for whoever is to put it right
        results.failed(f"{type(err).__name__}: {err}", line=job.line)
        return False
    return True


def _make(job: Job, engine: MakeClip, results: Results, part: str) -> None:
    """Generate a clip in a hidden folder, then move its files."""
    with (
        run_folder(job.outputs[0].path.parent, prefix=".clip-") as folder,
        closing(engine(job.request, folder)) as events,
        closing(Bar(part)) as bar,
    ):
        for event in events:
            if not isinstance(event, Clip):
                bar.show(event)
                continue
            _take(event, job.outputs, event.files)
            for output in job.outputs:
                results.written(output.path, seed=job.request.seed, seconds=event.seconds, line=job.line)


def _take(clip: Clip, outputs: Sequence[Output], files: Sequence[Path]) -> None:
    take_all(files, outputs)
    for warning in clip.warnings:
        warn(warning)


def _picture_beside(outputs: Sequence[Output]) -> Output:
    """Choose the path of the grid's picture."""
    first = outputs[0].path
    plain = first.with_suffix(".png")
    is_used = plain in [output.path for output in outputs]
    return Output(first.with_name(f"{first.stem}-picture.png") if is_used else plain, is_folder=False)
