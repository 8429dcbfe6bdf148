"""Gallery of this visitor's clips, below everything else.

`studio.gallery` keeps them; an id in the browser finds them again.

How files are served: gradio gives a file in its cache to whoever knows its path, and allowing the gallery's folder
would add every visitor's id to paths that are sent to browsers and written to logs. So what is shown is linked into
the cache, in a folder named by a keyed hash of visitor and entry: the same at every view, so that nothing is copied
twice, and known to nobody else. It is taken away with the entry, or by gradio when it is a day old and then made anew.
"""

import hashlib
import json
import logging
import os
import secrets
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path

import gradio as gr
from gradio.blocks import Block
from gradio.utils import get_upload_folder
from PIL import Image

from pipelines.plan.events import Clip
from studio.faults import faults_in_words
from studio.gallery import Gallery, GalleryEntry, is_visitor, new_visitor
from studio.job_runs import Keep
from ui.parts.events import QUIET
from ui.parts.updates import Updates
from ui.words.refusals import page_words
from ui.words.speech import say, visitor_language, word
from ui.words.tables import ENGLISH, languages

MOST_SHOWN = 60
_CAPTION_LETTERS = 60
_SHOWABLE = (".mp4", ".webm", ".gif", ".webp", ".png", ".apng")
_SURE = """(visitor, sure) => {
  const told = TOLD;
  return [visitor, window.confirm(told[document.documentElement.lang])];
}"""
_PLAY = """() => {
  const video = document.querySelector("#gallery .preview video");
  if (video) { video.loop = true; video.play(); }
}"""
_key = secrets.token_bytes(32)
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class GalleryPlace:
    """Widgets of the gallery."""

    visitor: gr.BrowserState
    ids: gr.State
    chosen_id: gr.State
    room: gr.Accordion
    note: gr.Markdown
    clips: gr.Gallery
    pack: gr.File
    details: gr.Column
    files: gr.File
    recipe: gr.Code
    use: gr.Button
    more_frames: gr.Number
    extend: gr.Button
    delete: gr.Button
    delete_all: gr.Button
    sure: gr.Checkbox
    download_all: gr.Button

    def all(self) -> list[Block]:
        """List the outputs of an update of the gallery."""
        passive = ("visitor", "use", "more_frames", "extend", "delete", "delete_all", "sure", "download_all")
        return [getattr(self, field.name) for field in fields(self) if field.name not in passive]


def place_gallery() -> GalleryPlace:
    """Lay out the gallery, hidden until it has a clip."""
    # The secret comes with the page, so it hides the id from nobody; it has to stay the same, or nobody's clips would
    # be found after a restart.
    visitor = gr.BrowserState("", storage_key="animatediff-visitor", secret="animatediff-studio")
    visitor.elem_id = "visitor"
    ids, chosen_id = gr.State([]), gr.State("")
    with (
        gr.Column(elem_id="clips"),
        gr.Accordion(word("section.your_clips"), open=True, visible=False, elem_id="your_clips") as room,
    ):
        note = gr.Markdown(elem_classes="note")
        clips = gr.Gallery(
            elem_id="gallery",
            show_label=False,
            columns=6,
            fit_columns=False,
            object_fit="contain",
            interactive=False,
            buttons=["download", "fullscreen"],
        )
        with gr.Column(visible=False, elem_id="gallery_details") as details:
            files = gr.File(
                label=word("label.its_files"), elem_id="gallery_files", interactive=False, file_count="multiple"
            )
            with gr.Row(equal_height=True):
                use = gr.Button(word("button.use_settings"), elem_id="gallery_use", min_width=130)
                more_frames = gr.Number(
                    16,
                    label=word("label.more_frames"),
                    elem_id="gallery_more_frames",
                    precision=0,
                    minimum=1,
                    interactive=True,
                )
                extend = gr.Button(word("button.extend"), elem_id="gallery_extend", min_width=130)
                delete = gr.Button(word("button.delete"), variant="stop", elem_id="gallery_delete", min_width=130)
            with gr.Accordion(word("section.its_recipe"), open=False):
                recipe = gr.Code(
                    language="json", elem_id="gallery_recipe", interactive=False, show_label=False, wrap_lines=True
                )
        with gr.Row():
            download_all = gr.Button(word("button.download_all"), elem_id="gallery_download_all", size="sm")
            delete_all = gr.Button(word("button.delete_all"), elem_id="gallery_delete_all", size="sm")
            sure = gr.Checkbox(visible=False)
        pack = gr.File(label=word("label.all_clips"), elem_id="gallery_zip", interactive=False, visible=False)
    listed = (visitor, ids, chosen_id, room, note, clips, pack)
    of_entry = (details, files, recipe, use, more_frames, extend, delete)
    return GalleryPlace(*listed, *of_entry, delete_all, sure, download_all)


