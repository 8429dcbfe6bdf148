"""Image prompts on the page: an IP-Adapter with a picture, or two between which it travels."""

import math
from collections.abc import Mapping
from typing import Any

import gradio as gr
from gradio.components import Component

from api.faults import faults_in_words
from api.inputs import keep
from api.uploads import uploaded_path
from pipelines.control_units import ImagePrompt
from pipelines.errors import InvalidRequestError
from ui.control_units import NO_MODEL_FITS
from ui.controls import allows_any, control_model_choices, words_of
from ui.img2vid import build_picture

FIELD = "image_prompts"
PARTS = ("model", "picture", "last_picture", "weight", "start", "end")
"""What the components are called, after `image_prompt_`."""


def build_image_prompt(base_model: str) -> dict[str, Component]:
    """Lay out the accordion's content.

    Args:
        base_model: Id of the one that the models are to fit.

    Returns:
        The components by their `elem_id`.
    """
    models = control_model_choices(FIELD, base_model)
    made: dict[str, Component] = {}
    made["model"] = gr.Dropdown(
        choices=models,
        value=models[0][1] if models else None,
        label=words_of(ImagePrompt, "model")["label"],
        info=_model_help(models),
        filterable=allows_any(),
        allow_custom_value=allows_any(),
        elem_id="image_prompt_model",
        interactive=True,
    )
    with gr.Row():
        made["picture"] = build_picture("image_prompt_picture", "Picture")
        made["last_picture"] = build_picture("image_prompt_last_picture", "At the last frame")
    gr.Markdown("Used if there is a picture. " + words_of(ImagePrompt, "pictures")["info"], elem_classes="note")
    made["weight"] = gr.Textbox(
        "1", max_lines=1, elem_id="image_prompt_weight", interactive=True, **words_of(ImagePrompt, "weight")
    )
    with gr.Row():
        for name, value in (("start", 0), ("end", 1)):
            made[name] = gr.Slider(
                minimum=0,
                maximum=1,
                step=0.05,
                value=value,
                buttons=[],
                min_width=130,
                elem_id=f"image_prompt_{name}",
                interactive=True,
                **words_of(ImagePrompt, name),
            )
    return {f"image_prompt_{name}": made[name] for name in PARTS}


def wire_image_prompt(found: Mapping[str, Component], base_model: Component) -> None:
    """Keep the list of models to those that fit the base model."""
    base_model.input(
        _for_base_model,
        base_model,
        found["image_prompt_model"],
        queue=False,
        preprocess=False,
        api_visibility="private",
        show_progress="hidden",
    )


def fitting_adapters(base_model: str) -> Any:
    """The list of models, looked up again; what is chosen stays."""
    models = control_model_choices(FIELD, base_model)
    return gr.update(choices=models, info=_model_help(models))


def image_prompt_fields(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The image prompts of a request from the page's values: none without a picture.

    Raises:
        InvalidRequestError: A picture is none, or the first or the model is missing.
    """
    given = {name: values.get(f"image_prompt_{name}") for name in PARTS}
    if not given["picture"] and not given["last_picture"]:
        return []
    if not given["picture"]:
        raise InvalidRequestError(f"{FIELD} must have a picture for the first frame, got none. Choose 'Picture'.")
    if not given["model"]:
        raise InvalidRequestError(f"{FIELD} must have a model, got none. Choose one, or remove the picture.")
    pictures = [(0, _kept(given["picture"]))]
    if given["last_picture"]:
        pictures.append((_last_frame(values["num_frames"]), _kept(given["last_picture"])))
    return [{"pictures": pictures, **{name: given[name] for name in ("model", "weight", "start", "end")}}]


def _kept(picture: object) -> str:
    return keep([uploaded_path(picture, FIELD)], field=FIELD)


def _last_frame(num_frames: object) -> int:
    """At least 1, so that two pictures never share a frame; what is no number the request refuses by its own name."""
    return max(1, int(num_frames) - 1) if isinstance(num_frames, (int, float)) and math.isfinite(num_frames) else 1


def _for_base_model(base_model: str) -> Any:
    with faults_in_words():
        models = control_model_choices(FIELD, base_model)
    return gr.update(choices=models, value=models[0][1] if models else None, info=_model_help(models))


def _model_help(models: object) -> str:
    return words_of(ImagePrompt, "model")["info"] if models else NO_MODEL_FITS
