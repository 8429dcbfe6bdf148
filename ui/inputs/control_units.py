"""Control units on the page: an accordion with preview each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial

import gradio as gr
from gradio.components import Component
from pydantic import TypeAdapter

from controlnet.preprocessor import Preprocessor
from controlnet.preprocessors import PREPROCESSORS
from pipelines.plan import catalog
from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.faults import Fault, Place
from pipelines.plan.image_fit import ImageFit
from pipelines.plan.request_fields.units import ControlUnit
from ui.parts.fields import allows_any, choice_key, control_model_choices, words_of
from ui.parts.page_events import PageEvents
from ui.parts.page_values import PageValues
from ui.parts.updates import Choices, Update, UpdatesById
from ui.words.speech import say, visitor_language, word
from ui.words.tables import option_key

UNITS = 4
"""How many the page shows: as many as a request may have."""

MOST_OPTIONS = 3
"""Sliders of a unit for its preprocessor's options; no preprocessor has more."""

_NAME_LETTERS = 60
_CONTROLS = TypeAdapter(list[ControlUnit])
CHAIN = ("model", "preprocessor", *(f"option_{slot}" for slot in range(1, MOST_OPTIONS + 1)))
"""The parts of which each decides the next."""


@dataclass(frozen=True, slots=True)
class UnitValues:
    """Values of a unit's components, unchecked; None where none was sent."""

    enabled: object
    model: object
    preprocessor: object
    option_1: object
    option_2: object
    option_3: object
    clip: object
    weight: object
    start: object
    end: object
    fit: object
    key_frames: object
    falloff: object
    guess_mode: object

    @classmethod
    def of(cls, page: PageValues, number: int) -> "UnitValues":
        """Pick those of a unit, counted from 1."""
        return cls(*(page.value(part(number, name)) for name in PARTS))

    @property
    def options(self) -> tuple[object, ...]:
        """Numbers of the sliders for the preprocessor's options."""
        return self.option_1, self.option_2, self.option_3


PARTS = tuple(field.name for field in fields(UnitValues))
"""What a unit's components are called, after `control_1_`, `control_2_`, …."""


def part(number: int, name: str) -> str:
    """Build the `elem_id` of a unit's component.

    Example:
        >>> part(2, "weight")
        'control_2_weight'
    """
    return f"control_{number}_{name}"


def build_unit(number: int, base_model: str) -> dict[str, Component]:
    """Lay out a unit in the accordion that is being built.

    Args:
        number: Which it is, from 1.
        base_model: Id of the one that the models are to fit.

    Returns:
        Its components by their `elem_id`.
    """
    models = control_model_choices("controls", base_model)
    model = models[0][1] if models else ""
    choices = preprocessor_choices(model)
    preprocessor = choices[0][1]
    components: dict[str, Component] = {}

    def place(name: str, kind: type[Component], **arguments: object) -> None:
        labels = words_of(ControlUnit, name) if name in ControlUnit.model_fields else {}
        components[name] = kind(**labels | arguments, elem_id=part(number, name), interactive=True)

    place("enabled", gr.Checkbox, label=word("label.use_unit"), value=False)
    free = {"filterable": allows_any(), "allow_custom_value": allows_any()}
    place("model", gr.Dropdown, choices=models, value=model or None, **_model_help(models), **free)
    place("preprocessor", gr.Dropdown, choices=choices, value=preprocessor, filterable=False)
    for slot, slider in enumerate(_option_settings(preprocessor), start=1):
        place(f"option_{slot}", gr.Slider, buttons=[], **slider)
    label = word("label.unit_clip")
    components["clip"] = gr.File(label=label, file_count="multiple", elem_id=part(number, "clip"), height=130)
    gr.Markdown(words_of(ControlUnit, "clip")["info"], elem_classes="note")
    place("weight", gr.Textbox, value="1", max_lines=1)
    with gr.Row():
        place("start", gr.Slider, value=0, minimum=0, maximum=1, step=0.05, buttons=[], min_width=130)
        place("end", gr.Slider, value=1, minimum=0, maximum=1, step=0.05, buttons=[], min_width=130)
    place(
        "fit", gr.Dropdown, choices=[(word(choice_key(fit)), fit.value) for fit in ImageFit], value=ImageFit.CROP.value
    )
    place("key_frames", gr.Textbox, value="", max_lines=1)
    place("falloff", gr.Textbox, value="", max_lines=1)
    place("guess_mode", gr.Checkbox, value=False)
    return {part(number, name): components[name] for name in PARTS}


