"""The models people can choose: the catalog's, and those in the operator's models folder. No torch.

An id is the only thing a visitor may send. It names an entry of `assets/catalog.toml`, or a file or folder
that was found in the models folder. Where the operator allows it (`Settings.any_model`, which the command line
sets for itself), it may also name a repository of the Hub, or a file in one.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, TypeVar

from pipelines.plan.architecture import Architecture
from pipelines.plan.catalog_entries import (
    ASSETS,
    BaseModel,
    ControlNet,
    Entry,
    Interpolator,
    IPAdapter,
    Lora,
    MotionModule,
    PublishedFile,
    Upscaler,
    Vae,
    tell_apart,
)
from pipelines.plan.choices import MotionNorm, Scheduler
from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.faults import Fault
from pipelines.plan.gpu import find_gpu
from pipelines.plan.model_files.foreign_files import told_by_ending
from pipelines.plan.model_files.kinds import READERS
from pipelines.plan.model_files.models_folder import (
    WEIGHTS_FILES,
    foreign_file,
    local_base_models,
    local_controlnets,
    local_interpolators,
    local_ip_adapters,
    local_loras,
    local_motion_modules,
    local_upscalers,
    local_vaes,
    loras_in,
)
from pipelines.plan.prompt.tags import tag_name
from pipelines.plan.request import GenerationRequest
from pipelines.plan.settings import DROPPED_DIR, settings

DEMO = "demo"
STABLE_DIFFUSION = "stable-diffusion-v1-5/stable-diffusion-v1-5"
STABLE_DIFFUSION_XL = "stabilityai/stable-diffusion-xl-base-1.0"
_HUB_ID = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(/(?P<file>[\w./-]+\.(safetensors|ckpt|pth|pt|bin)))?")
_MOST_NAMED = 6

_AnyEntry = TypeVar("_AnyEntry", bound=Entry)


def base_models() -> tuple[BaseModel, ...]:
    """The catalog's base models, then those in `MODELS_DIR/base_models`, looked up now."""
    return (*_catalog()[0], *local_base_models(like=_like(STABLE_DIFFUSION), like_xl=_like(STABLE_DIFFUSION_XL)))


def motion_modules() -> tuple[MotionModule, ...]:
    """The catalog's motion modules, then those in `MODELS_DIR/motion_modules`, looked up now."""
    return (*_catalog()[1], *local_motion_modules())


def loras() -> tuple[Lora, ...]:
    """The catalog's LoRAs, then the files in `MODELS_DIR/loras` and `MODELS_DIR/embeddings`, looked up now."""
    return tell_apart((*_catalog()[2], *local_loras()))


def vaes() -> tuple[Vae, ...]:
    """The catalog's VAEs, then those in `MODELS_DIR/vaes`, looked up now."""
    return (*_catalog()[3], *local_vaes())


def controlnets() -> tuple[ControlNet, ...]:
    """The catalog's ControlNets and SparseCtrls, then those in `MODELS_DIR/controlnets`, looked up now."""
    return (*_catalog()[4], *local_controlnets())


def ip_adapters() -> tuple[IPAdapter, ...]:
    """The catalog's IP-Adapters, then those in `MODELS_DIR/ip_adapters`, looked up now."""
    return (*_catalog()[5], *local_ip_adapters())


def upscalers() -> tuple[Upscaler, ...]:
    """The catalog's super-resolution networks, then those in `MODELS_DIR/upscalers`, looked up now."""
    return (*_finishers()[0], *local_upscalers())


def film() -> Interpolator:
    """FILM: the first file in `MODELS_DIR/interpolators`, else the catalog's."""
    return (*local_interpolators(), *_finishers()[1])[0]


def find_base_model(model_id: str) -> BaseModel:
    """The base model with this id.

    Raises:
        InvalidRequestError: There is none; the text names the nearest ones.

    Example:
        >>> find_base_model("demo").width
        128
    """
    return _find("base_model", model_id, base_models(), _free_base_model(model_id))


def find_motion_module(model_id: str) -> MotionModule:
    """The motion module with this id.

    Raises:
        InvalidRequestError: There is none; the text names the nearest ones.
    """
    return _find("motion_module", model_id, motion_modules(), _named(MotionModule, model_id))


def find_vae(model_id: str) -> Vae:
    """The VAE with this id.

    Raises:
        InvalidRequestError: There is none; the text names the nearest ones.
    """
    return _find("vae", model_id, vaes(), _named(Vae, model_id))


def find_controlnet(model_id: str) -> ControlNet:
    """The ControlNet or SparseCtrl with this id.

    Raises:
        InvalidRequestError: There is none; the text names the nearest ones.
    """
    return _find("controls", model_id, controlnets(), _named(ControlNet, model_id))


def find_ip_adapter(model_id: str) -> IPAdapter:
    """The IP-Adapter with this id.

    Raises:
        InvalidRequestError: There is none; the text names the nearest ones.
    """
    return _find("image_prompts", model_id, ip_adapters(), _named(IPAdapter, model_id))


