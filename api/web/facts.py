"""Endpoints that make nothing: estimates, models, fields."""

from collections.abc import Callable, Mapping
from dataclasses import asdict

import gradio as gr

from api.web.endpoint import clip_signature, requests_of, with_preset
from api.web.field_facts import field_facts
from pipelines.plan import catalog
from pipelines.plan.catalog_entries import Entry
from pipelines.plan.planner.estimate import advice, estimate, fit, this_budget
from pipelines.plan.presets import PRESETS
from pipelines.plan.request import INPUT_FIELDS, GenerationRequest
from studio.faults import faults_in_words
from studio.field_groups import GROUPS, IN_SIGHT
from studio.modes import keep_uploads

_ESTIMATED = """Tell what clips would take, and make none. Takes what /txt2vid, /img2vid and /vid2vid take.

Returns:
    seconds for all clips, device_gb and memory_gb at the worst moment, zero_gpu_seconds or null, is_rough: whether no
    clip of such a model has been made here to go by, fits: into the memory there is; if not, changes: fields that make
    it fit, and advice in words.
"""


def publish_facts() -> None:
    """Publish `/estimate`, `/models` and `/fields` in the current Blocks."""
    gr.api(estimate_endpoint(), api_name="estimate", concurrency_id="facts")
    gr.api(list_models, api_name="models", concurrency_id="facts")
    gr.api(list_fields, api_name="fields", concurrency_id="facts")


def estimate_endpoint() -> Callable[..., dict[str, object]]:
    """Build the function to publish as `/estimate`."""

    def estimate_clips(*args: object, **kwargs: object) -> dict[str, object]:
        with faults_in_words():
            values = {**dict(zip(shape.parameters, args, strict=False)), **kwargs}
            return estimate_as_json(requests_of(keep_uploads(None, with_preset(values, shape))))

    shape = clip_signature(None).replace(return_annotation=dict[str, object])
    estimate_clips.__doc__ = _ESTIMATED
    estimate_clips.__annotations__ = {name: parameter.annotation for name, parameter in shape.parameters.items()}
    estimate_clips.__signature__ = shape  # type: ignore[attr-defined]
    return estimate_clips


def estimate_as_json(requests: list[GenerationRequest]) -> dict[str, object]:
    """Estimate clips that differ in seeds alone, together, as JSON."""
    cost, budget = estimate(*requests), this_budget()
    fits = budget.holds(cost)
    changes = {} if fits else fit(requests[0], budget)
    return {
        "seconds": round(cost.seconds, 1),
        "device_gb": round(cost.peak_bytes_device / 1e9, 2),
        "memory_gb": round(cost.peak_bytes_ram / 1e9, 2),
        "zero_gpu_seconds": None if cost.zero_gpu_seconds is None else round(cost.zero_gpu_seconds, 1),
        "is_rough": cost.is_rough,
        "fits": fits,
        "changes": changes,
        "advice": "" if fits else advice(changes),
    }


def list_models() -> dict[str, dict[str, str]]:
    """List the models and presets there are: by kind, the name that calls use and what it is.

    Names of loras stand in prompts, as <lora:name:0.8>; those of controlnets and ip_adapters in controls and
    image_prompts; the others are values of the fields base_model, motion_module, vae, upscaler and preset.

    Returns:
        Names and descriptions by kind.
    """
    kinds: Mapping[str, tuple[Entry, ...]] = {
        "base_models": catalog.base_models(),
        "motion_modules": catalog.motion_modules(),
        "vaes": catalog.vaes(),
        "loras": catalog.loras(),
        "controlnets": catalog.controlnets(),
        "ip_adapters": catalog.ip_adapters(),
        "upscalers": catalog.upscalers(),
    }
    names_by_kind = {kind: {entry.names[0]: entry.description for entry in entries} for kind, entries in kinds.items()}
    names_by_kind["presets"] = {preset.id: f"{preset.label}: sets {', '.join(preset.sets)}." for preset in PRESETS}
    return names_by_kind


def list_fields() -> dict[str, dict[str, dict[str, str]]]:
    """List the settings of a clip by heading: type, default, allowed values and meaning of each.

    Returns:
        The settings by heading.
    """
    groups = {"In sight": IN_SIGHT, **GROUPS, "Pictures and clips": INPUT_FIELDS}
    return {
        heading: {name: asdict(field_facts(name, with_limits=True)) for name in names}
        for heading, names in groups.items()
    }
