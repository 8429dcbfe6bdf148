"""The command line: the request's fields as options, a clip as a file."""

import argparse
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, Self

from tqdm import tqdm

from api.batch import build_batch
from api.cli_inputs import add_input_options, keep_inputs
from api.engine import MakeClip, extend_request, make_clip, run_folder
from api.fields import FIELDS
from api.grid import make_grid, parse_axis, plan_grid
from api.infotext import is_infotext
from api.recipes import read_text, restore
from pipelines.catalog import complete
from pipelines.choices import OutputFormat
from pipelines.errors import InvalidRequestError, UserError
from pipelines.events import Clip, Progress
from pipelines.presets import PRESETS, preset_values, wanted_lora
from pipelines.request import GenerationRequest
from pipelines.settings import CHECKPOINT_DIR, settings

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130

SUFFIX_FORMATS: dict[str, OutputFormat] = {
    ".mp4": OutputFormat.MP4,
    ".gif": OutputFormat.GIF,
    ".zip": OutputFormat.PNG,
    ".webp": OutputFormat.WEBP,
    ".webm": OutputFormat.WEBM,
    ".png": OutputFormat.APNG,
    ".apng": OutputFormat.APNG,
    ".txt": OutputFormat.TXT,
}


def main(arguments: Sequence[str] | None = None, *, engine: MakeClip = make_clip) -> int:
    """Run the command; returns the exit code: 0, 2 for what the caller can put right, 130 after Ctrl-C.

    Args:
        arguments: The words after the program's name; `sys.argv` if not given.
        engine: Makes the clip.
    """
    options = vars(_parser().parse_args(arguments))
    outputs = [_Output.named(text) for text in options.pop("output")]
    written, requests = 0, []
    axes: list[str] | None = None
    try:
        settings()  # variables that can't be used are told before anything starts
        _keep_runs_in(options.pop("checkpoints", None))
        count = _seeds_and_count(options)
        keep_inputs(options)
        axes = _grid_axes(options, count)
        values = _recipe_values(options)
        values |= _preset_values(options.pop("preset", None), values | options) | options
        if axes is not None:
            _make_grid(values | {"formats": _formats(outputs)}, axes, outputs, engine)
            return 0
        requests = build_batch(values | {"formats": _formats(outputs)}, batch_count=count)
        _quiet_when_piped()
        for request in requests:
            targets = outputs if len(requests) == 1 else [output.of_seed(request.seed) for output in outputs]
            _make(request, targets, engine)
            written += 1
            for target in targets:
                print(f"{target.path}  seed {request.seed}", flush=True)  # noqa: T201 - a terminal is what this talks to
    except UserError as err:
        print(err, file=sys.stderr)  # noqa: T201
        return EXIT_USER_ERROR
    except KeyboardInterrupt:
        kept = f"{written} of {len(requests)} clips were written" if written else "nothing was written"
        kept = kept if axes is None else "the grid's finished clips were kept"
        print(f"Stopped; {kept}.", file=sys.stderr)  # noqa: T201
        return EXIT_INTERRUPTED
    return 0


class _Output(NamedTuple):
    """Where a file of the clip goes, or the PNG frames of it where the name is a folder's."""

    path: Path
    is_folder: bool

    @classmethod
    def named(cls, text: str) -> Self:
        path = Path(text)
        is_folder = path.is_dir() or text.endswith(("/", os.sep))
        return cls(path.resolve() if is_folder and path.name in ("", "..") else path, is_folder)

    def of_seed(self, seed: int) -> Self:
        """The name of one clip of several."""
        return self._replace(path=self.path.with_stem(f"{self.path.stem}-{seed}"))

    def take(self, made: Path) -> None:
        """Put a finished file there."""
        if not self.is_folder:
            made.replace(self.path)
            return
        from media.png import unpack_frames  # brings Pillow, which most commands can do without

        unpack_frames(made, self.path)


class _OneLineParser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_USER_ERROR, f"{message}. See '{self.prog} --help'.\n")


