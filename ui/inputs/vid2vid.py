"""Tab "Video to video": the source clip and its mask."""

import json
from collections.abc import Iterator, Mapping
from fractions import Fraction

import gradio as gr
import numpy as np
from gradio.components import Component
from PIL import Image

from media.input_facts import Cut, InputFacts
from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.faults import Fault
from pipelines.plan.request import GenerationRequest, field_bounds
from studio.engine import run_folder
from studio.faults import faults_in_words
from studio.limits import allowed_bounds
from studio.request_inputs import first_picture, source_facts
from studio.stored_inputs import keep_source
from studio.uploads import uploaded_paths
from ui.inputs.mask_drawing import Painting, mask_of_strokes
from ui.inputs.source_size import place_size_button
from ui.parts.events import QUIET
from ui.parts.fields import build_control, shown_value, words_of
from ui.parts.page_events import PageEvents
from ui.parts.page_values import PageValues
from ui.parts.progress import message_html, word_html
from ui.parts.restored_inputs import RESTORED_HASHES, UPLOADED_HASHES
from ui.parts.updates import UpdatesById
from ui.words.refusals import page_words
from ui.words.speech import say, visitor_language, word
from ui.words.tables import ENGLISH

SOURCE = ("source_video", "source_files", "source_start", "source_every")
"""The components that decide which frames the source has."""

_DESCRIBED = ("source_told", "mask_painting")
_MAX_FPS = int(field_bounds("fps")[1] or 0)
_PAINTED_SIDE = 768  # the picture to paint on is no larger, whatever the clip is


def build_vid2vid() -> tuple[dict[str, Component], gr.HTML, gr.Button, "MaskPainter"]:
    """Lay out what the tab adds.

    Returns:
        Its components by their `elem_id`, the line that says what the source is, the button that takes its size, and
        where a mask is painted.
    """
    components: dict[str, Component] = {}
    components["source_video"] = gr.Video(
        label=words_of(GenerationRequest, "source_video")["label"],
        sources=["upload"],
        elem_id="source_video",
        height=240,
        buttons=[],
        interactive=True,
    )
    components["source_files"] = gr.File(
        label=word("label.source_files"),
        file_count="multiple",
        elem_id="source_files",
        height=130,
    )
    line = gr.HTML(word_html("note.no_source"), elem_id="source_told", padding=False)
    take_size = place_size_button("source_size")
    with gr.Row():
        components["source_start"] = build_control("source_start")
        components["source_every"] = build_control("source_every")
    components["keep_audio"] = build_control("keep_audio")
    with gr.Accordion(word("section.mask"), open=False):
        components["mask"] = gr.File(label=word("label.mask"), file_count="multiple", elem_id="mask", height=130)
        gr.Markdown(words_of(GenerationRequest, "mask")["info"], elem_classes="note")
        components["mask_feather"] = build_control("mask_feather")
        painter = MaskPainter()
    return components, line, take_size, painter


class MaskPainter:
    """Editor that paints a mask on the source's first frame."""

    def __init__(self) -> None:
        self.editor = gr.ImageEditor(
            label=word("label.mask_painting"),
            type="numpy",
            sources=[],
            brush=gr.Brush(colors=["#ffffff"], default_color="#ffffff", color_mode="fixed"),
            layers=False,
            transforms=[],
            buttons=[],
            elem_id="mask_painting",
            height=360,
            interactive=True,
        )
        gr.Markdown(word("note.paint"), elem_classes="note")
        self.use = gr.Button(word("button.use_painting"), elem_id="use_painting", size="sm")


def wire_vid2vid(components: Mapping[str, Component], painter: MaskPainter, events: PageEvents) -> None:
    """Describe a changed source, and take its length and rate.

    Args:
        components: The tab's components.
        painter: Where a mask is painted.
        events: The page's.
    """
    video, files, start, every = (components[name] for name in SOURCE)
    # What a person does, not every change: a restored request has a length and rate of its own.
    triggers = [video.upload, video.clear, files.upload, files.clear, files.delete, start.input, every.input]
    events.on(triggers, describe_source, (*_DESCRIBED, "num_frames", "fps", UPLOADED_HASHES))
    events.after(painter.use.click(_mask_file, painter.editor, components["mask"], **QUIET))


def vid2vid_fields(page: PageValues) -> dict[str, object]:
    """Build the request's fields from the tab's values.

    Raises:
        InvalidRequestError: A file is none that can be read, or there are two sources.
    """
    source, zip_mask = _source_hashes(page)
    mask = page.upload_hash("mask") or zip_mask or page.restored_hash("mask")
    names = ("source_start", "source_every", "keep_audio", "mask_feather")
    return {"source_video": source or page.restored_hash("source_video"), "mask": mask} | page.fields(names)


