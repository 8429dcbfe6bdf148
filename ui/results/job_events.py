"""Events of the page's job: start, cancel, follow after a reload."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType

import gradio as gr
from gradio.blocks import Block

from api.web.visitor_limit import current_visitor
from studio.faults import faults_in_words
from studio.gallery import is_visitor
from studio.job_runs import Run
from studio.jobs import Jobs, RelabelFault, View, return_unchanged
from studio.studio import Studio
from ui.parts.events import QUIET
from ui.parts.progress import still_waits
from ui.parts.updates import Update, Updates
from ui.results.gallery_view import GalleryPlace, listing
from ui.results.results import Results, idle_update, view_update, waiting_update
from ui.words.refusals import page_words
from ui.words.speech import say, visitor_language

# Through the queue, which brings ZeroGPU's token, but in no line.
_AT_ONCE: dict[str, object] = {"concurrency_limit": None}

OF_THIS_TAB = """(id, ...others) => {
  try {
    if (id) sessionStorage.setItem("job", id);
    else id = sessionStorage.getItem("job");
  } catch {}  // a browser may keep nothing
  return [id || "", ...others];
}"""
"""Keeps the job's id for the tab that it is of, or finds it again; the first value of an event."""

Start = Callable[..., str]
"""Starts a job of the values it is given, and returns its id."""


def wire_jobs(
    studio: Studio,
    results: Results,
    gallery: GalleryPlace,
    making: Mapping[gr.Button, tuple[Start, Sequence[Block]]],
    on_load: Callable[..., object],
) -> gr.Textbox:
    """Connect the buttons, and the page itself when it is loaded.

    Args:
        studio: Where jobs are started and found.
        results: Where the job is shown.
        gallery: Where its visitor's clips are listed.
        making: What each button calls, and with the values of which components.
        on_load: Connects a function with the loading of the page, as `Blocks.load`.

    Returns:
        What holds the job's id on the page.
    """
    job_id = gr.Textbox(elem_id="job", visible="hidden")

    async def follow(known_id: str | None, visitor: object) -> AsyncIterator[Updates]:
        job, language = studio.jobs.find(known_id), visitor_language()
        if job is None:  # a generator that yields nothing would empty every component, at times
            yield {results.status: gr.skip()}
            return
        yield waiting_update(results, language) | {job_id: known_id, results.cancel: gr.update(interactive=True)}
        before = View()
        async for view in job.follow():
            # Something is sent each time, since Gradio finds out only so that a page is gone.
            update = view_update(results, view, before, language) or {results.status: gr.skip()}
            if len(view.clips) > len(before.clips) and is_visitor(visitor):
                update |= await asyncio.to_thread(listing, gallery, studio.gallery, visitor, language)
            yield update
            before = view
        if job.view.fault:
            raise gr.Error(job.view.fault.in_words(page_words(language)), print_exception=False)

    def cancel(known_id: str | None) -> Update:
        """Ask the job to stop; it reports its end itself."""
        if job := studio.jobs.find(known_id):
            job.cancel()
        return gr.update(interactive=False)

    followed_by = ([job_id, gallery.visitor], [job_id, *results.all(), *gallery.all()])
    for button, (start, inputs) in making.items():
        pressed = button.click(
            lambda: waiting_update(results, visitor_language()), None, results.all(), queue=False, **QUIET
        )
        # Without preprocessing: the request checks the values, and its words name the field.
        start_event = pressed.then(start, list(inputs), job_id, preprocess=False, **_AT_ONCE, **QUIET)
        running = start_event.success(follow, *followed_by, js=OF_THIS_TAB, **_AT_ONCE, **QUIET)
        # A call that is refused before it starts, as by a full queue, has no last update.
        for event in (start_event, running):
            event.failure(
                partial(_failure_update, results),
                results.status,
                results.all(),
                queue=False,
                **QUIET,
            )
    on_load(follow, *followed_by, js=OF_THIS_TAB, **_AT_ONCE, **QUIET)
    results.cancel.click(cancel, job_id, results.cancel, queue=False, **QUIET)
    return job_id


def _failure_update(results: Results, status_html: str) -> Updates:
    language = visitor_language()
    if still_waits(status_html, language):
        return idle_update(results, say(language, "told.not_started"))
    return {results.status: gr.skip()}


def start_job(
    jobs: Jobs, run: Run, relabel: RelabelFault = return_unchanged, typed: Mapping[str, object] = MappingProxyType({})
) -> str:
    """Start a job for the visitor of this event.

    Args:
        jobs: Where.
        run: Makes its clips.
        relabel: As `Jobs.start` takes it.
        typed: As `Jobs.start` takes it.
    """
    with faults_in_words(page_words()):
        return jobs.start(run, relabel, visitor=current_visitor(), typed=typed)
