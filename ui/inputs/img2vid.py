"""Tab "Image to video": first and last frame, and their falloff."""

import gradio as gr
from gradio.components import Component

from media.input_facts import InputFacts
from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.faults import Fault
from pipelines.plan.request import GenerationRequest
from studio.request_inputs import source_facts
from ui.charts.falloff_chart import hold_html
from ui.inputs.source_size import place_size_button
from ui.parts.fields import build_control, words_of
from ui.parts.page_request import PageRequest
from ui.parts.page_values import PageValues
from ui.words.speech import word

FADING = ("latent_scale", "latent_power", "latent_scale_last", "latent_power_last", "noise_floor", "exact_ends")
"""The fields of the accordion, in its order."""

_PICTURE_HEIGHT = 190


def build_img2vid() -> tuple[dict[str, Component], gr.Button]:
    """Lay out what the tab adds.

    Returns:
        Its components by their `elem_id`, and the button that takes the first picture's size.
    """
    components: dict[str, Component] = {}
    with gr.Row():
        for name in ("first_frame", "last_frame"):
            components[name] = build_picture(name, words_of(GenerationRequest, name)["label"])
    take_size = place_size_button("first_frame_size", word("button.take_first_size"))
    gr.Markdown(words_of(GenerationRequest, "last_frame")["info"], elem_classes="note")
    with gr.Accordion(word("section.hold"), open=False):
        gr.HTML(hold_html(PageRequest.of({}), has_last=False), elem_id="hold", padding=False)
        for name in FADING:
            components[name] = build_control(name)
    return components, take_size


def build_picture(name: str, label: str) -> gr.Image:
    """Build a component for a picture: uploaded, pasted or taken."""
    return gr.Image(
        type="filepath",
        sources=["upload", "clipboard", "webcam"],
        label=label,
        elem_id=name,
        height=_PICTURE_HEIGHT,
        min_width=130,
        buttons=[],
        interactive=True,
    )


def first_shape(page: PageValues) -> InputFacts:
    """Read the facts of the first frame.

    Raises:
        InvalidRequestError: There is none, or it can't be read.
    """
    if not page.value("first_frame"):
        fix = "Choose a {field:label}"
        raise InvalidRequestError(Fault("inputs.not_given", "first_frame", "be given", "none", fix))
    return source_facts(page.input_hash("first_frame"), field="first_frame")


def img2vid_fields(page: PageValues) -> dict[str, object]:
    """Build the request's fields from the tab's values.

    Raises:
        InvalidRequestError: A picture is none.
    """
    pictures = {name: page.input_hash(name) for name in ("first_frame", "last_frame")}
    return {name: sha256 for name, sha256 in pictures.items() if sha256} | page.fields(FADING)
