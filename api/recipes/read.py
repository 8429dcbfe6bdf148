"""Read how a file was made: our recipes and other programs' infotexts.

Files come from anybody, and from other versions: what can't be used is told in words, and the rest counts.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TypeGuard

from api.recipes.foreign import infotext_of_foreign, program_of, refusal_of
from api.recipes.infotext import fields_of_infotext, fields_of_parts, is_infotext
from media.input_files import check_plain_file
from media.inputs import naming_field
from media.texts import iter_texts
from pipelines.plan import catalog
from pipelines.plan.errors import InvalidRequestError, UserError
from pipelines.plan.faults import Fault
from pipelines.plan.prompt.dialect import foreign_notes
from pipelines.plan.prompt.tags import read_tags
from pipelines.plan.request import FILE_FIELDS, MADE_WITH, RANDOM_SEED, GenerationRequest, field_label
from pipelines.plan.request_fields.clip import MAX_PROMPT_CHARACTERS
from studio.fields import FieldValues
from studio.modes import Mode
from studio.stored_inputs import is_here

_PROMPTS = ("prompt", "negative_prompt")
_MOST_TEXTS = 100
# Fields that other programs call so, too.
_USED_ELSEWHERE = frozenset(
    {
        *("prompt", "negative_prompt", "seed", "width", "height", "fps", "strength", "scheduler", "guidance_scale"),
        *("num_inference_steps", "clip_skip", "base_model", "vae", "motion_module", "mask", "num_frames", "formats"),
        *("upscaler", "interpolation", "controls", "reverse"),
    }
)
_DIGITS_SHOWN = 12
_MOST_NAMED = 8
_KEY_SHOWN = 40


@dataclass(frozen=True)
class Restored:
    """A request's values as read from a file.

    Args:
        request: The request, as far as it can be used.
        values: Every field of it as JSON. The seed is -1 where none is named, and a prompt is as it was written, even
            with keys or tags that don't fit. Files are named by hash, whether they are here or not.
        notes: What must be chosen again and what could not be used, in words. They quote the file: escape them.
        mode: What the clip was made from.
    """

    request: GenerationRequest
    values: Mapping[str, object]
    notes: tuple[str, ...]
    mode: Mode


def read_request(path: Path) -> Restored:
    """Read how a file was made.

    Args:
        path: A clip or zip of ours, a picture or clip of another program that carries an infotext, or text of either.

    Raises:
        UserError: It carries neither, is damaged or too large.
    """
    text, note = _likeliest_text(path)
    restored = restore(text)
    return replace(restored, notes=(note, *restored.notes)) if note else restored


def read_text(path: Path) -> str:
    """Read the recipe or infotext that a file carries, by content.

    Of several texts it is the first that can be read so; of none, the first.

    Raises:
        UserError: It carries none, is damaged or too large.
    """
    return _likeliest_text(path)[0]


def restore(text: str) -> Restored:
    """Read a request's values from a recipe or an infotext.

    Raises:
        UserError: It is neither; what it is instead is named.
    """
    text = text.encode(errors="replace").decode().removeprefix("\ufeff")
    document = _json_of(text)
    if is_recipe(document):
        return _usable(document)
    origin_notes: tuple[str, ...] = ()
    if document is None or is_infotext(text):
        fields, notes, mode = fields_of_infotext(text)
    elif foreign := infotext_of_foreign(document):
        fields, notes, mode = fields_of_parts(foreign[0])
        origin_notes = (f"Read from {foreign[1]}; what else it says has no counterpart here.",)
    else:
        raise UserError(refusal_of(document, "file", "carry a recipe of this app or an infotext"))
    usable = _usable(catalog.complete(fields))
    return replace(usable, notes=(*origin_notes, *notes, *usable.notes), mode=mode)


def is_recipe(document: object) -> TypeGuard[FieldValues]:
    """Whether parsed JSON is a recipe of this app.

    Recipes bear a mark, `made_with`. One without it, as an endpoint returns it or people write it, has only fields of
    the request, or at least more of them than others and one whose name no other program uses.
    """
    if not isinstance(document, dict):
        return False
    fields = [name for name in document if name in GenerationRequest.model_fields]
    num_other = len(document) - len(fields) - (MADE_WITH in document)
    if not fields or not isinstance(document.get("prompt", ""), str) or _is_json(document.get("prompt", "")):
        return False
    if isinstance(document.get(MADE_WITH), dict) or not num_other:
        return True
    return program_of(document) is None and len(fields) > num_other and not _USED_ELSEWHERE.issuperset(fields)


def check_recipe(text: str) -> None:
    """Refuse JSON of other programs.

    Which fields of a recipe are wrong is left to the request.

    Raises:
        UserError: It is one's, which is named.
    """
    document = _json_of(text)
    if document is None or (isinstance(document, dict) and isinstance(document.get(MADE_WITH), dict)):
        return
    prompt = document.get("prompt", "") if isinstance(document, dict) else None
    if program_of(document) or not isinstance(prompt, str) or _is_json(prompt):
        raise UserError(refusal_of(document, "recipe", "be one of this app, or an infotext"))


def input_hashes(request: GenerationRequest) -> Iterator[tuple[str, str]]:
    """Yield each input file's label and hash."""
    for name in FILE_FIELDS:
        if sha256 := getattr(request, name):
            yield field_label(name), sha256
    for number, unit in enumerate(request.controls, start=1):
        if unit.clip:
            yield f"Control unit {number}", unit.clip
    for number, prompt in enumerate(request.image_prompts, start=1):
        for frame, sha256 in prompt.pictures:
            yield f"Image prompt {number}, frame {frame}", sha256


