"""LoRA and textual-inversion files: their kind, and additions by layer.

Additions are published under half a dozen naming schemes. All of them are brought to one (`lora/names.py`), in
which `lora/merged.py` finds the layers of the model at hand, so there is no table of layers to keep and nothing
is matched by likeness. What a file is, is decided by its tensors' names and shapes alone.
"""

import json
import math
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import torch

from pipelines.engine.lora.additions import Addition
from pipelines.engine.lora.names import flatten_name
from pipelines.engine.lora.parts import build_additions, split_name
from pipelines.engine.weights.digests import sha256_of
from pipelines.engine.weights.reading import read_metadata, read_weights
from pipelines.plan.errors import WeightsError
from pipelines.plan.faults import Fault
from pipelines.plan.model_files.kinds import FOLDERS, READERS, is_word, tell_kind, wrong_kind

FIELD = "lora"
_BUNDLED = "bundle_emb."  # textual inversions inside a LoRA
_IN_WORD = r"\.(string_to_param(\..*)?|clip_[lg])$"
_HEADER = "lora_adapter_metadata"
_SCALE = ".lora_alpha"
_UNREAD_SETTINGS = (".alpha_pattern", ".use_rslora")
_MOTION = "_motion_modules_"
_ENCODERS = (
    {"clip_l": "text_encoder", "clip_g": "text_encoder_2"},
    {"text_encoders_0": "text_encoder", "text_encoders_1": "text_encoder_2"},
)
_Parts = dict[str, dict[str, torch.Tensor]]


class LoraKind(StrEnum):
    """Kind of file; v3 domain adapters and LCM-LoRAs are spatial."""

    MOTION = "motion"
    SPATIAL = "spatial"
    TEXTUAL_INVERSION = "textual_inversion"


@dataclass(frozen=True, slots=True)
class Lora:
    """Additions of one file.

    Args:
        name: The file's name, for people.
        layers: Component of the base model -> flattened layer name (a bias has `BIAS` behind it) -> what is added.
        vectors: Of a textual inversion: text encoder -> what it puts in the place of words, [n, width].
        sha256: Of the file.
        words: Names of textual inversions inside of a LoRA, which are not read.
        unread: Names of other tensors that are part of no addition.
    """

    name: str
    kind: LoraKind
    layers: Mapping[str, Mapping[str, Addition]]
    vectors: Mapping[str, torch.Tensor]
    sha256: str
    words: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()


def read_lora(path: Path) -> Lora:
    """Read a LoRA or textual inversion of any known format.

    Raises:
        WeightsError: The file is damaged or unsafe, parts are missing or there twice, or it is something else.
    """
    tensors = read_weights(path, field=FIELD)
    digest = sha256_of(path)
    if vectors := _vectors(path, tensors):
        return Lora(path.name, LoraKind.TEXTUAL_INVERSION, {}, vectors, digest)
    kind = tell_kind(tensors)
    if FOLDERS.get(kind) not in READERS[FIELD][1]:
        raise wrong_kind(kind, field=FIELD, name=path.name)
    parts, words, unread = _by_layer(path, tensors)
    if not parts:
        raise wrong_kind(kind, field=FIELD, name=path.name)
    layers = _by_component(path, parts)
    is_motion = any(_MOTION in name for name in layers.get("unet", {}))
    return Lora(path.name, LoraKind.MOTION if is_motion else LoraKind.SPATIAL, layers, {}, digest, words, unread)


def _by_layer(path: Path, tensors: Mapping[str, torch.Tensor]) -> tuple[_Parts, tuple[str, ...], tuple[str, ...]]:
    """Group tensors by layer; list bundled textual inversions and unread names."""
    parts: _Parts = defaultdict(dict)
    words: dict[str, None] = {}
    unread = []
    for name, tensor in tensors.items():
        if name.startswith(_BUNDLED):
            words[re.sub(_IN_WORD, "", name.removeprefix(_BUNDLED))] = None
        elif layer_role := split_name(name):
            layer, role = layer_role
            if role in parts[layer]:
                raise _duplicate_error(path, layer)
            parts[layer][role] = tensor
        else:
            unread.append(name)
    return dict(parts), tuple(words), tuple(unread)


