"""Bind the engine to files: values from outside -> request -> clip in a folder.

The page, the endpoint and the command line all come through here. Importing this module costs no torch,
so a page is up in a second; the engine is imported by the first clip, or earlier by `warm`.
"""

import importlib
import logging
import os
import secrets
import tempfile
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from api.inputs import complaints, complete_from_source, open_inputs, put_sound
from pipelines import catalog
from pipelines.events import Clip, Event
from pipelines.request import GenerationRequest
from pipelines.stopwatch import timed

if TYPE_CHECKING:
    from media.write import ClipWriter

CHECKPOINT_DIR = "CHECKPOINT_DIR"
"""The environment variable that names the operator's folder for interrupted runs; nothing is kept without it."""

MakeClip = Callable[[GenerationRequest, Path], Generator[Event, None, None]]
_log = logging.getLogger(__name__)

# Threads that wait for each other must sleep, not spin: where another program wants the cores too, spinning
# was measured to make two threads several times slower than one. Read by OpenMP when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# With two threads MKL's products differ by 1e-7 with the address of the weights; a recipe must give the same
# frames in every process, so it is asked for the same bits. Read when torch is imported.
os.environ.setdefault("MKL_CBWR", "AUTO")


def build_request(**values: Any) -> GenerationRequest:
    """Check values from outside and make the request; absent and None become the chosen model's defaults.

    Raises:
        InvalidRequestError: A value breaks its field's rule, or the catalog does not know the model.
    """
    return GenerationRequest.build(**catalog.complete(complete_from_source(values)))


def extend_request(recipe: str, frames: int | None) -> GenerationRequest:
    """The request that continues a clip, from the recipe the clip carries.

    Args:
        recipe: As JSON.
        frames: How many frames to add.

    Raises:
        InvalidRequestError: The recipe is none, its clip can't be extended, or there is nothing to add.
    """
    return build_request(**GenerationRequest.from_json(recipe).extended_by(frames or 0).model_dump())


def make_clip(request: GenerationRequest, folder: Path) -> Generator[Event, None, None]:
    """Make the clip and write its files into `folder`, telling how it goes.

    Closing the iterator stops the engine at its next event and leaves no file behind. File names hold the
    seed and a random part, never words of the prompt, so that a link gives nothing away.

    Args:
        request: What to make.
        folder: An existing folder that the caller owns.

    Raises:
        UserError: The request does not fit the model, its weights, or the formats.
    """
    from media.write import check_output, open_clip
    from pipelines.generate import generate  # waits for the first clip: it brings torch

    check_output(request.formats, request.fps)
    stem = f"{request.seed}-{secrets.token_hex(4)}"

    def open_writer(request: GenerationRequest, recipe: str) -> "ClipWriter":
        return open_clip(
            folder,
            stem=stem,
            formats=request.formats,
            fps=request.fps,
            width=request.clip_size[0],
            height=request.clip_size[1],
            recipe=recipe,
        )

    inputs = yield from open_inputs(request)
    checkpoints = os.environ.get(CHECKPOINT_DIR)
    kept = Path(checkpoints) if checkpoints else None
    events = generate(request, open_writer=open_writer, inputs=inputs, checkpoints=kept)
    for event in timed(request, events):
        if isinstance(event, Clip):
            yield replace(event, warnings=(*event.warnings, *complaints(inputs), *_put_sounds(request, event)))
        else:
            yield event


def _put_sounds(request: GenerationRequest, clip: Clip) -> list[str]:
    """Put the source's sound under the clip's videos where it is wished; why there is none, if there is none."""
    wished = request.source_video and request.keep_audio
    videos = [path for path in clip.files if path.suffix == ".mp4"] if wished else []
    return [why for path in videos if (why := put_sound(request, path))]


@contextmanager
def run_folder(parent: Path | None = None, *, prefix: str = "run-") -> Iterator[Path]:
    """A folder of its own for one run, gone afterwards with all that is in it.

    Args:
        parent: Where to make it; the system's temporary folder if not given.
        prefix: How its name begins.
    """
    with tempfile.TemporaryDirectory(prefix=prefix, dir=parent) as folder:
        yield Path(folder)


def warm() -> threading.Thread:
    """Import the engine in the background, so that the first click does not wait for torch."""

    def work() -> None:
        try:
            importlib.import_module("pipelines.generate")
        except Exception:
            _log.exception("The engine could not be imported; clips will fail until this is put right.")

    thread = threading.Thread(target=work, name="warm-engine", daemon=True)
    thread.start()
    return thread
