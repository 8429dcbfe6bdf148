"""Timeline of prompt keys, redrawn as the prompts are typed."""

from collections.abc import Mapping
from contextlib import suppress

import gradio as gr
from gradio.components import Component

from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.request import GenerationRequest, fields_affecting
from studio.open_fields import is_open_length
from ui.charts.timeline_chart import foreign_html, timeline_html
from ui.parts.events import QUIET
from ui.parts.updates import Update
from ui.words.speech import say, visitor_language

_FIELDS = fields_affecting("travel")


def follow_timeline(controls: Mapping[str, Component], timeline: gr.HTML) -> None:
    """Redraw the timeline when a prompt or its fields change.

    A drawing on its way is waited for, then the last is made.
    """
    inputs = [controls[name] for name in ("prompt", "negative_prompt", *_FIELDS)]
    plain = QUIET | {"preprocess": False}
    gr.on(
        [control.change for control in inputs],
        _timeline,
        inputs,
        timeline,
        queue=False,
        trigger_mode="always_last",
        **plain,
    )


def _timeline(prompt: str | None, negative_prompt: str | None, *values: object) -> Update:
    """Render the keys of both prompts and their foreign syntax."""
    language = visitor_language()
    prompts = [
        (name, say(language, f"field.{name}.label"), text or "")
        for name, text in (("prompt", prompt), ("negative_prompt", negative_prompt))
    ]
    pictures = ""
    with suppress(InvalidRequestError):
        field_values = dict(zip(_FIELDS, values, strict=True))
        if is_open_length(field_values["num_frames"]):
            field_values["num_frames"] = field_values["context_length"]
        request = GenerationRequest.build(seed=0, **field_values)
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
    pictures += "".join(foreign_html(text, label=label, language=language) for _, label, text in prompts)
    return gr.update(value=pictures, visible=bool(pictures))
