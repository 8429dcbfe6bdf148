"""Catalog of the models people can choose, the operator's included.

An id is the only thing a visitor may send. It names an entry of `assets/catalog.toml`, or a file or folder
that was found in the models folder. Where the operator allows it (`Settings.any_model`, which the command line
sets for itself), it may also name a repository of the Hub, or a file in one.
"""

import tomllib
from collections.abc import Callable, Mapping
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
from pipelines.plan.catalog_lookup import find_entry, hub_entry, hub_fields
from pipelines.plan.choices import MotionNorm, Scheduler
from pipelines.plan.gpu import find_gpu
from pipelines.plan.model_files.models_folder import (
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
from pipelines.plan.settings import settings

DEMO = "demo"
STABLE_DIFFUSION = "stable-diffusion-v1-5/stable-diffusion-v1-5"
STABLE_DIFFUSION_XL = "stabilityai/stable-diffusion-xl-base-1.0"

_AnyEntry = TypeVar("_AnyEntry", bound=Entry)


def base_models() -> tuple[BaseModel, ...]:
    """List base models, the catalog's first, then those in `MODELS_DIR/base_models`."""
    return (*_catalog()[0], *local_base_models(like=_like(STABLE_DIFFUSION), like_xl=_like(STABLE_DIFFUSION_XL)))


def motion_modules() -> tuple[MotionModule, ...]:
    """List motion modules, the catalog's first, then those in `MODELS_DIR/motion_modules`."""
    return (*_catalog()[1], *local_motion_modules())


def loras() -> tuple[Lora, ...]:
    """List LoRAs and textual inversions, the catalog's first, then the operator's."""
    return tell_apart((*_catalog()[2], *local_loras()))


def vaes() -> tuple[Vae, ...]:
    """List VAEs, the catalog's first, then those in `MODELS_DIR/vaes`."""
    return (*_catalog()[3], *local_vaes())


def controlnets() -> tuple[ControlNet, ...]:
    """List ControlNets and SparseCtrls, the catalog's first, then the operator's."""
    return (*_catalog()[4], *local_controlnets())


def ip_adapters() -> tuple[IPAdapter, ...]:
    """List IP-Adapters, the catalog's first, then those in `MODELS_DIR/ip_adapters`."""
    return (*_catalog()[5], *local_ip_adapters())


def upscalers() -> tuple[Upscaler, ...]:
    """List super-resolution networks, the catalog's first, then the operator's."""
    return (*_finishers()[0], *local_upscalers())


def film() -> Interpolator:
    """Return FILM: the operator's first file, else the catalog's."""
    return (*local_interpolators(), *_finishers()[1])[0]


def find_base_model(model_id: str) -> BaseModel:
    """Find the base model with this id.

    Raises:
        InvalidRequestError: There is none; the text names the nearest ones.

    Example:
        >>> find_base_model("demo").width
        128
    """
    return find_entry("base_model", model_id, base_models(), _free_base_model(model_id))


def find_motion_module(model_id: str) -> MotionModule:
    """Find the motion module with this id.

    Raises:
        InvalidRequestError: There is none; the text names the nearest ones.
    """
    return find_entry("motion_module", model_id, motion_modules(), hub_entry(MotionModule, model_id))


def find_vae(model_id: str) -> Vae:
    """Find the VAE with this id.

    Raises:
        InvalidRequestError: There is none; the text names the nearest ones.
    """
    return find_entry("vae", model_id, vaes(), hub_entry(Vae, model_id))


def find_controlnet(model_id: str) -> ControlNet:
    """Find the ControlNet or SparseCtrl with this id.

    Raises:
        InvalidRequestError: There is none; the text names the nearest ones.
    """
    return find_entry("controls", model_id, controlnets(), hub_entry(ControlNet, model_id))


def find_ip_adapter(model_id: str) -> IPAdapter:
    """Find the IP-Adapter with this id.

    Raises:
        InvalidRequestError: There is none; the text names the nearest ones.
    """
    return find_entry("image_prompts", model_id, ip_adapters(), hub_entry(IPAdapter, model_id))


def find_upscaler(model_id: str) -> Upscaler:
    """Find the super-resolution network with this id.

    Raises:
        InvalidRequestError: There is none; the text names the nearest ones.
    """
    return find_entry("upscaler", model_id, upscalers(), _free_upscaler(model_id))


def find_lora(name: str, *, place: str = "") -> Lora:
    """Find the LoRA or textual inversion of this id or local stem.

    Names are spelt as `tag_name` does. A file that a visitor dropped is found by its exact name and offered to nobody
    else.

    Args:
        name: What a tag names.
        place: Where the tag stands, as `Tag` has it.

    Raises:
        InvalidRequestError: There is none; the text names the nearest ones.

    Example:
        >>> find_lora("v2_lora_ZoomIn").repo
        'guoyww/animatediff'
    """
    dropped, name = loras_in(settings().dropped_dir), tag_name(name)
    return next((entry for entry in dropped if tag_name(entry.label) == name), None) or find_entry(
        "lora", name, loras(), _free_lora(name), place
    )


def published_file(repo: str, name: str) -> PublishedFile | None:
    """Return what is known of a Hub file, for checking; else None.

    Args:
        repo: "owner/name".
        name: Its path in the repository.

    Example:
        >>> published_file("guoyww/animatediff", "mm_sd_v15_v2.ckpt").bytes
        1817888431
    """
    return _published().get((repo, name))


def default_base_model() -> BaseModel:
    """Return the operator's choice, else SD 1.5 on GPUs, demo elsewhere."""
    if model_id := settings().default_model:
        return find_base_model(model_id)
    return find_base_model(DEMO if find_gpu().kind == "cpu" else STABLE_DIFFUSION)


def complete(values: Mapping[str, object]) -> dict[str, object]:
    """Fill in absent or None fields with the chosen models' own settings.

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
    filled = {name: value for name, value in values.items() if value is not None or name not in fields}
    base_id = filled.setdefault("base_model", default_base_model().id)
    if not isinstance(base_id, str):
        return filled
    base = find_base_model(base_id)
    model_settings = {
        "width": base.width,
        "height": base.height,
        "num_inference_steps": base.num_inference_steps,
        "guidance_scale": base.guidance_scale,
        "scheduler": base.scheduler,
        "motion_module": base.motion_module,
        "context_length": base.context_length,
    }
    module = filled.setdefault("motion_module", base.motion_module)
    return model_settings | (find_motion_module(module).settings if isinstance(module, str) else {}) | filled


def advise_size(base: BaseModel, architecture: Architecture, settings: Mapping[str, object]) -> list[str]:
    """Advise on the size where a model's was guessed wrongly.

    Args:
        base: What was known of it before.
        architecture: What it was found to be.
        settings: Fields of the request by name, "width" and "height" among them.

    Example:
        >>> demo = find_base_model("demo")
        >>> advise_size(demo, Architecture.SD15, {"width": 128, "height": 128})
        []
    """
    reference = _like(STABLE_DIFFUSION_XL if architecture is Architecture.SDXL else STABLE_DIFFUSION)
    guessed, best = (base.width, base.height), (reference.width, reference.height)
    if base.family or guessed == best or (settings["width"], settings["height"]) != guessed:
        return []
    return [
        f"'{base.label}' turned out to be built like {reference.label}, which is best at {best[0]}×{best[1]}; "
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
def _tables() -> dict[str, list[dict[str, object]]]:
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
    """Return a single file's megabytes, if its length is known."""
    return next((round(file.bytes / 1e6) for file in entry.files if file.name == entry.file and file.bytes), None)


def _like(model_id: str) -> BaseModel:
    return next(entry for entry in _catalog()[0] if entry.id == model_id)


def _free_base_model(model_id: str) -> BaseModel | None:
    """Build a Hub model's entry, with XL's settings if so named."""
    fields = hub_fields(model_id)
    if not fields:
        return None
    like = STABLE_DIFFUSION_XL if "xl" in fields["label"].lower() else STABLE_DIFFUSION
    return replace(_like(like), family=None, size_mb=None, files=(), aliases=(), **fields)


def _free_lora(name: str) -> Lora | None:
    fields = hub_fields(name)
    return Lora(**fields) if fields and fields["file"] else None


def _free_upscaler(name: str) -> Upscaler | None:
    fields = hub_fields(name)
    return Upscaler(**fields) if fields and fields["file"] else None
