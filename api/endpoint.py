"""The endpoint `/txt2vid` for `gradio_client` and REST: the request's fields in, video and recipe out."""

import inspect
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import gradio as gr

from api.batch import MAX_CLIPS, build_batch
from api.engine import MakeClip, run_folder
from api.faults import faults_in_words
from api.fields import FIELDS, signature
from pipelines.events import Clip
from pipelines.request import GenerationRequest

Answer = tuple[dict[str, Any] | None, dict[str, Any]]


def txt2vid_endpoint(make_clip: MakeClip) -> Callable[..., Iterator[Answer]]:
    """The function to publish with `gr.api`.

    It streams `(None, {"stage", "step", "total", "note", "eta_s"})` while it works, so that a caller can follow and
    cancel it; the last value is `(video, recipe)`, which is what `predict` returns. Of several clips each comes as
    such a pair as soon as it is finished, in the order of their seeds.

    Args:
        make_clip: The engine.
    """

    def txt2vid(*args: Any, **kwargs: Any) -> Iterator[Answer]:
        with faults_in_words(), run_folder() as folder:
            values = {**dict(zip(shape.parameters, args, strict=False)), **kwargs}
            count = values.pop("batch_count", 1)
            for request in build_batch(values, batch_count=count):
                yield from _answers(make_clip, request, folder)

    shape = signature()
    count = inspect.Parameter("batch_count", inspect.Parameter.POSITIONAL_OR_KEYWORD, default=1, annotation=int)
    shape = shape.replace(parameters=[*shape.parameters.values(), count])
    txt2vid.__doc__ = _description()
    txt2vid.__annotations__ = {name: p.annotation for name, p in shape.parameters.items()}
    txt2vid.__signature__ = shape.replace(return_annotation=tuple[gr.FileData, dict[str, Any]])  # type: ignore[attr-defined]
    return txt2vid


def _answers(make_clip: MakeClip, request: GenerationRequest, folder: Path) -> Iterator[Answer]:
    with closing(make_clip(request, folder)) as events:
        for event in events:
            if isinstance(event, Clip):
                for warning in event.warnings:
                    gr.Warning(warning)
                yield gr.FileData(path=str(event.files[0])).model_dump(), json.loads(event.recipe)
            else:
                told = {"stage": event.stage, "step": event.step, "total": event.total, "note": event.note}
                yield None, {**told, "eta_s": event.eta_s}


def _description() -> str:
    """Help for every parameter, in the form that gradio's own documentation pages read."""
    lines = [f"    {name}: {GenerationRequest.model_fields[name].description}" for name in FIELDS]
    lines.append(f"    batch_count: How many clips to make, 1 to {MAX_CLIPS}, each with the next seed.")
    return (
        "Make a clip from words. What is left out takes the chosen model's own default.\n\n"
        "Args:\n" + "\n".join(lines) + "\n\n"
        "Returns:\n    The video file, and the recipe: the whole request, with the seed that was used. "
        "Of several clips the stream has such a pair for each, and the last is returned.\n"
    )
