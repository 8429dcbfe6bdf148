"""The endpoint `/txt2vid` for `gradio_client` and REST: the request's fields in, video and recipe out."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import gradio as gr

from api.engine import MakeClip, build_request, run_folder
from api.faults import faults_in_words
from api.fields import FIELDS, signature
from pipelines.events import Clip
from pipelines.request import GenerationRequest

Answer = tuple[dict[str, Any] | None, dict[str, Any]]


def txt2vid_endpoint(make_clip: MakeClip) -> Callable[..., Iterator[Answer]]:
    """The function to publish with `gr.api`.

    It streams `(None, {"stage", "step", "total", "note", "eta_s"})` while it works, so that a caller can follow and
    cancel it; the last value is `(video, recipe)`, which is what `predict` returns.

    Args:
        make_clip: The engine.
    """

    def txt2vid(*args: Any, **kwargs: Any) -> Iterator[Answer]:
        with faults_in_words(), run_folder() as folder:
            request = build_request(**dict(zip(FIELDS, args, strict=False)), **kwargs)
            with closing(make_clip(request, folder)) as events:
                for event in events:
                    if isinstance(event, Clip):
                        for warning in event.warnings:
                            gr.Warning(warning)
                        yield gr.FileData(path=str(event.files[0])).model_dump(), json.loads(event.recipe)
                    else:
                        told = {"stage": event.stage, "step": event.step, "total": event.total, "note": event.note}
                        yield None, {**told, "eta_s": event.eta_s}

    shape = signature()
    txt2vid.__doc__ = _description()
    txt2vid.__annotations__ = {name: p.annotation for name, p in shape.parameters.items()}
    txt2vid.__signature__ = shape.replace(return_annotation=tuple[gr.FileData, dict[str, Any]])  # type: ignore[attr-defined]
    return txt2vid


def _description() -> str:
    """Help for every parameter, in the form that gradio's own documentation pages read."""
    lines = [f"    {name}: {GenerationRequest.model_fields[name].description}" for name in FIELDS]
    return (
        "Make a clip from words. What is left out takes the chosen model's own default.\n\n"
        "Args:\n" + "\n".join(lines) + "\n\n"
        "Returns:\n    The video file, and the recipe: the whole request, with the seed that was used.\n"
    )
