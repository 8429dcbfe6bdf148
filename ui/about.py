"""Section "About": properties of the studio, and a self-test."""

import html
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing

import gradio as gr

from pipelines.plan.events import Clip
from studio.engine import MakeClip, run_folder
from studio.faults import faults_in_words
from studio.self_test import demo_request, studio_facts
from ui.parts.events import QUIET
from ui.parts.progress import message_html, progress_html, word_html
from ui.parts.updates import Updates
from ui.words.refusals import page_words
from ui.words.speech import say, say_note, visitor_language, word
from ui.words.tables import ENGLISH


def build_about(make_clip: MakeClip, queue: Mapping[str, object]) -> None:
    """Lay out and wire the section, inside the current Blocks.

    Args:
        make_clip: The engine.
        queue: As for clips: the test makes one.
    """
    with gr.Accordion(word("section.about"), open=False, elem_id="about") as section:
        facts = gr.HTML(elem_id="about_facts", padding=False)
        test = gr.Button(word("button.self_test"), elem_id="self_test", size="sm")
        result = gr.HTML(word_html("note.not_tested"), elem_id="self_test_told", padding=False)
        video = gr.Video(
            label=word("label.test_clip"),
            elem_id="self_test_video",
            interactive=False,
            loop=True,
            visible=False,
            height=240,
        )
    section.expand(lambda: facts_html(studio_facts(), visitor_language()), None, facts, queue=False, **QUIET)
    running = test.click(_tester(make_clip, test, result, video), None, [test, result, video], **queue, **QUIET)
    # Also after a call that was refused before it started.
    running.then(lambda: gr.update(interactive=True), None, test, queue=False, **QUIET)
    running.then(lambda: facts_html(studio_facts(), visitor_language()), None, facts, queue=False, **QUIET)


def facts_html(facts: Mapping[str, str], language: str = ENGLISH) -> str:
    """Render facts as a table with a heading for each row.

    Example:
        >>> facts_html({"Python": "3.11 <x>"})
        '<table class="facts"><tbody><tr><th scope="row">Python</th><td>3.11 &lt;x&gt;</td></tr></tbody></table>'
    """
    cells = [[html.escape(say_note(language, text)) for text in fact] for fact in facts.items()]
    rows = "".join(f'<tr><th scope="row">{name}</th><td>{text}</td></tr>' for name, text in cells)
    return f'<table class="facts"><tbody>{rows}</tbody></table>'


def _tester(make_clip: MakeClip, test: gr.Button, result: gr.HTML, video: gr.Video) -> Callable[[], Iterator[Updates]]:
    def self_test() -> Iterator[Updates]:
        start, language = time.monotonic(), visitor_language()
        try:
            with (
                faults_in_words(page_words()),
                run_folder() as folder,
                closing(make_clip(demo_request(), folder)) as events,
            ):
                for event in events:
                    if not isinstance(event, Clip):
                        yield {result: progress_html(event, language=language), test: gr.update(interactive=False)}
                        continue
                    seconds = time.monotonic() - start
                    took = say(language, "told.about.works", frames=event.num_frames, seconds=seconds)
                    yield {
                        result: message_html(" ".join([took, *event.warnings])),
                        video: gr.update(value=str(event.files[0]), visible=True),
                    }
        except gr.Error as err:
            yield {result: message_html(err.message, is_error=True)}
            raise

    return self_test