def _likeliest_text(path: Path) -> tuple[str, str]:
    """Read the likeliest recipe text of a file, and its note."""
    with naming_field("file"):
        check_plain_file(path)
    texts: list[tuple[str, str]] = []
    for text, note in islice(iter_texts(path), _MOST_TEXTS):
        if is_recipe(_json_of(text)) or is_infotext(text):
            return text, note
        texts.append((text, note))
    if not texts:
        fix = "Choose a clip that this app made, or a picture or clip with an infotext"
        raise UserError(
            Fault("recipe.none_in_file", "file", "carry a recipe", path.name, fix, seen="{got}, which has none")
        )
    return next((pair for pair in texts if _json_of(pair[0]) is not None), texts[0])


def _json_of(text: str) -> object:
    """Parse JSON objects and lists; None for any other text."""
    if text.lstrip("\ufeff \t\r\n")[:1] not in ("{", "["):
        return None
    try:
        document = json.loads(text.lstrip("\ufeff"))
        # Halves of letters, which JSON can name, could not be sent to a browser.
        return json.loads(json.dumps(document, ensure_ascii=False).encode(errors="replace"))
    except (ValueError, RecursionError):
        return None


def _is_json(prompt: str) -> bool:
    """Whether a prompt is another program's graph, not keys as JSON."""
    return program_of(_json_of(prompt)) is not None


def _usable(fields: Mapping[str, object]) -> Restored:
    """Keep usable values, with defaults for others, and notes about those."""
    values = {name: value for name, value in fields.items() if name in GenerationRequest.model_fields}
    unknown = [name for name in fields if name not in values and name != MADE_WITH]
    notes = [_unknown(unknown)] if unknown else []
    notes += _settle_models(values)
    request, prompts, left_out = _build_usable(values)
    usable = request.model_dump(mode="json") | prompts
    if str(values.get("seed", RANDOM_SEED)).strip() == str(RANDOM_SEED):
        usable["seed"] = RANDOM_SEED
    written = {name: prompts.get(name, getattr(request, name)) for name in _PROMPTS}
    notes += left_out + _missing(request, written)
    return Restored(request, usable, (*notes, *foreign_notes(*written.values())), _mode_of(request))


def _unknown(names: list[str]) -> str:
    remainder = f" and {len(names) - _MOST_NAMED:,} more" if len(names) > _MOST_NAMED else ""
    return f"Unknown to this version: {', '.join(name[:_KEY_SHOWN] for name in names[:_MOST_NAMED])}{remainder}."


