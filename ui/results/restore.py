"""Restore every control of the page from a dropped recipe."""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import gradio as gr
from gradio.blocks import Block
from gradio.components import Component

from api.recipes.read import Restored, read_request, restore
from pipelines.plan.request import FILE_FIELDS, INPUT_FIELDS
from studio.faults import faults_in_words
from studio.fields import FIELDS
from studio.jobs import Jobs
from studio.modes import Mode
from studio.uploads import uploaded_path
from ui.inputs.control_units import unit_values
from ui.inputs.image_prompts import image_prompt_values
from ui.inputs.model_settings import MODEL_LINES, model_lines, model_values
from ui.inputs.vid2vid import source_at_hand
from ui.parts.events import QUIET
from ui.parts.fields import shown_value
from ui.parts.page_events import PageEvents
from ui.parts.progress import message_html, word_html
from ui.parts.restored_inputs import RESTORED_HASHES, UPLOADED_HASHES, RestoredFiles, restored_html
from ui.parts.updates import Updates, UpdatesById
from ui.results.gallery_view import GalleryPlace
from ui.results.job_events import OF_THIS_TAB
from ui.results.results import Results
from ui.words.refusals import page_words
from ui.words.speech import say, visitor_language, word

_MOST_LETTERS = 80
_FILE_PLACES = (*FILE_FIELDS, "source_files")
_SIMPLE = [name for name in INPUT_FIELDS if name not in (*FILE_FIELDS, "controls", "image_prompts")]


class RestorePlace(NamedTuple):
    """File drop zone, and the line about its result."""

    file: gr.File
    line: gr.HTML


def place_restore() -> RestorePlace:
    """Lay it out."""
    file = gr.File(label=word("label.restore"), elem_id="restore", height=140)
    return RestorePlace(file, gr.HTML(elem_id="restore_told", visible=False, padding=False))


def wire_restore(
    place: RestorePlace,
    restored_files: RestoredFiles,
    results: Results,
    gallery: GalleryPlace,
    other_outputs: Iterable[Block],
    events: PageEvents,
) -> None:
    """Connect the drop zone and the buttons to reuse and forget.

    Args:
        place: Where files are dropped.
        restored_files: Which files of a restored request are used.
        results: Where the clip on show is.
        gallery: Where a chosen clip is.
        other_outputs: Everything else that is set.
        events: The page's.
    """
    plain = QUIET | {"preprocess": False}
    outputs = [*place, restored_files.column, restored_files.line, *other_outputs]
    components = {str(component.elem_id): component for component in outputs}

    def dropped(file: object) -> Updates:
        name = file.get("orig_name") if isinstance(file, Mapping) else None
        language = visitor_language()
        title = say(language, "told.restored.a_file")
        if name:
            title = say(language, "told.restored.file", name=str(name)[:_MOST_LETTERS])
        return _restore_update(components, title, lambda: read_request(uploaded_path(file, "restore")))

    def reused(text: str) -> Updates:
        return _restore_update(components, say(visitor_language(), "told.restored.shown"), lambda: restore(text or ""))

    def reused_from_gallery(text: str) -> Updates:
        return _restore_update(components, say(visitor_language(), "told.restored.chosen"), lambda: restore(text or ""))

    def forgotten() -> Updates:
        gone = {RESTORED_HASHES: "", "kept": gr.update(visible=False), "source_told": word_html("note.no_source")}
        return {components[name]: value for name, value in gone.items()}

    events.after(place.file.upload(dropped, place.file, outputs, **plain))
    events.after(results.restore.click(reused, results.recipe, outputs, **plain))
    events.after(gallery.use.click(reused_from_gallery, gallery.recipe, outputs, **plain))
    events.after(restored_files.forget.click(forgotten, None, outputs, queue=False, **plain))


def wire_found_again(
    jobs: Jobs,
    job_id: Component,
    on_load: Callable[..., object],
    place: RestorePlace,
    other_outputs: Iterable[Block],
    events: PageEvents,
) -> None:
    """Restore the request of the job on a reloaded page.

    Its seeds are shown as they were typed.

    Args:
        jobs: Where the job is.
        job_id: What holds the job's id on the page.
        on_load: As `wire_jobs` takes it.
        place: Where is said what came of it.
        other_outputs: Everything else that is set.
        events: The page's, which draws for this visitor what was drawn when the page was built.
    """
    outputs = [*place, *other_outputs]
    components = {str(component.elem_id): component for component in outputs}

    def found_again(known_id: str | None) -> Updates:
        job = jobs.find(known_id)
        latest = job.view.latest if job else None
        if job is None or latest is None or not latest.request_json:
            return {place.line: gr.skip()}
        typed = {"seed": gr.skip(), "batch_count": gr.skip()} | dict(job.typed)
        values = _restore_update(
            components, say(visitor_language(), "told.restored.yours"), lambda: restore(latest.request_json)
        )
        return values | {components[name]: value for name, value in typed.items()}

    loaded = on_load(found_again, job_id, outputs, js=OF_THIS_TAB, **QUIET | {"queue": False})
    events.after(loaded, model_lines, MODEL_LINES)


def _updates_of(restored: Restored) -> tuple[UpdatesById, list[str]]:
    """Build component values by `elem_id`, with notes, for a restored request."""
    values, language = restored.values, visitor_language()
    components: UpdatesById = {name: shown_value(name, values[name]) for name in (*FIELDS, *_SIMPLE)}
    components |= model_values(values) | dict.fromkeys(_FILE_PLACES)
    base_model = str(values["base_model"])
    units, unit_files, notes = unit_values(values["controls"], base_model)
    prompts, prompt_files, prompt_notes = image_prompt_values(
        values["image_prompts"], num_frames=values["num_frames"], base_model=base_model
    )
    files = {name: (say(language, f"field.{name}.label"), str(values[name])) for name in FILE_FIELDS if values[name]}
    files |= unit_files | prompt_files
    strip = restored_html(files)
    components |= {
        **units,
        **prompts,
        RESTORED_HASHES: json.dumps({name: sha256 for name, (_, sha256) in files.items()}) if files else "",
        UPLOADED_HASHES: "",
        "kept": gr.update(visible=bool(files)),
        "kept_told": strip or message_html(say(language, "told.kept.none")),
        "mode": restored.mode.value,
        "modes": gr.Tabs(selected=restored.mode.value),
        "steering": gr.update(visible=restored.mode is not Mode.TXT2VID),
        "batch_count": 1,
        **source_at_hand(values),
    }
    return components, [*notes, *prompt_notes]


def _restore_update(components: Mapping[str, Block], title: str, read: Callable[[], Restored]) -> Updates:
    """Build the update of the page, or a line with the refusal."""
    try:
        with faults_in_words(page_words()):
            restored = read()
            values, notes = _updates_of(restored)
    except gr.Error as err:
        line = message_html(err.message, is_error=True)
        return {components["restore"]: None, components["restore_told"]: gr.update(value=line, visible=True)}
    line = message_html(title, notes=[*restored.notes, *notes])
    values |= {"restore": None, "restore_told": gr.update(value=line, visible=True)}
    return {components[name]: value for name, value in values.items()}