def find_upscaler(model_id: str) -> Upscaler:
    """The super-resolution network with this id.

    Raises:
        InvalidRequestError: There is none; the text names the nearest ones.
    """
    return _find("upscaler", model_id, upscalers(), _free_upscaler(model_id))


def find_lora(name: str, *, place: str = "") -> Lora:
    """The LoRA or textual inversion with this id or, of a local file, this stem; both as `tag_name` spells them.

    A file that a visitor dropped is found by its exact name and offered to nobody else.

    Args:
        name: What a tag names.
        place: Where the tag stands, as `Tag` has it.

    Raises:
        InvalidRequestError: There is none; the text names the nearest ones.

    Example:
        >>> find_lora("v2_lora_ZoomIn").repo
        'guoyww/animatediff'
    """
    dropped, name = loras_in(os.environ.get(DROPPED_DIR)), tag_name(name)
    return next((entry for entry in dropped if tag_name(entry.label) == name), None) or _find(
        "lora", name, loras(), _free_lora(name), place
    )


def published_file(repo: str, name: str) -> PublishedFile | None:
    """What is known of a file on the Hub, to check what arrives; None if it is not of the catalog.

    Args:
        repo: "owner/name".
        name: Its path in the repository.

    Example:
        >>> published_file("guoyww/animatediff", "mm_sd_v15_v2.ckpt").bytes
        1817888431
    """
    return _published().get((repo, name))


def default_base_model() -> BaseModel:
    """The operator's choice; else Stable Diffusion 1.5 where there is a GPU, the demo model elsewhere. No torch."""
    if chosen := settings().default_model:
        return find_base_model(chosen)
    return find_base_model(DEMO if find_gpu().kind == "cpu" else STABLE_DIFFUSION)


def complete(values: Mapping[str, Any]) -> dict[str, Any]:
    """Fill what was left open (absent or None) with the chosen models' own settings.

    The motion module's family overrules the base model where it must: its window, and a distilled one's
    sampler, steps and guidance. What the models have no opinion on stays absent, so that the request's
    defaults apply. Values are not checked here but in `GenerationRequest.build`, the models' ids excepted.

    Raises:
        InvalidRequestError: `base_model` is not one of the list.

    Example:
        >>> complete({"prompt": "a red circle", "base_model": "demo", "width": None})["width"]
        128
    """
    fields = GenerationRequest.model_fields
    given = {name: value for name, value in values.items() if value is not None or name not in fields}
    chosen = given.setdefault("base_model", default_base_model().id)
    if not isinstance(chosen, str):
        return given
    base = find_base_model(chosen)
    own = {
        "width": base.width,
        "height": base.height,
        "num_inference_steps": base.num_inference_steps,
        "guidance_scale": base.guidance_scale,
        "scheduler": base.scheduler,
        "motion_module": base.motion_module,
        "context_length": base.context_length,
    }
    module = given.setdefault("motion_module", base.motion_module)
    return own | (find_motion_module(module).settings if isinstance(module, str) else {}) | given


def advise_size(base: BaseModel, architecture: Architecture, settings: Mapping[str, Any]) -> list[str]:
    """What to set where a model's size was guessed before it was read, and wrongly; empty if all is well.

    Args:
        base: What was known of it before.
        architecture: What it was found to be.
        settings: Fields of the request by name, "width" and "height" among them.

    Example:
        >>> demo = find_base_model("demo")
        >>> advise_size(demo, Architecture.SD15, {"width": 128, "height": 128})
        []
    """
    own = _like(STABLE_DIFFUSION_XL if architecture is Architecture.SDXL else STABLE_DIFFUSION)
    guessed, best = (base.width, base.height), (own.width, own.height)
    if base.family or guessed == best or (settings["width"], settings["height"]) != guessed:
        return []
    return [
        f"'{base.label}' turned out to be built like {own.label}, which is best at {best[0]}×{best[1]}; "
        f"{guessed[0]}×{guessed[1]} was a guess. Set Width and Height."
    ]


@cache
def _catalog() -> tuple[
    tuple[BaseModel, ...],
    tuple[MotionModule, ...],
    tuple[Lora, ...],
    tuple[Vae, ...],
    tuple[ControlNet, ...],
    tuple[IPAdapter, ...],
]:
    return (
        _read(BaseModel, "base_models"),
        _read(MotionModule, "motion_modules"),
        _read(Lora, "loras"),
        _read(Vae, "vaes"),
        _read(ControlNet, "controlnets"),
        _read(IPAdapter, "image_prompts"),
    )


@cache
def _finishers() -> tuple[tuple[Upscaler, ...], tuple[Interpolator, ...]]:
    return _read(Upscaler, "upscalers"), _read(Interpolator, "interpolators")


