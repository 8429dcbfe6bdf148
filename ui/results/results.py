"""Result side of the page: its widgets and their updates."""

import json
from dataclasses import dataclass, fields

import gradio as gr
from gradio.blocks import Block

from pipelines.plan.events import Clip, Stage
from pipelines.plan.settings import settings
from studio.jobs import View
from ui.parts.progress import duration_text, message_html, preview_html, progress_html, word_html
from ui.parts.updates import Updates
from ui.words.refusals import page_words
from ui.words.speech import say, word
from ui.words.tables import ENGLISH

CHECKPOINTED_STAGES = (Stage.DENOISE, Stage.DECODE)
"""Where a clip stands in its checkpoint, where the operator keeps them."""

VIDEOS, PICTURES = (".mp4", ".webm"), (".gif", ".webp", ".png")


@dataclass(frozen=True)
class Results:
    """Widgets that a generation writes to."""

    status: gr.HTML
    preview: gr.HTML
    video: gr.Video
    picture: gr.Image
    facts: gr.Column
    files: gr.File
    used_seed: gr.Number
    reuse: gr.Button
    more_frames: gr.Number
    extend: gr.Button
    restore: gr.Button
    recipe: gr.Code
    full: gr.Button
    full_recipe: gr.Textbox
    generate: gr.Button
    draft: gr.Button
    cancel: gr.Button

    def all(self) -> list[Block]:
        """List all of them, for the outputs of an event."""
        return [getattr(self, field.name) for field in fields(self)]


def place_results(generate: gr.Button, draft: gr.Button, cancel: gr.Button) -> Results:
    """Lay out the widgets around the given buttons."""
    hint = word_html("note.start")
    status = gr.HTML(hint, elem_id="status", padding=False)
    preview = gr.HTML(elem_id="preview", visible=False, padding=False)
    video = gr.Video(
        label=word("label.clip"), elem_id="video", interactive=False, autoplay=True, loop=True, buttons=["download"]
    )
    picture = gr.Image(
        label=word("label.clip"),
        elem_id="picture",
        interactive=False,
        visible=False,
        buttons=["download", "fullscreen"],
    )
    # Outside of what is hidden at first: that shows all it holds when it is shown.
    full_recipe = gr.Textbox(label="In full", elem_id="full_recipe", visible="hidden")
    with gr.Column(visible=False) as facts:
        full = gr.Button(word("button.full"), variant="primary", elem_id="full", visible=False)
        files = gr.File(label=word("label.files"), elem_id="files", interactive=False, file_count="multiple")
        with gr.Row(equal_height=True):
            used_seed = gr.Number(label=word("label.used_seed"), elem_id="used_seed", interactive=False, scale=3)
            reuse = gr.Button(word("button.reuse_seed"), elem_id="reuse_seed", scale=1, min_width=130)
        with gr.Row(equal_height=True):
            more_frames = gr.Number(
                16,
                label=word("label.more_frames"),
                elem_id="more_frames",
                precision=0,
                minimum=1,
                scale=3,
                interactive=True,
            )
            extend = gr.Button(word("button.extend"), elem_id="extend", scale=1, min_width=130)
        restore = gr.Button(word("button.reuse_settings"), elem_id="reuse_settings", size="sm")
        with gr.Accordion(word("section.recipe"), open=False):
            recipe = gr.Code(language="json", elem_id="recipe", interactive=False, show_label=False, wrap_lines=True)
    outputs = (status, preview, video, picture, facts, files)
    clip_buttons = (used_seed, reuse, more_frames, extend, restore, recipe)
    return Results(*outputs, *clip_buttons, full, full_recipe, generate, draft, cancel)


