"""Events of the page: one call a change, with its drawings."""

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


_ONCE = """(...values) => {
  const own = JSON.stringify(PLACES.map((place) => values[place]));
  if (own !== "[]" && window.sent?.[0] === EVENT && window.sent[1] === own) {
    window.sent[2] = true;
    throw new Error("Nothing changed.");
  }
  window.sent = [EVENT, own];
  return values;
}"""
"""Ends an event whose own controls are as when it was last sent: a list tells of a choice, and again as it is left."""

_FAILED = "() => { if (window.sent?.[0] === EVENT && !window.sent.splice(2).length) window.sent = null; }"
"""Lets an event that was refused be sent again as it was; one that `_ONCE` ended fails, too, and was answered."""

OVERTAKEN = "overtaken"
"""The hidden component that counts answers which have replaced newer drawings."""

_OVERTAKEN = "(count) => window.sent?.[0] === EVENT ? count : String(Number(count) + 1)"
"""Counts an event's answer if others were sent meanwhile. An error would end it as well, but be read to the blind."""

_ANEW = "(...values) => { window.sent = null; return values; }"


def redraw(page: PageValues) -> UpdatesById:  # noqa: ARG001 - as every handler is called
    """Change nothing: the drawing is all that follows."""
    return {}


@dataclass(frozen=True)
class PageEvents:
    """Events that read the same values and redraw the same parts.

    Args:
        components: All that is read, set or drawn, by `elem_id`.
        values: What decides the drawings.
        drawings: What is drawn.
        draw: Draws it, of all values: of changes that come while a call is on its way only the last makes another.
    """

    components: Mapping[str, Block]
    values: Sequence[str]
    drawings: Sequence[str]
    draw: Handler

    def on(
        self, triggers: Iterable[Any], handler: Handler = redraw, outputs: Iterable[str] = (), *, queue: bool = True
    ) -> None:
        """Answer a change in one call.

        A call on its way is waited for, then the last values are sent. One that waits in the queue draws values that
        other calls may have drawn since in newer ones: then all is drawn again.

        Args:
            triggers: What a visitor does, as `Slider.input`. Not `change` of what a call sets: it would make the next.
            handler: The change's consequences, before the drawing.
            outputs: What the handler sets.
            queue: As `gr.on` takes it; without it nothing waits, and a refusal is the only message.
        """
        triggers = list(triggers)
        names = {str(trigger.__self__.elem_id) for trigger in triggers}
        places = [place for place, name in enumerate(self.values) if name in names]
        once, failed, overtaken = (js.replace("EVENT", f'"{min(names)}"') for js in (_ONCE, _FAILED, _OVERTAKEN))
        js, arguments = once.replace("PLACES", str(places)), self._arguments(handler, outputs)
        event = gr.on(triggers, trigger_mode="always_last", queue=queue, js=js, **arguments)
        event.failure(None, js=failed, **QUIET)
        if queue:
            count = self.components[OVERTAKEN]
            event.success(None, count, count, js=overtaken, **QUIET)

    def redraw_overtaken(self) -> None:
        """Draw again where an answer has replaced newer drawings."""
        count: Any = self.components[OVERTAKEN]
        count.change(trigger_mode="always_last", queue=False, js=_ANEW, **self._arguments(redraw, ()))

    def after(self, event: Any, handler: Handler = redraw, outputs: Iterable[str] = ()) -> None:
        """Redraw after an event that sets several values itself."""
        event.then(queue=False, js=_ANEW, **self._arguments(handler, outputs))

    def _arguments(self, handler: Handler, outputs: Iterable[str]) -> dict[str, Any]:
        names = list(dict.fromkeys([*outputs, *self.drawings]))

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
