"""Identify single-file base models by tensor names, shapes and metadata."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from pipelines.engine.base_models.builds import BUILDS
from pipelines.plan.architecture import Architecture
from pipelines.plan.catalog_entries import BaseModel
from pipelines.plan.errors import WeightsError
from pipelines.plan.faults import Fault
from pipelines.plan.findings import Finding
from pipelines.plan.model_files import kinds
from pipelines.plan.model_files.kinds import WeightsKind, tell_kind

Shapes = Mapping[str, tuple[int, ...]]
UNET, VAE = "model.diffusion_model.", "first_stage_model."
REFINER = Finding(
    "base_model.refiner", "a Stable Diffusion XL refiner, which only finishes pictures another model began"
)
STABLE_DIFFUSION_2 = Finding("base_model.stable_diffusion_2", "a Stable Diffusion 2 model")
_FIRST, _CONTEXT = f"{UNET}input_blocks.0.0.weight", r"\.attn2\.to_k\.weight$"
_LATENTS = 4
_SD2_WIDTH = 1024
#: Other families of models in files of the same kind, by names that only they have.
_FAMILIES = (
    (r"joint_blocks\.", Finding("base_model.stable_diffusion_3", "a Stable Diffusion 3 model")),
    (r"(double|single)_blocks\.|img_in\.", Finding("base_model.flux", "a FLUX model, or another of its line")),
    (
        r"clip_txt_mapper|channelwise\.0\.weight|effnet_mapper",
        Finding("base_model.stable_cascade", "a Stable Cascade model"),
    ),
    (
        r"cap_embedder\.|adaln_single\.|x_embedder\.proj|patch_embedding\.",
        Finding("base_model.transformer", "a diffusion transformer"),
    ),
    (
        r"^edm_(mean|std)$",
        Finding("base_model.playground", "a Playground 2.5 model, whose noise schedule is its own"),
    ),
    (
        r"^edm_vpred\.sigma_(max|min)$",
        Finding("base_model.edm", "a CosXL model or another of EDM's line, whose noise schedule is its own"),
    ),
    (
        r"time_stack\.|temporal_transformer\.",
        Finding("base_model.of_videos", "a model of videos with its own motion layers"),
    ),
)


class Marks(NamedTuple):
    """Training settings that a single file states.

    Args:
        prediction_type: What its UNet predicts, as diffusers spells it; None if it says nothing.
        zero_snr: It was trained on a noise schedule that ends in pure noise.
    """

    prediction_type: str | None
    zero_snr: bool


def tell_architecture(entry: BaseModel, shapes: Shapes) -> Architecture:
    """Identify a single file's architecture.

    Raises:
        WeightsError: It is neither a Stable Diffusion 1.5 nor an XL model; what it is instead, and where it belongs.
    """
    architecture = Architecture.SDXL if _any_contains(shapes, "conditioner.embedders.") else Architecture.SD15
    if not any(name.startswith(UNET) for name in shapes):
        raise _other_file(entry, shapes)
    for pattern, family in _FAMILIES:
        if any(re.search(pattern, name) for name in shapes if not name.startswith(VAE)):
            raise wrong_kind(entry, family)
    width = next((shape[1] for name, shape in shapes.items() if re.search(_CONTEXT, name) and len(shape) > 1), 0)
    has_text = all(_any_contains(shapes, part) for part in BUILDS[architecture].checkpoint_parts)
    first = shapes.get(_FIRST, ())
    channels = first[1] if len(first) > 1 else 0
    exclusions = (
        (_any_contains(shapes, "cond_stage_model.model.") or width == _SD2_WIDTH, STABLE_DIFFUSION_2),
        (_any_contains(shapes, "conditioner.embedders.0.model."), REFINER),
        (not has_text, Finding("base_model.no_text_encoder", "a checkpoint without its text encoder")),
        (channels != _LATENTS, describe_channels(channels)),
    )
    for is_so, kind in exclusions:
        if is_so:
            raise wrong_kind(entry, kind)
    return architecture


def has_vae(shapes: Shapes) -> bool:
    """Tell whether a single file has a decoder of its own."""
    return f"{VAE}decoder.conv_in.weight" in shapes


def read_marks(path: Path, shapes: Shapes, notes: Mapping[str, str]) -> Marks:
    """Read a file's training settings from marker tensors, header or YAML.

    Args:
        path: The file; `<name>.yaml` beside it is looked into, as the web UI does.
        shapes: Its tensors.
        notes: What its header says beside them.
    """
    beside = path.with_suffix(".yaml")
    config_text = beside.read_text("utf-8", errors="replace")[: 1 << 20] if beside.is_file() else ""
    predicts_v = (
        "v_pred" in shapes
        or notes.get("modelspec.prediction_type", "").lower() in {"v", "v_prediction", "v-prediction"}
        or re.search(r"^\s*parameterization:\s*[\"']?v[\"']?\s*$", config_text, re.MULTILINE) is not None
    )
    return Marks("v_prediction" if predicts_v else None, "ztsnr" in shapes)


def describe_channels(channels: object) -> Finding:
    """Describe a model whose UNet takes more than latents."""
    words = "made for inpainting or editing (its UNet takes {channels:s} channels)"
    return Finding("base_model.for_inpainting", words, {"channels": str(channels)})


def wrong_kind(entry: BaseModel, kind: Finding) -> WeightsError:
    """Build the error for a model of another kind."""
    return WeightsError(
        Fault(
            code=kind.code,
            field="base_model",
            rule="be a Stable Diffusion 1.5 or XL model",
            got=entry.id,
            seen=f"'{{got:s}}', which is {kind.words}",
            fix="Choose another base model",
            values=kind.values,
        )
    )


def _other_file(entry: BaseModel, shapes: Shapes) -> WeightsError:
    """Build the error for a file without a published UNet layout."""
    kind = tell_kind(shapes)
    if kind in {WeightsKind.TRANSFORMER, WeightsKind.UNKNOWN, WeightsKind.CHECKPOINT}:
        for pattern, family in _FAMILIES:
            if any(re.search(pattern, name) for name in shapes):
                return wrong_kind(entry, family)
    return kinds.wrong_kind(kind, field="base_model", name=entry.id)


def _any_contains(names: Iterable[str], part: str) -> bool:
    return any(part in name for name in names)
