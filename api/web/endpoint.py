"""The endpoints `/txt2vid`, `/img2vid` and `/vid2vid`: fields in, clip out."""

import inspect
import json
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Literal

import gradio as gr

from api.web.closing import closes_in_thread
from api.web.preset_fields import fill_preset
from pipelines.plan.events import Clip
from pipelines.plan.request import FILE_FIELDS, INPUT_FIELDS, GenerationRequest
from pipelines.plan.settings import settings
from studio.batch import build_batch
from studio.control_preview import MakePreview
from studio.engine import MakeClip, build_request, run_folder
from studio.faults import faults_in_words
from studio.fields import FIELDS, FieldValues, signature
from studio.modes import SOURCE_FRAMES, Mode, keep_uploads

Shown = tuple[dict[str, object] | None, dict[str, object]]
Answer = tuple[dict[str, object] | None, dict[str, object], list[dict[str, object]]]

PRESET_HELP = "Sets several fields at once, by the name that /models lists: those that are left at their defaults."
COUNT_HELP = "How many clips to make, each with the next seed."
SOURCE_FRAMES_HELP = "Single pictures in the place of a source clip, in the order of their names."


def clip_endpoint(make_clip: MakeClip, mode: Mode) -> Callable[..., Iterator[Answer]]:
    """Build the function to publish with `gr.api` under a mode's name.

    It streams `(None, {"stage", "step", "total", "note", "eta_s"}, [])` while it works, so that a caller can follow and
    cancel it; the last value is `(clip, recipe, others)`, which is what `predict` returns: the file of the first of the
    `formats`, and those of the rest in their order. Of several clips each comes so as soon as it is finished, in the
    order of their seeds.

    Args:
        make_clip: The engine.
        mode: Which fields it takes.
    """

    @closes_in_thread
    def endpoint(*args: object, **kwargs: object) -> Generator[Answer, None, None]:
        with faults_in_words(), run_folder() as folder:
            values = {**dict(zip(shape.parameters, args, strict=False)), **kwargs}
            for request in requests_of(keep_uploads(mode, with_preset(values, shape))):
                yield from _answers(make_clip, request, folder, mode)

    shape = clip_signature(mode)
    endpoint.__name__ = mode.value
    endpoint.__doc__ = _description(mode)
    endpoint.__annotations__ = {name: p.annotation for name, p in shape.parameters.items()}
    endpoint.__signature__ = shape  # type: ignore[attr-defined]
    return endpoint


def with_preset(values: Mapping[str, object], shape: inspect.Signature | None = None) -> FieldValues:
    """Fill the fields that a call left open from its `preset`.

    Args:
        values: As the caller sent them, `preset` among them.
        shape: The endpoint's; without it only what is absent or None is open.
    """
    fields = dict(values)
    published = {name: parameter.default for name, parameter in shape.parameters.items()} if shape else {}
    filled, tag = fill_preset(fields, fields.pop("preset", None), published)
    if tag:
        gr.Warning(f"The preset wants {tag} in the prompt.")
    return filled


def requests_of(values: Mapping[str, object]) -> list[GenerationRequest]:
    """Build a call's requests, by its `batch_count` or list of seeds."""
    fields = dict(values)
    return build_batch(fields, batch_count=fields.pop("batch_count", 1), most=settings().max_clips)


def clip_signature(mode: Mode | None) -> inspect.Signature:
    """Build an endpoint's signature; every parameter has a default.

    Args:
        mode: What it makes; None for one that takes what any of them does.
    """

    def extra(name: str, default: object, kind: object) -> inspect.Parameter:
        return inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=kind)

    file = gr.FileData | None
    parameters = dict(signature(mode.fields if mode else (*FIELDS, *INPUT_FIELDS)).parameters)
    parameters |= {name: extra(name, None, file) for name in FILE_FIELDS if name in parameters}
    if mode is Mode.VID2VID:  # the source's own, where nothing else is said
        parameters |= {"num_frames": extra("num_frames", 0, int), "fps": extra("fps", None, float | str | None)}
    if mode is None:
        parameters |= {
            "num_frames": extra("num_frames", None, int | None),
            "fps": extra("fps", None, float | str | None),
        }
    if mode in (None, Mode.VID2VID):
        parameters[SOURCE_FRAMES] = extra(SOURCE_FRAMES, None, list[gr.FileData] | None)
    parameters |= {"batch_count": extra("batch_count", 1, int), "preset": extra("preset", None, str | None)}
    return inspect.Signature(
        list(parameters.values()), return_annotation=tuple[gr.FileData, dict[str, object], list[gr.FileData]]
    )


