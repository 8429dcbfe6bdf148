"""Build requests from options: recipes, presets and files combined."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from api.command_line.inputs import keep_inputs
from api.recipes.infotext import is_infotext
from api.recipes.read import check_recipe, read_text, restore
from controlnet.preprocessors import options_of
from pipelines.plan import catalog
from pipelines.plan.draft import draft_of
from pipelines.plan.errors import InvalidRequestError, UserError
from pipelines.plan.faults import Fault
from pipelines.plan.presets import preset_values, required_lora
from pipelines.plan.prompt.tags import read_tags
from pipelines.plan.request import FILE_FIELDS, RANDOM_SEED, GenerationRequest
from pipelines.plan.shown_values import shown
from studio.batch import build_batch
from studio.engine import build_request, encoding_of, extend_request
from studio.fields import FieldValues
from studio.stored_inputs import input_store

_NO_MODEL = GenerationRequest.model_fields["upscaler"].default  # enlarges without one
Note = Callable[[str], None]
"""Reports what is no fault but worth knowing."""


def clip_values(options: Mapping[str, object], note: Note) -> FieldValues:
    """Read a request's fields from options.

    Those of the recipe come first, then the preset's, then their own.

    Args:
        options: Fields by name, files as paths, and perhaps `recipe`, `extend`, `frames` and `preset`.

    Raises:
        UserError: A file can't be used, or options don't belong together.
    """
    fields = keep_inputs(options)
    recipe, extend, frames, preset = (fields.pop(name, None) for name in ("recipe", "extend", "frames", "preset"))
    values = _recipe_values(recipe, extend, frames, note)
    return values | _preset_values(preset, values | fields, note) | fields


def build_one(values: Mapping[str, object]) -> GenerationRequest:
    """Build a clip's request, or its draft's if `draft` is True.

    Raises:
        InvalidRequestError: A value breaks its field's rule, or what is asked for is not there.
    """
    return _build_checked(values, lambda fields: [build_request(**fields)])[0]


def build_several(values: Mapping[str, object], count: str | None) -> list[GenerationRequest]:
    """Build the requests of one or more clips, or drafts.

    Raises:
        InvalidRequestError: As `build_one`; or the seeds and the count don't agree.
    """
    return _build_checked(values, lambda fields: build_batch(fields, batch_count=count))


def check_request(request: GenerationRequest) -> None:
    """Refuse an impossible request before a model is touched.

    Raises:
        InvalidRequestError: A model, LoRA or preprocessor is not known, a file that it is made from is not here (any
            more), or no file can be made as requested.
    """
    from media.write import check_output  # brings ffmpeg

    check_output(request.formats, request.output_fps, encoding_of(request))
    if request.upscaler != _NO_MODEL:
        catalog.find_upscaler(request.upscaler)
    if request.vae:
        catalog.find_vae(request.vae)
    for number, unit in enumerate(request.controls, start=1):
        catalog.find_controlnet(unit.model)
        options_of(unit, number=number)
    for prompt in request.image_prompts:
        catalog.find_ip_adapter(prompt.model)
    for name, sha256 in _inputs_of(request):
        input_store().path(sha256, field=name)
    for field in ("prompt", "negative_prompt"):
        for tag in read_tags(getattr(request, field), field=field):
            catalog.find_lora(tag.name, place=tag.place)


def _inputs_of(request: GenerationRequest) -> Iterator[tuple[str, str]]:
    """Yield each input's field, as the engine names it, and hash."""
    yield from ((name, sha256) for name in FILE_FIELDS if (sha256 := getattr(request, name)))
    yield from ((f"controls {number}", unit.clip) for number, unit in enumerate(request.controls, 1) if unit.clip)
    yield from (("image_prompts", sha256) for unit in request.image_prompts for _, sha256 in unit.pictures)


def is_seed_open(values: Mapping[str, object]) -> bool:
    """Whether the seed is left to be drawn."""
    return values.get("seed") in (None, "", RANDOM_SEED, str(RANDOM_SEED))


def wants_draft(values: Mapping[str, object]) -> bool:
    """Whether a draft is to be made of what the values describe."""
    return values.get("draft") is True


def _build_checked(
    values: Mapping[str, object], build: Callable[[FieldValues], list[GenerationRequest]]
) -> list[GenerationRequest]:
    if wants_draft(values):
        requests = [draft_of(request) for request in build({name: values[name] for name in values if name != "draft"})]
    else:
        requests = build(dict(values))
    for request in requests:
        check_request(request)
    return requests


def _recipe_values(recipe: object, extend: object, frames: object, note: Note) -> FieldValues:
    """Read the fields of the named recipe, extended if requested."""
    if extend is None and frames is not None:
        raise InvalidRequestError(
            Fault(
                code="frames.without_extend",
                field="frames",
                rule="come with --extend",
                got=frames,
                fix="Use --num-frames for a new clip",
            )
        )
    if extend is not None and not isinstance(frames, int):
        raise InvalidRequestError(
            Fault(
                code="extend.without_frames",
                field="frames",
                rule="be given with --extend",
                got="none" if frames is None else frames,
                fix="Say how many to add: --frames 16",
            )
        )
    if extend is not None and recipe is not None:
        raise InvalidRequestError(
            Fault(
                code="extend.with_recipe",
                field="extend",
                rule="come without --recipe",
                got="both",
                fix="Leave one out",
            )
        )
    if isinstance(frames, int):
        return extend_request(_recipe_text(extend, "extend"), frames).model_dump()
    if recipe is None:
        return {}
    text = _recipe_text(recipe, "recipe")
    check_recipe(text)
    if not is_infotext(text):  # a recipe that can't be used as it is makes another clip than the one it is of
        return GenerationRequest.from_json(text).model_dump()
    restored = restore(text)
    for message in restored.notes:
        note(message)
    return dict(restored.values)


def _preset_values(preset: object, values: Mapping[str, object], note: Note) -> FieldValues:
    """Read the fields that a preset sets for the chosen models."""
    if preset is None:
        return {}
    models = catalog.complete({name: values[name] for name in ("base_model", "motion_module") if name in values})
    module = values.get("motion_module")
    fields = preset_values(preset, str(models["base_model"]), module if isinstance(module, str) else None)
    tag = required_lora(str(fields["motion_module"])) if "motion_module" in fields else ""
    if tag:
        note(f"The preset wants {tag} in the prompt.")
    return fields


def _recipe_text(recipe: object, option: str) -> str:
    """Read a recipe from JSON, or from a file that carries one."""
    text = recipe if isinstance(recipe, str) else shown(recipe)
    if text.lstrip().startswith("{"):
        return text
    try:
        is_file = Path(text).is_file()
    except (OSError, ValueError):  # too long for a name
        is_file = False
    if not is_file:
        raise UserError(
            Fault(
                code="recipe.no_file",
                field=option,
                rule="be JSON or a file",
                got=shown(text, 300),
                fix="Check the path",
                seen="{got:s}",
            )
        )
    return read_text(Path(text).resolve())  # a link of one's own may be followed