def wire_gallery(place: GalleryPlace, gallery: Gallery, page: gr.Blocks) -> None:
    """Connect the gallery's own buttons.

    Extend is wired where clips are made, "Use its settings" where requests are restored.

    Args:
        place: The widgets.
        gallery: The clips.
        page: Whose loading shows what the visitor has.
    """
    plain = QUIET | {"queue": False}
    outputs = place.all()

    def opened(visitor: object) -> Updates:
        visitor_id = visitor if is_visitor(visitor) else new_visitor()
        return {place.visitor: visitor_id, **listing(place, gallery, visitor_id, visitor_language())}

    def choose(visitor: object, ids: Sequence[str], event: gr.SelectData) -> Updates:
        number = event.index
        entry_id = ids[number] if isinstance(number, int) and 0 <= number < len(ids) else ""
        return _details(place, gallery, visitor, entry_id)

    def delete(visitor: object, entry_id: str) -> Updates:
        with faults_in_words(page_words()):
            _delete(gallery, visitor, [entry_id] if entry_id else [])
        return listing(place, gallery, visitor, visitor_language())

    def delete_all(visitor: object, sure: bool) -> Updates:
        with faults_in_words(page_words()):
            _delete(gallery, visitor, [entry.id for entry in _entries(gallery, visitor)] if sure else [])
        return listing(place, gallery, visitor, visitor_language())

    def download_all(visitor: object) -> Updates:
        with faults_in_words(page_words()):
            folder = _served_folder(str(visitor))
            folder.mkdir(parents=True, exist_ok=True)
            gallery.zip_of(str(visitor), folder / "clips.zip")
            return {place.pack: gr.update(value=str(folder / "clips.zip"), visible=True)}

    page.load(opened, place.visitor, [place.visitor, *outputs], **plain)
    selected = place.clips.select(choose, [place.visitor, place.ids], outputs, **plain)
    selected.then(None, None, None, js=_PLAY, **plain)
    place.clips.preview_close(lambda: gr.update(visible=False), None, place.details, **plain)
    place.delete.click(delete, [place.visitor, place.chosen_id], outputs, **plain)
    place.delete_all.click(delete_all, [place.visitor, place.sure], outputs, js=_sure(), **plain)
    place.download_all.click(download_all, place.visitor, outputs, **plain)


def keeper(gallery: Gallery, visitor: object) -> Keep:
    """Build a function that adds finished clips to a visitor's gallery.

    It never fails: the clip is there in any case.
    """

    language = visitor_language()

    def keep(clip: Clip) -> Clip:
        if not is_visitor(visitor):  # the page was not quite there, or its browser keeps nothing
            return clip
        try:
            facts = {"num_frames": clip.num_frames, "seconds": clip.seconds}
            gallery.add(str(visitor), clip.files, clip.recipe, facts)
        except Exception:
            _log.exception("A clip could not be kept.")
            return replace(clip, warnings=(*clip.warnings, say(language, "told.gallery.not_kept")))
        return clip

    return keep


