"""Events of the page: one call a change, which also redraws what follows from it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.blocks import Block

from studio.faults import faults_in_words
from ui.parts.events import QUIET
from ui.parts.page_values import PageValues
from ui.parts.updates import UpdatesById
from ui.words.refusals import page_words

Handler = Callable[[PageValues], UpdatesById]
"""Computes what else a change sets, by `elem_id`."""


def redraw(page: PageValues) -> UpdatesById:  # noqa: ARG001 - as every handler is called
    """Change nothing: the drawing is all that follows."""
    return {}


@dataclass(frozen=True)
class PageEvents:
    """Events that read the same values of the page and redraw the same parts.

    Args:
        components: All that is read, set or drawn, by `elem_id`.
        values: What decides the drawings.
        drawn: What is drawn.
        draw: Draws it, of all values: of changes that come while a call is on its way only the last makes another.
    """

    components: Mapping[str, Block]
    values: Sequence[str]
    drawn: Sequence[str]
    draw: Handler

    def on(
        self, triggers: Iterable[Any], handler: Handler = redraw, outputs: Iterable[str] = (), *, queue: bool = True
    ) -> None:
        """Answer a change in one call.

        A call on its way is waited for, then the last values are sent.

        Args:
            triggers: What a visitor does, as `Slider.input`. Not `change`: what one call sets would make the next.
            handler: The change's consequences, before the drawing.
            outputs: What the handler sets.
            queue: As `gr.on` takes it; without it nothing waits, and a refusal is the only message.
        """
        gr.on(list(triggers), trigger_mode="always_last", queue=queue, **self._arguments(handler, outputs))

    def after(self, event: Any, handler: Handler = redraw, outputs: Iterable[str] = ()) -> None:
        """Redraw after an event that sets several values itself."""
        event.then(queue=False, **self._arguments(handler, outputs))

    def _arguments(self, handler: Handler, outputs: Iterable[str]) -> dict[str, Any]:
        names = list(dict.fromkeys([*outputs, *self.drawn]))

        def answer(*values: object) -> list[object]:
            page = PageValues.of(self.values, values)
            with faults_in_words(page_words()):
                updates = handler(page)
                updates = updates | self.draw(page.updated(updates))
            return [updates.get(name, gr.skip()) for name in names]

        answer.__name__ = getattr(handler, "__name__", "redraw")
        # Without preprocessing: it would compare with the lists the page was built with; the request checks the values.
        return {
            "fn": answer,
            "inputs": [self.components[name] for name in self.values],
            "outputs": [self.components[name] for name in names],
            "preprocess": False,
            **QUIET,
        }
