"""IP-Adapter image prompts on the page, with one or two pictures."""

import math
from dataclasses import dataclass, fields

import gradio as gr
from gradio.components import Component
from pydantic import TypeAdapter

from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.faults import Fault
from pipelines.plan.request_fields.units import ImagePrompt
from ui.inputs.img2vid import build_picture
from ui.parts.fields import allows_any, control_model_choices, words_of
from ui.parts.page_values import PageValues
from ui.parts.updates import Update, UpdatesById
from ui.words.speech import say, visitor_language, word

FIELD = "image_prompts"
_IMAGE_PROMPTS = TypeAdapter(list[ImagePrompt])


@dataclass(frozen=True, slots=True)
class ImagePromptValues:
    """Values of the accordion's components, unchecked; None where none was sent."""

    model: object
    picture: object
    last_picture: object
    weight: object
    start: object
    end: object

    @classmethod
    def of(cls, page: PageValues) -> "ImagePromptValues":
        """Pick them of the page's."""
        return cls(*(page.value(f"image_prompt_{name}") for name in PARTS))


PARTS = tuple(field.name for field in fields(ImagePromptValues))
"""What the components are called, after `image_prompt_`."""


def build_image_prompt(base_model: str) -> dict[str, Component]:
    """Lay out the accordion.

    Args:
        base_model: Id of the one that the models are to fit.

    Returns:
        The components by their `elem_id`.
    """
    with gr.Accordion(word("section.image_prompts"), open=False):
        models = control_model_choices(FIELD, base_model)
        components: dict[str, Component] = {}
        components["model"] = gr.Dropdown(
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
            components["picture"] = build_picture("image_prompt_picture", word("label.picture"))
            components["last_picture"] = build_picture("image_prompt_last_picture", word("label.last_picture"))
        gr.Markdown(words_of(ImagePrompt, "pictures")["info"], elem_classes="note")
        components["weight"] = gr.Textbox(
            "1", max_lines=1, elem_id="image_prompt_weight", interactive=True, **words_of(ImagePrompt, "weight")
        )
        with gr.Row():
            for name, value in (("start", 0), ("end", 1)):
                components[name] = gr.Slider(
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
        return {f"image_prompt_{name}": components[name] for name in PARTS}


def fitting_adapters(base_model: str) -> Update:
    """Look up the list of models again, keeping the choice."""
    models = control_model_choices(FIELD, base_model)
    return gr.update(choices=models, info=_model_help(models))


def image_prompt_fields(page: PageValues, *, num_frames: object) -> list[dict[str, object]]:
    """Build a request's image prompts from the page; none without picture.

    Args:
        page: The values.
        num_frames: Of the clip, which decides the frame of the last picture.

    Raises:
        InvalidRequestError: A picture is none, or the first or the model is missing.
    """
    unit = ImagePromptValues.of(page)
    first, last = (page.input_hash(f"image_prompt_{name}", field=FIELD) for name in ("picture", "last_picture"))
    if not first and not last:
        return []
    if not first:
        rule = "have a picture for the first frame"
        raise InvalidRequestError(Fault("image_prompt.no_picture", FIELD, rule, "none", "Choose 'Picture'"))
    if not unit.model:
        fix = "Choose one, or remove the picture"
        raise InvalidRequestError(Fault("image_prompt.no_model", FIELD, "have a model", "none", fix))
    pictures = [(0, first)]
    if last:
        pictures.append((_last_frame(num_frames), last))
    return [{"pictures": pictures, "model": unit.model, "weight": unit.weight, "start": unit.start, "end": unit.end}]


def image_prompt_values(
    units_json: object, *, num_frames: object, base_model: str
) -> tuple[UpdatesById, dict[str, tuple[str, str]], list[str]]:
    """Build the accordion's values for image prompts; inverts `image_prompt_fields`.

    Args:
        units_json: Of a request, as JSON.
        num_frames: Of the clip.
        base_model: Id of the one that the models are to fit.

    Returns:
        As `unit_values`.
    """
    units = _IMAGE_PROMPTS.validate_python(units_json)
    models = control_model_choices(FIELD, base_model)
    model_id = models[0][1] if models else None
    language = visitor_language()
    notes = [say(language, "told.restored.no_image_prompt", number=number) for number in range(2, len(units) + 1)]
    parts: UpdatesById = {"weight": "1", "start": 0, "end": 1}
    files: dict[str, tuple[str, str]] = {}
    if units:
        unit = units[0]
        parts = {"weight": str(unit.model_dump(mode="json")["weight"]), "start": unit.start, "end": unit.end}
        model_id = unit.model if allows_any() or unit.model in [model for _, model in models] else None
        if model_id is None:
            note = say(language, "told.restored.unfit_model", model=unit.model[:60])
            notes.append(say(language, "told.restored.image_prompt_note", note=note))
        pictures = sorted(unit.pictures)
        files["image_prompt_picture"] = (say(language, "told.restored.image_prompt"), pictures[0][1])
        if len(pictures) > 1:
            files["image_prompt_last_picture"] = (say(language, "told.restored.image_prompt_last"), pictures[-1][1])
            if [frame for frame, _ in pictures] != [0, _last_frame(num_frames)]:
                notes.append(say(language, "told.restored.two_pictures"))
    parts |= {"model": gr.update(choices=models, value=model_id, info=_model_help(models))}
    parts |= {"picture": None, "last_picture": None}
    return {f"image_prompt_{name}": value for name, value in parts.items()}, files, notes


def _last_frame(num_frames: object) -> int:
    """Compute the place of the last picture, at least 1.

    Two pictures never share a frame. What is no number the request refuses by its own name.
    """
    return max(1, int(num_frames) - 1) if isinstance(num_frames, (int, float)) and math.isfinite(num_frames) else 1


def adapters_for(base_model: str) -> Update:
    """Limit the list to a base model's, choosing the first."""
    models = control_model_choices(FIELD, base_model)
    return gr.update(choices=models, value=models[0][1] if models else None, info=_model_help(models))


def _model_help(models: object) -> str:
    return words_of(ImagePrompt, "model")["info"] if models else word("note.no_model_fits")