def _by_component(path: Path, parts: _Parts) -> dict[str, dict[str, Addition]]:
    """Build additions by component and layer, scaled by the file's header."""
    layers: dict[str, dict[str, Addition]] = defaultdict(dict)
    scales = _scales(path)
    for layer, layer_parts in parts.items():
        component, flat = flatten_name(layer)
        try:
            additions = build_additions(layer_parts, scales.get(component + _SCALE))
        except ValueError as err:
            raise WeightsError(
                Fault(
                    code="lora.parts_of_layer",
                    field=FIELD,
                    rule="hold all parts of what it adds to a layer",
                    got=path.name,
                    seen="'{got:s}', where those of '{layer:s}' don't belong together",
                    fix="Download it again or choose another",
                    values={"layer": layer},
                )
            ) from err
        for end, addition in additions.items():
            if flat + end in layers[component]:
                raise _duplicate_error(path, layer)
            layers[component][flat + end] = addition
    return dict(layers)


def _scales(path: Path) -> dict[str, float | None]:
    """Read the scales in a diffusers file's training header, by "component.setting".

    Raises:
        WeightsError: It was trained with a scale of its own for each layer, which is not supported, or with one that is
            no number; or its header is damaged.
    """
    try:
        settings = json.loads(read_metadata(path, field=FIELD).get(_HEADER, "{}"), parse_int=float)
    except (ValueError, RecursionError):
        settings = None
    if not isinstance(settings, dict):
        raise WeightsError(
            Fault(
                code="lora.unreadable_header",
                field=FIELD,
                rule="have a header that says how it was trained",
                got=path.name,
                seen="'{got:s}', whose {key:s} can't be read",
                fix="Download it again or choose another",
                values={"key": _HEADER},
            )
        )
    if any(settings[name] for name in settings if name.endswith(_UNREAD_SETTINGS)):
        raise WeightsError(
            Fault(
                code="lora.scale_of_each_layer",
                field=FIELD,
                rule="be a LoRA with one scale for all layers",
                got=path.name,
                seen="'{got:s}', which has a scale of its own for each layer",
                fix="Choose another file",
            )
        )
    for name, value in settings.items():
        if name.endswith(_SCALE) and value is not None and not (isinstance(value, float) and math.isfinite(value)):
            raise WeightsError(
                Fault(
                    code="lora.scale_no_number",
                    field=FIELD,
                    rule="have numbers for its scales",
                    got=path.name,
                    seen="'{got:s}' with '{value:s}' for {key:s}",
                    fix="Download it again or choose another",
                    values={"value": str(value)[:60], "key": name[:60]},
                )
            )
    return {name: value for name, value in settings.items() if name.endswith(_SCALE)}


def _vectors(path: Path, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Read a textual inversion's vectors by text encoder; empty for other files.

    It holds one tensor, whose name is a word (`emb_params`, `*`, `<my-cat>`) and no layer, or one for each
    of Stable Diffusion XL's encoders.

    Raises:
        WeightsError: It is one, but what it holds are no vectors, or not as many for each encoder.
    """
    encoders = next((names for names in _ENCODERS if names.keys() == tensors.keys()), {})
    if is_word(tensors):
        encoders = dict.fromkeys(tensors, "text_encoder")
    for name in encoders:
        tensor = tensors[name]
        if tensor.ndim not in (1, 2) or not tensor.numel() or not tensor.is_floating_point():
            kind, sides = str(tensor.dtype).removeprefix("torch."), "×".join(map(str, tensor.shape)) or "none"
            raise WeightsError(
                Fault(
                    code="lora.no_vectors",
                    field=FIELD,
                    rule="be a LoRA, or a textual inversion of one floating-point vector or several",
                    got=path.name,
                    seen="'{got:s}', whose '{tensor:s}' is {kind:s} with the sides {sides:s}",
                    fix="Choose another file",
                    values={"tensor": name[:60], "kind": kind, "sides": sides},
                )
            )
    vectors = {encoder: torch.atleast_2d(tensors[name]) for name, encoder in encoders.items()}
    counts = {name: len(vectors[encoder]) for name, encoder in encoders.items()}
    if len(set(counts.values())) > 1:
        counts_text = ", ".join(f"{count} in {name}" for name, count in counts.items())
        raise WeightsError(
            Fault(
                code="lora.uneven_vectors",
                field=FIELD,
                rule="be a textual inversion with as many vectors for each text encoder",
                got=path.name,
                seen="'{got:s}' with {counts:s}",
                fix="Download it again or choose another",
                values={"counts": counts_text},
            )
        )
    return vectors


def _duplicate_error(path: Path, layer: str) -> WeightsError:
    return WeightsError(
        Fault(
            code="lora.layer_twice",
            field=FIELD,
            rule="add to each layer once",
            got=path.name,
            seen="'{got:s}', which has several additions to '{layer:s}'",
            fix="Choose a file with one LoRA in it",
            values={"layer": layer},
        )
    )
