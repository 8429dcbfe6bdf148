"""Timeline of the keys of both prompts."""

from pipelines.plan.request import fields_affecting
from ui.charts.timeline_chart import foreign_html, timeline_html
from ui.parts.page_request import PageRequest
from ui.parts.page_values import PageValues
from ui.words.speech import say

TRAVEL_FIELDS = fields_affecting("travel")
"""The fields that decide how prompts change, beside the prompts."""


def prompts_html(page: PageValues, parsed: PageRequest, language: str) -> str:
    """Render the keys of both prompts and their foreign syntax."""
    prompts = [(name, say(language, f"field.{name}.label"), page.text(name)) for name in ("prompt", "negative_prompt")]
    pictures, request = "", parsed.request
    if not parsed.fault_in(TRAVEL_FIELDS):
        pictures = "".join(
            timeline_html(
                text,
                num_frames=request.num_frames,
                field=name,
                label=label,
                hold=request.prompt_hold,
                closed=request.closes_prompts,
                language=language,
            )
            for name, label, text in prompts
        )
    return pictures + "".join(foreign_html(text, label=label, language=language) for _, label, text in prompts)