@cache
def _published() -> dict[tuple[str, str], PublishedFile]:
    entries = [entry for kind in (*_catalog(), *_finishers()) for entry in kind if entry.source == "hub"]
    return {(entry.repo, file.name): file for entry in entries for file in entry.files}


@cache
def _tables() -> dict[str, Any]:
    return tomllib.loads((ASSETS / "catalog.toml").read_text("utf-8"))


#: How fields that TOML has no type for are made of what stands there.
_TYPES: dict[str, Callable[[Any], Any]] = {
    "scheduler": Scheduler,
    "motion_norm": MotionNorm,
    "preprocessors": tuple,
    "aliases": tuple,
    "files": lambda files: tuple(PublishedFile(**file) for file in files),
}


def _read(kind: type[_AnyEntry], table: str) -> tuple[_AnyEntry, ...]:
    entries = (
        kind(**{field: _TYPES.get(field, lambda value: value)(value) for field, value in entry.items()})
        for entry in _tables()[table]
    )
    return tuple(entry if entry.size_mb else replace(entry, size_mb=_known_size(entry)) for entry in entries)


def _known_size(entry: Entry) -> int | None:
    """Megabytes of a single file whose length is known."""
    return next((round(file.bytes / 1e6) for file in entry.files if file.name == entry.file and file.bytes), None)


def _like(model_id: str) -> BaseModel:
    return next(entry for entry in _catalog()[0] if entry.id == model_id)


def _on_the_hub(model_id: str) -> dict[str, Any] | None:
    """What `owner/repo` or `owner/repo/file` says, where the operator allows any; None if it is neither."""
    named = _HUB_ID.fullmatch(model_id)
    if not settings().any_model or not named or ".." in model_id:
        return None
    return {
        "id": model_id,
        "label": (named["file"] or named["repo"]).rsplit("/", 1)[-1],
        "description": "A model of the Hub that the operator named.",
        "source": "hub",
        "repo": named["repo"],
        "file": named["file"],
        "licence": "See the repository",
    }


def _named(kind: type[_AnyEntry], model_id: str) -> _AnyEntry | None:
    """A record of what an id names on the Hub, where the operator allows any."""
    named = _on_the_hub(model_id)
    return kind(**named) if named else None


def _free_base_model(model_id: str) -> BaseModel | None:
    """With the settings of Stable Diffusion XL if its name has it: until it is downloaded nothing else can tell."""
    named = _on_the_hub(model_id)
    if not named:
        return None
    like = STABLE_DIFFUSION_XL if "xl" in named["label"].lower() else STABLE_DIFFUSION
    return replace(_like(like), family=None, size_mb=None, files=(), aliases=(), **named)


def _free_lora(name: str) -> Lora | None:
    named = _on_the_hub(name)
    return Lora(**named) if named and named["file"] else None


def _free_upscaler(name: str) -> Upscaler | None:
    named = _on_the_hub(name)
    return Upscaler(**named) if named and named["file"] else None


def _find(field: str, wanted: str, entries: Sequence[_AnyEntry], free: _AnyEntry | None, place: str = "") -> _AnyEntry:
    """The entry of this name, or else the free one."""
    known: dict[str, _AnyEntry] = {}
    for entry in entries:
        for name in entry.names:
            known.setdefault(name, entry)  # of two namesakes the catalog's wins
    slashed = wanted.replace("\\", "/")  # as programs on Windows write folders
    if wanted in known or slashed in known:
        return known.get(wanted) or known[slashed]
    if free is not None:
        return free
    _refuse_foreign(field, wanted, place)
    by_lower_case = {known_id.lower(): known_id for known_id in known}
    near = difflib.get_close_matches(wanted.lower()[:300], by_lower_case, n=3, cutoff=0.4)
    nearest = dict.fromkeys(known[by_lower_case[name]].names[0] for name in near)
    choices = tuple(nearest or (entry.names[0] for entry in entries[:_MOST_NAMED]))
    raise InvalidRequestError(
        Fault(
            code="catalog.unknown",
            field=field,
            rule="be one of the catalog",
            got=wanted[:60],
            seen="'{got:s}'{place:s}",
            fix="Choose {choices:s}",
            limit=choices,
            values={"choices": ", ".join(f"'{name}'" for name in choices), "place": place},
        )
    )


def _refuse_foreign(field: str, wanted: str, place: str) -> None:
    """Refuse what its name, or that of the file it means, tells to be no file that is read here."""
    folders = READERS[field][1] if field in READERS else ()
    name = wanted if told_by_ending(wanted) else foreign_file(folders, wanted)
    if name and (told := told_by_ending(name)):
        state, advice = told
        raise InvalidRequestError(
            Fault(
                code=state.code,
                field=field,
                rule="be a file of weights ({endings})",
                got=name[-60:],
                seen=f"'{{got:s}}'{{place:s}}, which is {state.words}",
                fix=f"{advice}, or choose another",
                values={**state.values, "endings": ", ".join(WEIGHTS_FILES), "place": place},
            )
        )