def _settle_models(values: FieldValues) -> list[str]:
    """Replace models that are not here by the defaults."""
    notes = []

    def settle(name: str, find: Callable[[str], object], instead: Callable[[], str]) -> None:
        model = values.get(name)
        if not model or not isinstance(model, str):
            return  # the request has its own words for it
        try:
            find(model)
        except InvalidRequestError as err:
            values[name] = instead()
            notes.append(f"{err} '{values[name] or 'the base model’s own'}' is chosen now.")

    settle("base_model", catalog.find_base_model, lambda: catalog.default_base_model().id)
    base = catalog.find_base_model(_model_or_default(values, "base_model"))
    settle("motion_module", catalog.find_motion_module, lambda: base.motion_module)
    module = catalog.find_motion_module(_model_or_default(values, "motion_module"))
    if notes and None not in (base.family, module.family) and base.family != module.family:
        values["motion_module"] = base.motion_module
        notes.append(f"'{module.label}' does not fit '{base.label}'. '{base.motion_module}' is chosen now.")
    settle("vae", catalog.find_vae, lambda: "")
    return notes


def _model_or_default(values: Mapping[str, object], name: str) -> str:
    model = values.get(name)
    return model if model and isinstance(model, str) else str(GenerationRequest.model_fields[name].default)


def _build_usable(values: FieldValues) -> tuple[GenerationRequest, dict[str, str], list[str]]:
    """Build a request, dropping values that break rules, with notes.

    A prompt whose keys or tags don't fit is set aside, not lost.
    """
    prompts: dict[str, str] = {}
    notes: list[str] = []
    while True:
        try:
            return GenerationRequest.build(**values), prompts, notes
        except InvalidRequestError as err:
            if err.fault is None or err.fault.field not in values:
                raise
            name = err.fault.field
            value = values[name]
            if name in _PROMPTS and isinstance(value, str) and len(value) <= MAX_PROMPT_CHARACTERS:
                prompts[name] = value
                notes.append(str(err))
            else:
                notes.append(f"{err} It is left out.")
            _take_out(values, err.fault)


def _take_out(values: FieldValues, fault: Fault) -> None:
    """Remove the faulty field, or only the faulty one of several units."""
    units, unit = values[fault.field], fault.place[0] if fault.place else None
    if isinstance(units, list) and isinstance(unit, int) and 1 <= unit <= len(units):
        values[fault.field] = [entry for number, entry in enumerate(units, start=1) if number != unit]
    else:
        del values[fault.field]


def _missing(request: GenerationRequest, prompts: Mapping[str, str]) -> list[str]:
    """Note missing files, models of units and LoRAs."""
    notes = []
    gone = [f"{label} ({sha256[:_DIGITS_SHOWN]}…)" for label, sha256 in input_hashes(request) if not is_here(sha256)]
    if gone:
        first, num_hidden = gone[:_MOST_NAMED], len(gone) - _MOST_NAMED
        notes.append(f"Choose again: {', '.join(first)}{f' and {num_hidden:,} more' if num_hidden > 0 else ''}.")
    for units, find in ((request.controls, catalog.find_controlnet), (request.image_prompts, catalog.find_ip_adapter)):
        notes += [message for unit in units if (message := _fault_of(find, unit.model))]
    for field, prompt in prompts.items():
        try:
            names = dict.fromkeys(tag.name for tag in read_tags(prompt, field=field))
        except InvalidRequestError as err:
            notes.append(str(err))
            continue
        notes += [message for name in list(names)[:_MOST_NAMED] if (message := _fault_of(catalog.find_lora, name))]
    return notes


def _fault_of(find: Callable[[str], object], name: str) -> str:
    try:
        find(name)
    except InvalidRequestError as err:
        return str(err)
    return ""


def _mode_of(request: GenerationRequest) -> Mode:
    if request.source_video:
        return Mode.VID2VID
    return Mode.IMG2VID if request.first_frame or request.controls else Mode.TXT2VID