def source_shape(page: PageValues) -> InputFacts:
    """Read the facts of the source.

    Raises:
        InvalidRequestError: There is none, or it can't be read.
    """
    source, _ = _source_hashes(page)
    if not source:
        fix = "Choose a {field:label}"
        raise InvalidRequestError(Fault("inputs.not_given", "source_video", "be given", "none", fix))
    return source_facts(source)


def facts_in_words(facts: InputFacts, frames: int, language: str = ENGLISH) -> str:
    """Describe a source.

    Args:
        facts: As probed.
        frames: How many of its frames are used.
        language: The visitor's.
    """
    parts = [
        say(language, "told.source.size", width=facts.width, height=facts.height),
        say(language, "told.source.frames", frames=facts.num_frames),
    ]
    if facts.fps and facts.duration_s is not None:
        parts += [
            say(language, "told.source.rate", fps=float(facts.fps)),
            say(language, "told.source.time", seconds=float(facts.duration_s)),
        ]
    used = "" if frames == facts.num_frames else f" {say(language, 'told.source.used', frames=frames)}"
    return f"{', '.join(parts)}.{used}"


def _source_hashes(page: PageValues) -> tuple[str, str]:
    """Return the hashes of the uploaded source and its zip's mask."""
    video, files = page.value("source_video"), page.value("source_files")
    if video and files:
        got, fix = "a clip and other files", "Remove one of them"
        raise InvalidRequestError(Fault("inputs.clip_and_files", "source_video", "be one clip", got, fix))
    source, _, mask = page.stored_hash(video or files).partition(" ")
    return (source, mask) if source else keep_source(uploaded_paths(video or files, "source_video"))


def describe_source(page: PageValues) -> UpdatesById:
    """Describe the source or its refusal, with frames, rate and picture."""
    language = visitor_language()
    try:
        with faults_in_words(page_words()):
            uploaded, mask = _source_hashes(page)
            source = uploaded or page.restored_hash("source_video")
            upload = page.value("source_video") or page.value("source_files")
            stored: UpdatesById = {UPLOADED_HASHES: page.with_stored(upload, f"{uploaded} {mask}".strip())}
            if not source:
                return stored | {"source_told": word_html("note.no_source"), "mask_painting": None}
            fields = page.fields(("source_start", "source_every"))
            request = GenerationRequest.build(seed=0, source_video=source, **fields)
            cut = Cut(start=request.source_start, every=request.source_every)
            facts = source_facts(source)
            frames = len(facts.places(cut))
            picture = _to_paint_on(source, cut.start)
    except gr.Error as err:
        return {"source_told": message_html(err.message, is_error=True)}
    text, rate = facts_in_words(facts, frames, language), facts.fps_of(cut)
    if rate and rate > _MAX_FPS:
        text += f" {say(language, 'told.source.slower', fps=_MAX_FPS)}"
    longest = int(allowed_bounds("num_frames")[1] or frames)
    updates = stored | {"source_told": message_html(text), "mask_painting": picture}
    if frames > 1:  # a single picture says nothing about the result
        updates["num_frames"] = min(frames, longest)
    if rate:
        updates["fps"] = shown_value("fps", min(rate, Fraction(_MAX_FPS)))
    return updates


def source_at_hand(values: Mapping[str, object]) -> UpdatesById:
    """Describe a restored request's source, with a picture to paint on.

    Args:
        values: The request's `source_video`, `source_start` and `source_every`.
    """
    cut = {name: values[name] for name in ("source_start", "source_every") if name in values}
    updates = describe_source(PageValues(cut | {RESTORED_HASHES: json.dumps({"source_video": values["source_video"]})}))
    return {name: updates.get(name, gr.skip()) for name in _DESCRIBED}


def _to_paint_on(source: str, start: int) -> Painting:
    picture = Image.fromarray(first_picture(source, start=start))
    picture.thumbnail((_PAINTED_SIDE, _PAINTED_SIDE))
    return {"background": np.asarray(picture), "layers": [], "composite": None}


def _mask_file(painting: Painting | None) -> Iterator[list[str]]:
    with faults_in_words(page_words()), run_folder() as folder:
        path = folder / "painted-mask.png"
        Image.fromarray(mask_of_strokes(painting["layers"] if painting else [])).save(path)
        yield [str(path)]  # copied by gradio before the folder goes
