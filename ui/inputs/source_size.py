"""Button that copies the shape of the source or first frame."""

from collections.abc import Callable
from math import sqrt

import gradio as gr

from media.input_facts import InputFacts
from pipelines.plan.request import GenerationRequest, field_bounds
from ui.parts.page_events import PageEvents
from ui.parts.page_values import PageValues
from ui.parts.updates import UpdatesById
from ui.words.speech import say, visitor_language, word

ReadFacts = Callable[[PageValues], InputFacts]

_SIZE = ("width", "height")
_MULTIPLE = 8
_MESSAGE_S = 4


def place_size_button(elem_id: str, text: str = "") -> gr.Button:
    """Lay out the button."""
    return gr.Button(text or word("button.take_size"), elem_id=elem_id, size="sm")


def wire_size_button(button: gr.Button, read_facts: ReadFacts, events: PageEvents) -> None:
    """Set width and height on a press of the button.

    Args:
        button: The button.
        read_facts: Reads facts of the files that the page holds; may refuse them.
        events: The page's.
    """

    def take_size(page: PageValues) -> UpdatesById:
        facts = read_facts(page)
        now = GenerationRequest.build(seed=0, **page.fields(_SIZE))
        width, height = size_like(facts.width, facts.height, area=now.width * now.height)
        message = say(visitor_language(), "told.size_taken", width=width, height=height)
        gr.Info(message, duration=_MESSAGE_S)  # it names the accordion, which may be closed
        return {"width": width, "height": height}

    events.on([button.click], take_size, _SIZE)


def size_like(width: int, height: int, *, area: int) -> tuple[int, int]:
    """Compute an allowed size with about a picture's shape.

    Args:
        width, height: The picture's, pixels.
        area: About how many pixels the result has; the limits of its sides come first.

    Returns:
        Width and height.

    Example:
        >>> size_like(1920, 1080, area=512 * 512)
        (680, 384)
        >>> size_like(1080, 1920, area=64 * 64)
        (64, 112)
    """
    low, high = (int(bound or 0) for bound in field_bounds("width"))
    ratio = sqrt(area / (width * height))
    ratio = min(max(ratio, low / min(width, height)), high / max(width, height))
    fitting = [round(side * ratio / _MULTIPLE) * _MULTIPLE for side in (width, height)]
    return min(max(fitting[0], low), high), min(max(fitting[1], low), high)