def view_update(results: Results, view: View, before: View, language: str = ENGLISH) -> Updates:
    """Build the update when a job goes on.

    Args:
        results: Where it is shown.
        view: How the job goes by now.
        before: The view that is shown already.
        language: The visitor's.
    """
    update: Updates = {}
    done = len(view.finished)
    if done > len(before.finished):
        newest = view.finished[-1]
        goes_on = newest.goes_on and not view.ended
        update |= _finished_update(results, view.clips[-1], newest.seed, language)
        if newest.part:
            files = [str(path) for clip in view.clips for path in clip.files]
            update |= _batch_update(results, files, goes_on=goes_on)
        update |= _draft_update(results, newest.full_recipe, goes_on=goes_on)
    if view.fault:
        return update | idle_update(results, view.fault.in_words(page_words(language)), is_error=True)
    if view.cancelled:
        return update | idle_update(results, describe_cancelled(view, language))
    if view.progress is not None and view.latest is not None:
        update[results.status] = progress_html(view.progress, clip=view.latest.part, language=language)
    if view.preview is not None and view.preview is not before.preview:  # it takes the place of the empty video
        update[results.preview] = gr.update(value=preview_html(view.preview, language), visible=True)
        update[results.video] = gr.update(visible=False)
    return update


def describe_cancelled(view: View, language: str = ENGLISH) -> str:
    """Describe a cancelled job's remains, and how to go on.

    Its seed may have been drawn.
    """
    latest, done = view.latest, len(view.finished)
    words = [say(language, "told.cancelled")]
    if done:
        words.append(say(language, "told.cancelled_clips", clips=done))
    at_work = latest.event if latest and not isinstance(latest.event, Clip) else None
    steps_kept = at_work is not None and at_work.stage in CHECKPOINTED_STAGES and settings().checkpoint_dir is not None
    if not done and not steps_kept:
        words.append(say(language, "told.cancelled_nothing"))
    if latest and at_work and latest.request_json:  # of a grid each clip has settings of its own
        words.append(say(language, f"told.cancelled_{'goes_on' if steps_kept else 'again'}", seed=str(latest.seed)))
    return " ".join(words)


def _draft_update(results: Results, recipe: str, *, goes_on: bool) -> Updates:
    """Show the button that renders in full, for drafts only."""
    return {results.full: gr.update(visible=bool(recipe), interactive=not goes_on), results.full_recipe: recipe}


def _batch_update(results: Results, files: list[str], *, goes_on: bool) -> Updates:
    """Build the update with all files so far of several clips."""
    return {
        results.files: gr.update(value=list(files), visible=True),
        results.generate: gr.update(interactive=not goes_on),
        results.draft: gr.update(interactive=not goes_on),
        results.extend: gr.update(interactive=not goes_on),
        results.cancel: gr.update(interactive=goes_on),
    }


def waiting_update(results: Results, language: str = ENGLISH) -> Updates:
    """Build the update between the press and the first event."""
    return {
        results.status: message_html(say(language, "told.waiting")),
        results.preview: gr.update(value="", visible=False),
        results.video: gr.update(value=None, visible=True),
        results.picture: gr.update(value=None, visible=False),
        results.facts: gr.update(visible=False),
        results.files: None,
        results.generate: gr.update(interactive=False),
        results.draft: gr.update(interactive=False),
        results.extend: gr.update(interactive=False),
    }


def idle_update(results: Results, text: str, *, is_error: bool = False) -> Updates:
    """Build the update when nothing runs: a line, and enabled buttons."""
    return {
        results.status: message_html(text, is_error=is_error),
        results.preview: gr.update(value="", visible=False),
        results.video: gr.update(visible=True),
        results.generate: gr.update(interactive=True),
        results.draft: gr.update(interactive=True),
        results.full: gr.update(interactive=True),
        results.extend: gr.update(interactive=True),
        results.cancel: gr.update(interactive=False),
    }


def _finished_update(results: Results, clip: Clip, seed: int, language: str = ENGLISH) -> Updates:
    """Show the first showable file, and list all for download."""
    first = next((path for path in clip.files if path.suffix in (*VIDEOS, *PICTURES)), None)
    video = str(first) if first and first.suffix in VIDEOS else None
    picture = str(first) if first and first.suffix in PICTURES else None
    done = say(language, "told.done", frames=clip.num_frames, time=duration_text(clip.seconds, language))
    return {
        **idle_update(results, " ".join([done, *clip.warnings])),
        results.video: gr.update(value=video, visible=video is not None),
        results.picture: gr.update(value=picture, visible=picture is not None),
        results.files: gr.update(value=list(map(str, clip.files)), visible=len(clip.files) > 1 or first is None),
        results.used_seed: seed,
        results.facts: gr.update(visible=True),
        results.recipe: json.dumps(json.loads(clip.recipe), indent=2, ensure_ascii=False),
    }