def listing(place: GalleryPlace, gallery: Gallery, visitor: object, language: str = ENGLISH) -> Updates:
    """Build the update that lists a visitor's newest clips."""
    entries, note = [], ""
    try:
        entries = _entries(gallery, visitor)
        pictures = [(str(_picture(visitor, entry)), _caption(entry, language)) for entry in entries[:MOST_SHOWN]]
    except Exception:  # as a full disk; the rest of the page goes on
        _log.exception("A visitor's clips could not be listed.")
        pictures, note = [], say(language, "told.gallery.not_shown")
    if len(entries) > len(pictures) and not note:
        note = say(language, "told.gallery.newest", shown=len(pictures), all=len(entries))
    return {
        place.room: gr.update(visible=bool(pictures or note)),
        place.note: gr.update(value=note, visible=bool(note)),
        place.clips: gr.update(value=pictures, selected_index=None, visible=bool(pictures)),
        place.ids: [entry.id for entry in entries[: len(pictures)]],
        place.chosen_id: "",
        place.details: gr.update(visible=False),
        place.pack: gr.update(value=None, visible=False),
    }


def _details(place: GalleryPlace, gallery: Gallery, visitor: object, entry_id: str) -> Updates:
    """Build the update with a clip's files, or an updated list."""
    entry = next((entry for entry in _entries(gallery, visitor) if entry.id == entry_id), None)
    if entry is None:
        return listing(place, gallery, visitor, visitor_language())
    return {
        place.chosen_id: entry.id,
        place.details: gr.update(visible=True),
        place.files: [str(path) for path in _serve_files(visitor, entry)],
        place.recipe: json.dumps(json.loads(entry.recipe), indent=2, ensure_ascii=False),
    }


def _entries(gallery: Gallery, visitor: object) -> list[GalleryEntry]:
    return gallery.entries(str(visitor)) if is_visitor(visitor) else []


def _delete(gallery: Gallery, visitor: object, ids: Sequence[str]) -> None:
    if is_visitor(visitor):
        gallery.delete(str(visitor), *ids)
        for entry_id in ids:
            shutil.rmtree(_served_folder(str(visitor), entry_id), ignore_errors=True)


def _sure() -> str:
    """Build the script that asks for confirmation in the browser's language."""
    return _SURE.replace("TOLD", json.dumps({code: say(code, "told.gallery.sure") for code in languages()}))


def _served_folder(*words: str) -> Path:
    """Build the path of a secret folder in gradio's cache."""
    name = hashlib.blake2b("/".join(words).encode(), key=_key, digest_size=32).hexdigest()
    return Path(get_upload_folder()) / name


def _serve_files(visitor: object, entry: GalleryEntry) -> list[Path]:
    """Link an entry's files to where gradio serves them."""
    folder = _served_folder(str(visitor), entry.id)
    folder.mkdir(parents=True, exist_ok=True)
    return [_link(path, folder / path.name) for path in entry.files]


def _link(path: Path, target: Path) -> Path:
    with suppress(FileExistsError):
        try:
            os.link(path, target, follow_symlinks=False)
        except FileExistsError:
            raise
        except (OSError, NotImplementedError):  # another disk, or a system without links
            part = target.with_name(f".{secrets.token_hex(8)}")
            shutil.copyfile(path, part, follow_symlinks=False)
            part.replace(target)
    os.utime(target)  # gradio removes what it has not given out for a day
    return target


def _picture(visitor: object, entry: GalleryEntry) -> Path:
    """Choose a thumbnail file, else make a grey picture."""
    served = _serve_files(visitor, entry)
    by_suffix = {path.suffix: path for path in reversed(served)}
    thumbnail = next((by_suffix[suffix] for suffix in _SHOWABLE if suffix in by_suffix), None)
    if thumbnail is None:
        thumbnail = served[0].with_name("no-picture.png")
        Image.new("RGB", (64, 64), (128, 128, 128)).save(thumbnail)
    return thumbnail


def _caption(entry: GalleryEntry, language: str) -> str:
    """Build a caption of prompt and seed."""
    with suppress(ValueError, AttributeError, TypeError):
        values = json.loads(entry.recipe)
        if "cells" in values:
            return say(language, "told.gallery.grid", count=len(values["cells"]))
        prompt = " ".join(str(values.get("prompt", "")).split())
        short = prompt if len(prompt) <= _CAPTION_LETTERS else f"{prompt[: _CAPTION_LETTERS - 1]}…"
        return f"{short or say(language, 'told.gallery.no_prompt')} · {values.get('seed')}"
    return say(language, "told.gallery.a_clip")
