"""The picture of the prompts' keys on the page, drawn as they are typed."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import gradio as gr
from gradio.components import Component

from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.request import GenerationRequest, fields_affecting
from studio.open_fields import is_open_length
from ui.charts.timeline_chart import foreign_html, timeline_html
from ui.parts.events import QUIET
from ui.words.speech import say, visitor_language

_FIELDS = fields_affecting("travel")


def follow_timeline(controls: Mapping[str, Component], timeline: gr.HTML) -> None:
    """Draw the keys of the prompts as they are typed; a picture on its way is waited for, then the last is drawn."""
    drawn = [controls[name] for name in ("prompt", "negative_prompt", *_FIELDS)]
    plain = QUIET | {"preprocess": False}
    gr.on(
        [control.change for control in drawn],
        _timeline,
        drawn,
        timeline,
        queue=False,
        trigger_mode="always_last",
        **plain,
    )


def _timeline(prompt: str | None, negative_prompt: str | None, *values: Any) -> Any:
    """The keys of both prompts, while the other values can be used, and what in them is no syntax of this app."""
    language = visitor_language()
    prompts = [
        (name, say(language, f"field.{name}.label"), text or "")
        for name, text in (("prompt", prompt), ("negative_prompt", negative_prompt))
    ]
    pictures = ""
    with suppress(InvalidRequestError):
        given = dict(zip(_FIELDS, values, strict=True))
        if is_open_length(given["num_frames"]):
            given["num_frames"] = given["context_length"]
        request = GenerationRequest.build(seed=0, **given)
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