def _parser() -> argparse.ArgumentParser:
    """One option for every field. Values stay text: the request checks them, in its own words."""
    parser = _OneLineParser(
        prog="python -m api",
        description="Make a clip from words, pictures and clips.",
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    parser.add_argument("prompt", nargs="?", help=_help("prompt"))
    parser.add_argument(
        "-o",
        "--output",
        action="append",
        required=True,
        metavar="FILE",
        help="Where to write the clip: .mp4, .gif, .webp, .webm, .png (APNG), .zip (PNG frames), .txt (the recipe), or "
        "a folder for PNG frames, such as frames/. Repeat it for several formats.",
    )
    parser.add_argument(
        "--recipe",
        metavar="FILE_OR_JSON",
        help="Make a recipe again: JSON, a file of it, or a clip that carries it; or the infotext of another program's "
        "picture, clip or text, as far as it can be had here. Other options change it.",
    )
    parser.add_argument(
        "--extend",
        metavar="FILE_OR_JSON",
        help="Go on with a clip, given as for --recipe, whose frames stay as they are. Needs --frames.",
    )
    parser.add_argument(
        "--preset",
        metavar="NAME",
        help="Set several fields at once, as far as no other option sets them: "
        f"{', '.join(preset.id for preset in PRESETS)}.",
    )
    parser.add_argument("--frames", type=int, metavar="N", help="How many frames --extend adds.")
    parser.add_argument("--count", metavar="N", help="Make several clips, 1 to 16, each with the next seed.")
    parser.add_argument(
        "--seeds",
        metavar="LIST",
        help="Make a clip of each of these seeds, 7,42,1000. Several clips have their seed in their names: clip-7.mp4.",
    )
    parser.add_argument(
        "--grid",
        action="append",
        metavar="AXIS",
        help="Make a clip of every value and put them side by side: 'seed: 1-4', 'guidance_scale: 3, 7.5' or "
        "'prompt_sr: red | blue', which replaces words of the prompt. Up to 3 times: columns, rows, blocks of rows. "
        "Beside grid.mp4 come a picture, grid.png, and all clips, in grid-cells.",
    )
    parser.add_argument(
        "--checkpoints",
        metavar="DIR",
        help="Keep every finished step in this folder: the same command, killed and started again, goes on from there. "
        "Needs --seed or --recipe, since another seed is another clip.",
    )
    for name in FIELDS:
        if name not in ("prompt", "formats"):
            parser.add_argument(f"--{name.replace('_', '-')}", type=_whole_or_text, metavar="X", help=_help(name))
    add_input_options(parser)
    return parser


def _grid_axes(options: dict[str, Any], count: str | None) -> list[str] | None:
    """Take out the axes of a grid, None if none is wanted."""
    axes: list[str] | None = options.pop("grid", None)
    if axes is not None and count is not None:
        raise InvalidRequestError(f"count must come without --grid, got {count}. Make the seed an axis: 'seed: 1-4'.")
    return axes


def _keep_runs_in(folder: str | None) -> None:
    """Have the engine keep interrupted runs there, as the environment variable does."""
    if folder is None:
        return
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise UserError(f"checkpoints must be a folder, got {folder} ({err.strerror}). Name another.") from err
    os.environ[CHECKPOINT_DIR] = folder


def _seeds_and_count(options: dict[str, Any]) -> str | None:
    """Put the list of seeds in the seed's place, and take out how many clips are wanted."""
    seeds = options.pop("seeds", None)
    if seeds is not None:
        if "seed" in options:
            raise InvalidRequestError("seeds must come without --seed, got both. Leave one out.")
        options["seed"] = seeds
    count: str | None = options.pop("count", None)
    return count


def _quiet_when_piped() -> None:
    """Without a terminal, silence the bars of the libraries too; they read this when they are imported."""
    if not sys.stderr.isatty():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")


def _help(name: str) -> str:
    return str(GenerationRequest.model_fields[name].description).replace("%", "%%")


def _whole_or_text(text: str) -> int | str:
    try:
        return int(text)
    except ValueError:
        return text


def _recipe_values(options: dict[str, Any]) -> dict[str, Any]:
    """The fields of the recipe that the options name, extended if they say so; these options are taken out."""
    recipe, extend, frames = (options.pop(name, None) for name in ("recipe", "extend", "frames"))
    if extend is None and frames is not None:
        raise InvalidRequestError(f"frames must come with --extend, got {frames}. Use --num-frames for a new clip.")
    if extend is not None and frames is None:
        raise InvalidRequestError("frames must be given with --extend, got none. Say how many to add: --frames 16.")
    if extend is not None and recipe is not None:
        raise InvalidRequestError("extend must come without --recipe, got both. Leave one out.")
    if extend is not None:
        return extend_request(_recipe_text(extend, "extend"), frames).model_dump()
    if recipe is None:
        return {}
    text = _recipe_text(recipe, "recipe")
    if not is_infotext(text):  # a recipe that can't be used as it is makes another clip than the one it is of
        return GenerationRequest.from_json(text).model_dump()
    restored = restore(text)
    for note in restored.notes:
        print(note, file=sys.stderr)  # noqa: T201
    return dict(restored.values)


def _preset_values(preset: str | None, values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that a preset sets for the chosen models."""
    if preset is None:
        return {}
    chosen = complete({name: values[name] for name in ("base_model", "motion_module") if name in values})
    found = preset_values(preset, str(chosen["base_model"]), values.get("motion_module"))
    tag = wanted_lora(found["motion_module"]) if "motion_module" in found else ""
    if tag:
        print(f"The preset wants {tag} in the prompt.", file=sys.stderr)  # noqa: T201
    return found


def _recipe_text(text: str, option: str) -> str:
    """A recipe given as JSON, or as a file that carries one, whatever its name."""
    if text.lstrip().startswith("{"):
        return text
    try:
        is_file = Path(text).is_file()
    except (OSError, ValueError):  # too long for a name
        is_file = False
    if not is_file:
        raise UserError(f"{option} must be JSON or a file, got {text[:300]}. Check the path.")
    return read_text(Path(text).resolve())  # a link of one's own may be followed


def _formats(outputs: Sequence[_Output]) -> tuple[OutputFormat, ...]:
    """The formats that the outputs' suffixes name; all outputs must lie in one existing folder."""
    known, first = ", ".join(SUFFIX_FORMATS), outputs[0].path
    for output, is_folder in outputs:
        if not is_folder and output.suffix.lower() not in SUFFIX_FORMATS:
            raise InvalidRequestError(f"output must end in one of {known} or be a folder, got {output}. Rename it.")
        if is_folder and output.exists() and (not output.is_dir() or any(output.iterdir())):
            raise InvalidRequestError(
                f"output must be a new or an empty folder for frames, got {output}. Name another."
            )
        if not output.parent.is_dir():
            raise InvalidRequestError(
                f"output must be a file in an existing folder, got {output}. Make the folder first."
            )
        if output.parent.resolve() != first.parent.resolve():
            raise InvalidRequestError(
                f"output must be in the folder of the first one ({first.parent}), got {output}. Choose one folder."
            )
    return tuple(OutputFormat.PNG if folder else SUFFIX_FORMATS[path.suffix.lower()] for path, folder in outputs)


def _make(request: GenerationRequest, outputs: Sequence[_Output], engine: MakeClip) -> None:
    """Make the clip in a hidden folder beside the outputs, then move the finished files into place."""
    with (
        run_folder(outputs[0].path.parent, prefix=".clip-") as folder,
        closing(engine(request, folder)) as events,
        closing(_Bar()) as bar,
    ):
        for event in events:
            if isinstance(event, Clip):
                for made, output in zip(event.files, outputs, strict=True):
                    output.take(made)
                for warning in event.warnings:
                    tqdm.write(warning, file=sys.stderr)
            else:
                bar.show(event)


def _make_grid(values: dict[str, Any], axes: Sequence[str], outputs: Sequence[_Output], engine: MakeClip) -> None:
    """Make a grid beside the outputs; its finished clips stay whatever happens to the others."""
    plan = plan_grid(values, [parse_axis(axis) for axis in axes])
    _quiet_when_piped()
    first = outputs[0].path
    cells = first.with_name(f"{first.stem}-cells")
    _make_folder(cells)
    with (
        _gone_if_empty(cells),
        run_folder(first.parent, prefix=".grid-") as folder,
        closing(make_grid(engine, plan, folder, cells)) as events,
        closing(_Bar()) as bar,
    ):
        for number, event in events:
            if not isinstance(event, Clip):
                bar.show(event)
            elif number <= len(plan.requests):
                print(f"{event.files[0]}  seed {plan.requests[number - 1].seed}", flush=True)  # noqa: T201
            else:
                for made, target in zip(event.files, [*outputs, _picture_beside(outputs)], strict=True):
                    target.take(made)
                    print(target.path, flush=True)  # noqa: T201
                for warning in event.warnings:
                    tqdm.write(warning, file=sys.stderr)


def _picture_beside(outputs: Sequence[_Output]) -> _Output:
    """Where the grid goes as one picture."""
    first = outputs[0].path
    plain = first.with_suffix(".png")
    taken = plain in [output.path for output in outputs]
    return _Output(first.with_name(f"{first.stem}-picture.png") if taken else plain, is_folder=False)


@contextmanager
def _gone_if_empty(folder: Path) -> Iterator[None]:
    try:
        yield
    finally:
        with suppress(OSError):
            folder.rmdir()


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(exist_ok=True)
    except OSError as err:
        raise UserError(f"output must leave room for a folder {folder}, got a file there. Rename it.") from err


class _Bar:
    """One progress bar a stage, on a terminal; silent when the output is piped."""

    def __init__(self) -> None:
        self._stage = ""
        self._bar: tqdm[NoReturn] | None = None

    def show(self, progress: Progress) -> None:
        if self._bar is None or progress.stage != self._stage:
            self.close()
            self._stage = progress.stage
            self._bar = tqdm(total=progress.total, desc=progress.stage, disable=None, leave=False)
        self._bar.total = progress.total
        self._bar.set_postfix_str(progress.note, refresh=False)
        self._bar.update(progress.step - self._bar.n)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