def wire_units(components: Mapping[str, Component], events: PageEvents) -> None:
    """Update preprocessors and options when the one before changes."""
    for number in range(1, UNITS + 1):
        model, preprocessor, *options = names = [part(number, name) for name in CHAIN]
        events.on([components[model].input], partial(_model_updates, number), names, queue=False)
        events.on([components[preprocessor].input], partial(_option_updates, number), options, queue=False)


def units_for(base_model: str) -> UpdatesById:
    """Limit the units' models to a base model's, choosing the first."""
    models = control_model_choices("controls", base_model)
    model = models[0][1] if models else None
    first_model = gr.update(choices=models, value=model, **_model_help(models))
    return {
        part(number, name): update
        for number in range(1, UNITS + 1)
        for name, update in zip(CHAIN, [first_model, *_for_model(model)], strict=True)
    }


def fitting_control_models(base_model: str) -> Update:
    """Look up the list of models again, keeping the choice."""
    models = control_model_choices("controls", base_model)
    return gr.update(choices=models, **_model_help(models))


def preprocessor_choices(model: str) -> Choices:
    """List label and id of usable preprocessors, the model's first.

    Args:
        model: Id of the model; empty for none.

    Example:
        >>> [name for _, name in preprocessor_choices("demo-canny")][:3]
        ['canny', 'lineart_standard', 'none']
    """
    suited = catalog.find_controlnet(model).preprocessors if model else ()
    usable = [preprocessor for preprocessor in PREPROCESSORS.values() if not preprocessor.unavailable]
    usable.sort(key=lambda preprocessor: suited.index(preprocessor.id) if preprocessor.id in suited else len(suited))
    return [(_preprocessor_label(preprocessor), preprocessor.id) for preprocessor in usable]


def switched_on(page: PageValues) -> list[int]:
    """List the numbers of the units that are used."""
    return [number for number in range(1, UNITS + 1) if UnitValues.of(page, number).enabled]


def control_fields(page: PageValues, numbers: Sequence[int] | None = None) -> list[dict[str, object]]:
    """Build a request's control units from the page's values.

    Args:
        page: The values.
        numbers: Which units, whether they are switched on or not; those that are if not given.

    Raises:
        InvalidRequestError: A unit's numbers are none, or its clip can't be used.
    """
    if numbers is None:
        numbers = switched_on(page)
    return [_unit_fields(page, number) for number in numbers]


def unit_values(units_json: object, base_model: str) -> tuple[UpdatesById, dict[str, tuple[str, str]], list[str]]:
    """Build the accordions' values for control units; inverts `control_fields`.

    Args:
        units_json: Of a request, as JSON.
        base_model: Id of the one that the models are to fit.

    Returns:
        What every component shows by name; label and hash of the files by the component they belong in; and in words
        what the page has no place for.
    """
    units = _CONTROLS.validate_python(units_json)
    components: UpdatesById = {}
    files: dict[str, tuple[str, str]] = {}
    language = visitor_language()
    notes = [say(language, "told.restored.no_unit", number=number) for number in range(UNITS + 1, len(units) + 1)]
    models = control_model_choices("controls", base_model)
    for number in range(1, UNITS + 1):
        unit = units[number - 1] if number <= len(units) else None
        values, unit_notes = _unit_updates(unit or _default_unit(models), models)
        components |= {part(number, name): value for name, value in values.items()}
        components[part(number, "enabled")] = unit is not None
        notes += [say(language, "told.restored.unit_note", number=number, note=note) for note in unit_notes]
        if unit and unit.clip:
            files[part(number, "clip")] = (say(language, "told.restored.unit", number=number), unit.clip)
    return components, files, notes


def unit_field(number: int) -> str:
    """Return what refusals of a unit's clip call it."""
    return f"Unit {number}"


def _default_unit(models: Choices) -> ControlUnit:
    model = models[0][1] if models else ""
    preprocessor = preprocessor_choices(model)[0][1]
    return ControlUnit(model=model or "none", preprocessor=preprocessor)


