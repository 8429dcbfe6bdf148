"""Files that remember how they were made: drop one, and every control shows what it says."""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

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
from ui.inputs.model_settings import model_values
from ui.inputs.vid2vid import source_at_hand
from ui.parts.events import QUIET
from ui.parts.fields import shown_value
from ui.parts.progress import message_html, word_html
from ui.parts.restored_inputs import KEPT, KeptPlace, kept_html
from ui.results.gallery_view import GalleryPlace
from ui.results.job_events import OF_THIS_TAB
from ui.results.results import Results
from ui.words.refusals import page_words
from ui.words.speech import say, visitor_language, word

_MOST_LETTERS = 80
_FILE_PLACES = (*FILE_FIELDS, "source_files")
_SIMPLE = [name for name in INPUT_FIELDS if name not in (*FILE_FIELDS, "controls", "image_prompts")]


class RestorePlace(NamedTuple):
    """Where a file is dropped, and the line that says what came of it."""

    file: gr.File
    told: gr.HTML


def place_restore() -> RestorePlace:
    """Lay it out."""
    file = gr.File(label=word("label.restore"), elem_id="restore", height=140)
    return RestorePlace(file, gr.HTML(elem_id="restore_told", visible=False, padding=False))


def wire_restore(
    place: RestorePlace, kept: KeptPlace, results: Results, gallery: GalleryPlace, others: Iterable[Block]
) -> None:
    """Connect the place, the buttons that reuse a clip's settings, and the one that leaves files out.

    Args:
        place: Where files are dropped.
        kept: Which files of a restored request are used.
        results: Where the clip on show is.
        gallery: Where a chosen clip is.
        others: Everything else that is set.
    """
    plain = QUIET | {"preprocess": False}
    outputs = [*place, kept.column, kept.told, *others]
    shown = {str(one.elem_id): one for one in outputs}

    def dropped(file: Any) -> dict[Block, Any]:
        name = file.get("orig_name") if isinstance(file, Mapping) else None
        language = visitor_language()
        title = say(language, "told.restored.a_file")
        if name:
            title = say(language, "told.restored.file", name=str(name)[:_MOST_LETTERS])
        return _told(shown, title, lambda: read_request(uploaded_path(file, "restore")))

    def reused(text: str) -> dict[Block, Any]:
        return _told(shown, say(visitor_language(), "told.restored.shown"), lambda: restore(text or ""))

    def reused_from_gallery(text: str) -> dict[Block, Any]:
        return _told(shown, say(visitor_language(), "told.restored.chosen"), lambda: restore(text or ""))

    def forgotten() -> dict[Block, Any]:
        gone = {KEPT: "", "kept": gr.update(visible=False), "source_told": word_html("note.no_source")}
        return {shown[name]: value for name, value in gone.items()}

    place.file.upload(dropped, place.file, outputs, **plain)
    results.restore.click(reused, results.recipe, outputs, **plain)
    gallery.use.click(reused_from_gallery, gallery.recipe, outputs, **plain)
    kept.forget.click(forgotten, None, outputs, queue=False, **plain)


def wire_found_again(
    jobs: Jobs, job_id: Component, on_load: Callable[..., Any], place: RestorePlace, others: Iterable[Block]
) -> None:
    """Have a page that is loaded again show what its job was asked for, in its seeds' own words.

    Args:
        jobs: Where the job is.
        job_id: What holds the job's id on the page.
        on_load: As `wire_jobs` takes it.
        place: Where is said what came of it.
        others: Everything else that is set.
    """
    outputs = [*place, *others]
    shown = {str(one.elem_id): one for one in outputs}

    def found_again(found: str | None) -> dict[Block, Any]:
        job = jobs.find(found)
        told = job.view.told if job else None
        if job is None or told is None or not told.asked:
            return {place.told: gr.skip()}
        typed = {"seed": gr.skip(), "batch_count": gr.skip()} | dict(job.typed)
        values = _told(shown, say(visitor_language(), "told.restored.yours"), lambda: restore(told.asked))
        return values | {shown[name]: value for name, value in typed.items()}

    on_load(found_again, job_id, outputs, js=OF_THIS_TAB, **QUIET | {"queue": False})


def page_values(restored: Restored) -> tuple[dict[str, Any], list[str]]:
    """What every component shows for a restored request, by its `elem_id`; and what the page has no place for."""
    values = restored.values
    shown = {name: shown_value(name, values[name]) for name in (*FIELDS, *_SIMPLE)}
    shown |= model_values(values) | dict.fromkeys(_FILE_PLACES)
    units, unit_files, notes = unit_values(values["controls"], values["base_model"])
    prompts, prompt_files, more = image_prompt_values(
        values["image_prompts"], num_frames=values["num_frames"], base_model=values["base_model"]
    )
    files = {
        name: (say(visitor_language(), f"field.{name}.label"), values[name]) for name in FILE_FIELDS if values[name]
    }
    files |= unit_files | prompt_files
    strip = kept_html(files)
    told, picture = source_at_hand(values)
    shown |= {
        **units,
        **prompts,
        KEPT: json.dumps({name: sha256 for name, (_, sha256) in files.items()}) if files else "",
        "kept": gr.update(visible=bool(files)),
        "kept_told": strip or message_html(say(visitor_language(), "told.kept.none")),
        "mode": restored.mode.value,
        "modes": gr.Tabs(selected=restored.mode.value),
        "steering": gr.update(visible=restored.mode is not Mode.TXT2VID),
        "batch_count": 1,
        "source_told": told,
        "mask_painting": picture,
    }
    return shown, [*notes, *more]


def _told(shown: Mapping[str, Block], title: str, read: Callable[[], Restored]) -> dict[Block, Any]:
    """What changes on the page; a refusal stands in the line and changes nothing else."""
    try:
        with faults_in_words(page_words()):
            restored = read()
            values, notes = page_values(restored)
    except gr.Error as err:
        line = message_html(err.message, is_error=True)
        return {shown["restore"]: None, shown["restore_told"]: gr.update(value=line, visible=True)}
    line = message_html(title, notes=[*restored.notes, *notes])
    values |= {"restore": None, "restore_told": gr.update(value=line, visible=True)}
    return {shown[name]: value for name, value in values.items()}
