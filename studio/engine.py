"""Generate a clip into a folder: raw values, request, engine, writers.

The page, the endpoint and the command line all come through here. Importing this module costs no torch, so a page is up
in a second; the engine is imported by the first clip, or earlier by `engine_start.warm`.
"""

import secrets
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.plan import catalog
from pipelines.plan.events import Clip, Event
from pipelines.plan.plan import plan_of
from pipelines.plan.planner.stopwatch import Meter, timed
from pipelines.plan.request import GenerationRequest
from pipelines.plan.settings import settings
from studio.device_leases import TakeTurn, make_in_turns, take_turn
from studio.engine_start import import_engine
from studio.open_fields import fill_open_fields
from studio.request_inputs import open_compared, put_sound

if TYPE_CHECKING:
    from media.formats import Encoding
    from media.write import ClipWriter


MakeClip = Callable[[GenerationRequest, Path], Generator[Event, None, None]]


def build_request(**values: object) -> GenerationRequest:
    """Validate values and build a request, with the model's defaults filled in.

    Absent values and None become the chosen model's defaults. A `num_frames` of 0 becomes the source clip's length, or
    else a window's.

    Raises:
        InvalidRequestError: A value breaks its field's rule, or the catalog does not know the model.
    """
    return GenerationRequest.build(**catalog.complete(fill_open_fields(values)))


def extend_request(recipe: str, frames: int | None) -> GenerationRequest:
    """Build the request that continues a clip, from the recipe it carries.

    Args:
        recipe: As JSON.
        frames: How many frames to add.

    Raises:
        InvalidRequestError: The recipe is none, its clip can't be extended, or there is nothing to add.
    """
    return build_request(**GenerationRequest.from_json(recipe).extended_by(frames or 0).model_dump())


def make_clip(
    request: GenerationRequest,
    folder: Path,
    *,
    take: TakeTurn = take_turn,
    seconds: Callable[[GenerationRequest], float] | None = None,
) -> Generator[Event, None, None]:
    """Generate a clip, write its files into `folder`, and yield its events.

    Closing the iterator stops the engine at its next event and leaves no file behind. File names hold the seed and a
    random part, never words of the prompt, so that a link gives nothing away.

    Args:
        request: What to make.
        folder: An existing folder that the caller owns.
        take: As `make_in_turns` takes it; by default the engine runs here.
        seconds: How long a turn of a request may be; without it there is one, of any length.

    Raises:
        UserError: The request does not fit the model, its weights, or the formats.
    """
    import_engine()
    from finishing.finish import finished, load_finishers
    from media.write import check_output, open_clip

    encoding = encoding_of(request)
    check_output(request.formats, request.output_fps, encoding)
    stem = f"{request.seed}-{secrets.token_hex(4)}"

    plan, meter = plan_of(request), Meter()
    writers: list[ClipWriter] = []

    def open_writer(request: GenerationRequest, recipe: str) -> "ClipWriter":
        width, height = request.output_size
        writer = open_clip(
            folder,
            stem=stem,
            formats=request.formats,
            fps=request.output_fps,
            width=width,
            height=height,
            recipe=recipe,
            encoding=encoding,
            measure=meter.measure,
        )
        writers.append(writer)
        return writer

    def events() -> Generator[Event, None, None]:
        finishers = yield from load_finishers(request)
        inputs = yield from open_compared(request)
        yield from make_in_turns(
            request,
            plan=plan,
            take=take,
            open_writer=finished(request, inputs, open_writer, finishers, meter.measure),
            checkpoints=settings().checkpoint_dir,
            seconds=seconds(request) if seconds else None,
        )

    with closing(events()) as running:
        for event in timed(plan, running, meter):
            if isinstance(event, Clip):
                of_files = [warning for writer in writers for warning in writer.warnings]
                yield replace(event, warnings=(*event.warnings, *of_files, *_put_sounds(request, event)))
            else:
                yield event


def encoding_of(request: GenerationRequest) -> "Encoding":
    """Read the encoding of its files from a request."""
    from media.formats import Encoding

    same = {field.name for field in fields(Encoding)} & set(GenerationRequest.model_fields)
    values = {name: getattr(request, name) for name in same}
    return Encoding(**values, max_bytes=round(request.max_file_mb * 1e6))


def _put_sounds(request: GenerationRequest, clip: Clip) -> list[str]:
    """Mux the source's audio into the clip's MP4s; return what failed."""
    keeps_audio = request.source_video and request.keep_audio
    videos = [path for path in clip.files if path.suffix == ".mp4"] if keeps_audio else []
    return [why for path in videos if (why := put_sound(request, path))]


@contextmanager
def run_folder(parent: Path | None = None, *, prefix: str = "run-") -> Iterator[Path]:
    """Create a temporary folder for one run and delete it afterwards.

    Args:
        parent: Where to make it; the system's temporary folder if not given.
        prefix: How its name begins.
    """
    with tempfile.TemporaryDirectory(prefix=prefix, dir=parent) as folder:
        yield Path(folder)