def _unit_updates(unit: ControlUnit, models: Choices) -> tuple[UpdatesById, list[str]]:
    notes, language = [], visitor_language()
    fits = allows_any() or unit.model in [model for _, model in models]
    choices = preprocessor_choices(unit.model if fits else "")
    preprocessor = unit.preprocessor
    if not fits and models:
        notes.append(say(language, "told.restored.unfit_model", model=unit.model[:_NAME_LETTERS]))
    if preprocessor not in [name for _, name in choices]:
        notes.append(say(language, "told.restored.unfit_preprocessor", preprocessor=preprocessor[:_NAME_LETTERS]))
        preprocessor = choices[0][1]
    names = [option.name for option in PREPROCESSORS[preprocessor].options]
    options = _option_settings(preprocessor)
    for slider, name in zip(options, names, strict=False):
        slider["value"] = unit.options.get(name, slider["value"])
    written = unit.model_dump(mode="json")
    return {
        "model": gr.update(choices=models, value=unit.model if fits else None, **_model_help(models)),
        "preprocessor": gr.update(choices=choices, value=preprocessor),
        **{f"option_{slot}": gr.update(**slider) for slot, slider in enumerate(options, start=1)},
        "clip": None,
        "weight": str(written["weight"]),
        **{name: written[name] for name in ("start", "end", "fit", "guess_mode")},
        **{name: ", ".join(map(str, written[name])) for name in ("key_frames", "falloff")},
    }, notes


def _unit_fields(page: PageValues, number: int) -> dict[str, object]:
    unit = UnitValues.of(page, number)
    if not unit.model:
        fix = "Choose one, or switch the unit off"
        raise InvalidRequestError(Fault("unit.no_model", "Unit", "have a model", "none", fix, place=(number,)))
    preprocessor = PREPROCESSORS.get(str(unit.preprocessor))
    options = preprocessor.options if preprocessor else ()
    return {
        "model": unit.model,
        "preprocessor": unit.preprocessor or "",
        "options": {option.name: value for option, value in zip(options, unit.options, strict=False)},
        "clip": page.input_hash(part(number, "clip"), field=unit_field(number)),
        "weight": unit.weight,
        "start": unit.start,
        "end": unit.end,
        "fit": unit.fit,
        "key_frames": _numbers(unit.key_frames, int, (number, "key_frames"), "Write 0, 8, 15"),
        "falloff": _numbers(unit.falloff, float, (number, "falloff"), "Write 0.5, 0.25"),
        "guess_mode": bool(unit.guess_mode),
    }


def _numbers(text: object, kind: type[int] | type[float], place: Place, fix: str) -> list[float]:
    try:
        return [kind(number) for number in str(text or "").split(",") if number.strip()]
    except ValueError:
        code, what = ("unit.no_integers", "whole numbers") if kind is int else ("unit.no_numbers", "numbers")
        rule = f"be {what} with commas between"
        raise InvalidRequestError(Fault(code, "Unit", rule, str(text)[:60], fix, place=place)) from None


def _model_help(models: Choices) -> dict[str, str]:
    return {"info": words_of(ControlUnit, "model")["info"] if models else word("note.no_model_fits")}


def _preprocessor_label(preprocessor: Preprocessor) -> str:
    label = word(f"preprocessor.{preprocessor.id}")
    return f"{label} · {preprocessor.size_mb:,} MB" if preprocessor.weights else label


def _option_settings(preprocessor: str) -> list[dict[str, object]]:
    """Build the sliders' properties for a preprocessor, hiding unused sliders."""
    record = PREPROCESSORS.get(preprocessor)
    options = record.options if record else ()
    sliders: list[dict[str, object]] = [
        {
            "label": word(f"{option_key(preprocessor, option.name)}.label"),
            "info": word(f"{option_key(preprocessor, option.name)}.help"),
            "minimum": option.low,
            "maximum": option.high,
            "step": option.step,
            "value": option.default,
            "visible": True,
        }
        for option in options
    ]
    unused: dict[str, object] = {
        "label": word("label.option"),
        "info": None,
        "minimum": 0,
        "maximum": 1,
        "step": 1,
        "value": 0,
    }
    return sliders + [unused | {"visible": False}] * (MOST_OPTIONS - len(sliders))


def _for_model(model: str | None) -> list[Update]:
    choices = preprocessor_choices(model or "")
    preprocessor = choices[0][1]
    sliders = [gr.update(**slider) for slider in _option_settings(preprocessor)]
    return [gr.update(choices=choices, value=preprocessor), *sliders]


def _model_updates(number: int, page: PageValues) -> UpdatesById:
    model = page.text(part(number, "model"))
    return {part(number, name): update for name, update in zip(CHAIN[1:], _for_model(model), strict=True)}


def _option_updates(number: int, page: PageValues) -> UpdatesById:
    sliders = _option_settings(page.text(part(number, "preprocessor")))
    return {part(number, name): gr.update(**slider) for name, slider in zip(CHAIN[2:], sliders, strict=True)}