def preprocess_endpoint(make_preview: MakePreview) -> Callable[..., Iterator[Shown]]:
    """Build the function to publish with `gr.api` as `/preprocess`.

    It previews what a control unit follows, as a video. It streams `(None, {"stage", "step", "total", "note"})` while
    it works; the last value is `(video, {})`.

    Args:
        make_preview: Makes the clip and its file.
    """

    @closes_in_thread
    def preprocess(
        clip: gr.FileData,
        preprocessor: str = "canny",
        options: dict[str, object] | None = None,
        width: int = 512,
        height: int = 512,
        num_frames: int = 0,
        fit: Literal["crop", "pad", "stretch"] = "crop",
        seed: int = -1,
    ) -> Generator[Shown, None, None]:
        """Show what a preprocessor makes of a clip or picture.

        Args:
            clip: The clip or picture.
            preprocessor: Which; `none` leaves it as it is.
            options: Its numbers by name, such as `{"low": 80}` for canny.
            width: Of the result, pixels.
            height: Of the result, pixels.
            num_frames: At most so many; 0 for all.
            fit: What is done with another shape.
            seed: For preprocessors that draw at random.

        Returns:
            The control clip.
        """
        with faults_in_words(), run_folder() as folder:
            unit = {"model": "none", "preprocessor": preprocessor, "options": options or {}, "fit": fit}
            values = {"width": width, "height": height, "num_frames": num_frames, "seed": seed}
            source = keep_uploads(Mode.VID2VID, {"source_video": clip})
            request = build_request(**source, **values, controls=[unit], image_fit=fit)
            with closing(make_preview(request, folder)) as events:
                for event in events:
                    if isinstance(event, Path):
                        yield gr.FileData(path=str(event)).model_dump(), {}
                    else:
                        progress = {"stage": event.stage, "step": event.step, "total": event.total, "note": event.note}
                        yield None, progress

    preprocess.__annotations__["return"] = tuple[gr.FileData, dict[str, object]]
    return preprocess


def _answers(make_clip: MakeClip, request: GenerationRequest, folder: Path, mode: Mode) -> Iterator[Answer]:
    with closing(make_clip(request, folder)) as events:
        for event in events:
            if isinstance(event, Clip):
                for warning in event.warnings:
                    gr.Warning(warning)
                recipe = {name: value for name, value in json.loads(event.recipe).items() if name in mode.fields}
                video, *other_files = (gr.FileData(path=str(path)).model_dump() for path in event.files)
                yield video, recipe, other_files
            else:
                progress = {"stage": event.stage, "step": event.step, "total": event.total, "note": event.note}
                yield None, {**progress, "eta_s": event.eta_s}, []


def _description(mode: Mode) -> str:
    """Write help for every parameter, as Gradio's documentation pages read it."""
    lines = [f"    {name}: {GenerationRequest.model_fields[name].description}" for name in mode.fields]
    if mode is Mode.VID2VID:
        lines.append(f"    source_frames: {SOURCE_FRAMES_HELP}")
    lines += [f"    batch_count: {COUNT_HELP} 1 to {settings().max_clips}.", f"    preset: {PRESET_HELP}"]
    return (
        f"{mode.in_words} What is left out takes the chosen model's own default.\n\n"
        "Args:\n" + "\n".join(lines) + "\n\n"
        "Returns:\n    The clip's file in the first of the formats; the recipe: all that this endpoint takes, with the "
        "seed that was used and files by their hashes; and the files in the other formats. Of several clips the stream "
        "has these three for each, and the last are returned.\n"
    )
