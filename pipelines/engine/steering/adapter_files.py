"""IP-Adapter files: attention layers and the image encoder.

Of the published kinds these are known: base (one vector a picture, four tokens) and plus with plus-face (a picture's
patches, sixteen tokens). Layers are numbered as the UNet's cross-attention is: down, up, middle.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import UNetMotionModel
from diffusers.models.embeddings import ImageProjection, IPAdapterPlusImageProjection
from torch import nn
from transformers import CLIPVisionModelWithProjection

from pipelines.engine.cross_attention import cross_attentions
from pipelines.engine.weights.downloads import fetch
from pipelines.engine.weights.reading import (
    FOLDER_CONFIG,
    missing,
    not_whole,
    read_model,
    read_shapes,
    read_weights,
    require_layout,
)
from pipelines.engine.weights.scaled import refuse_whole_numbers
from pipelines.plan import catalog
from pipelines.plan.catalog_entries import IPAdapter
from pipelines.plan.errors import WeightsError
from pipelines.plan.faults import Fault
from pipelines.plan.findings import Finding
from pipelines.plan.model_files.kinds import WeightsKind, tell_kind, wrong_kind
from pipelines.plan.motion_layout import Shapes

FIELD = "image_prompts"
ENCODER_FOLDER = "image_encoder"
_ENCODER_WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # the first that is there
_KEY, _VALUE = "ip_adapter.{}.to_k_ip.weight", "ip_adapter.{}.to_v_ip.weight"
_HEAD = 64  # width of an attention head of all published projections
_PLUS_SEES, _FACE_WIDTH = "image_proj.proj_in.weight", (512,)  # numbers that say whose face it is
_BASE, _PLUS = "image_proj.proj.weight", "image_proj.latents"
_BASE_NAMES = {r"^proj\.": "image_embeds."}
_PLUS_NAMES = {
    r"^(layers\.\d+)\.0\.norm1\.": r"\1.ln0.",
    r"^(layers\.\d+)\.0\.norm2\.": r"\1.ln1.",
    r"^(layers\.\d+)\.0\.to_out\.": r"\1.attn.to_out.0.",
    r"^(layers\.\d+)\.0\.": r"\1.attn.",
    r"^(layers\.\d+)\.1\.0\.": r"\1.ff.0.",
    r"^(layers\.\d+)\.1\.1\.": r"\1.ff.1.net.0.proj.",
    r"^(layers\.\d+)\.1\.3\.": r"\1.ff.1.net.2.",
}


@dataclass(frozen=True, slots=True)
class AdapterFiles:
    """An IP-Adapter on this disk, inspected but not read.

    Args:
        entry: What was asked for.
        path: Its weights file.
        shapes: Of its tensors.
        encoder: The folder of its image encoder.
    """

    entry: IPAdapter
    path: Path
    shapes: Shapes
    encoder: Path

    @property
    def is_plus(self) -> bool:
        """Whether it reads a picture's patches instead of one vector."""
        return _PLUS in self.shapes

    @property
    def encoder_file(self) -> Path:
        """The image encoder's weights file."""
        return next((self.encoder / name for name in _ENCODER_WEIGHTS if (self.encoder / name).is_file()), self.encoder)


def locate_adapter(entry: IPAdapter) -> AdapterFiles:
    """Fetch an IP-Adapter and its encoder if needed, and check them.

    Raises:
        WeightsError: They can't be had, are damaged, or something else; the text says what.
    """
    path = entry.folder
    if entry.source == "hub":
        if not entry.file:
            raise WeightsError(
                Fault(
                    code="image_prompt.no_file_named",
                    field=FIELD,
                    rule="name a file on the Hub",
                    got=entry.id,
                    seen="'{got:s}'",
                    fix="Add the file's name",
                )
            )
        path = fetch(entry.repo, entry.file, entry.revision, field=FIELD)
    shapes = read_shapes(path, field=FIELD)
    kind = tell_kind(shapes)
    if kind is WeightsKind.IP_ADAPTER and shapes.get(_PLUS_SEES, (0, 0))[1:] == _FACE_WIDTH:
        kind = WeightsKind.FACE_ADAPTER  # InstantID's has the names of a plus
    if kind is not WeightsKind.IP_ADAPTER:
        raise wrong_kind(kind, field=FIELD, name=entry.id)
    if _BASE not in shapes and _PLUS not in shapes:
        raise WeightsError(
            Fault(
                code="image_prompt.other_kind",
                field=FIELD,
                rule="be an IP-Adapter of the kind base, plus or plus-face",
                got=entry.id,
                seen="'{got:s}', which is of another",
                fix="Choose another one",
            )
        )
    sees = _PLUS_SEES if _PLUS in shapes else _BASE
    if len(shapes.get(sees, ())) != 2:
        finding = Finding("weights.lacks_matrix", "it lacks the matrix {tensor:s}", {"tensor": sees})
        raise not_whole(finding, what="IP-Adapter", field=FIELD, name=entry.id)
    return AdapterFiles(entry, path, shapes, _encoder_of(entry, path))


def refuse_other_unet(files: AdapterFiles, unet: UNetMotionModel, base: str) -> None:
    """Refuse an IP-Adapter of another base model, before reading it.

    Args:
        unet: The UNet with the base model's layers.
        base: What to call the base model.

    Raises:
        WeightsError: Its layers are not as many, or not of the size, that the UNet needs.
    """
    layers = list(cross_attentions(unet))
    expected = {
        name.format(2 * i + 1): tuple(linear.weight.shape)
        for i, layer in enumerate(layers)
        for name, linear in ((_KEY, layer.to_k), (_VALUE, layer.to_v))
    }
    layer_shapes = {name: shape for name, shape in files.shapes.items() if name.startswith("ip_adapter.")}
    if layer_shapes != expected:
        raise WeightsError(
            Fault(
                code="image_prompt.other_size",
                field=FIELD,
                rule="fit the base model '{base:s}' ({wanted_layers} layers, text of {wanted_text:s})",
                got=files.entry.id,
                seen="'{got:s}' ({layers} layers, text of {text:s})",
                fix="Choose an IP-Adapter made for it",
                values={"base": base, **_describe_layers("wanted_", expected), **_describe_layers("", layer_shapes)},
            )
        )


@dataclass(frozen=True, slots=True)
class AdapterLayers:
    """Loaded IP-Adapter layers, frozen.

    Args:
        projection: Makes tokens [N, n, D] of what the image encoder says of N pictures.
        keys_values: For each of the UNet's cross-attention layers what makes keys and values of tokens.
    """

    projection: nn.Module
    keys_values: tuple[tuple[torch.Tensor, torch.Tensor], ...]


def read_adapter(files: AdapterFiles, *, device: str, dtype: torch.dtype) -> AdapterLayers:
    """Read an IP-Adapter's own layers.

    Raises:
        WeightsError: The file does not hold what it should.
    """
    tensors = read_weights(files.path, field=FIELD, dtype=dtype)
    count = sum(name.endswith("to_k_ip.weight") for name in tensors)
    pairs = tuple(
        (tensors[_KEY.format(2 * i + 1)].to(device), tensors[_VALUE.format(2 * i + 1)].to(device)) for i in range(count)
    )
    layers = {name.removeprefix("image_proj."): tensor for name, tensor in tensors.items() if "image_proj." in name}
    projection = _projection(files, layers).requires_grad_(False).eval().to(device)
    return AdapterLayers(projection, pairs)


def read_encoder(files: AdapterFiles, *, device: str, dtype: torch.dtype) -> CLIPVisionModelWithProjection:
    """Read an IP-Adapter's image encoder.

    Raises:
        WeightsError: It is missing or not whole, or sees pictures otherwise than the adapter was trained for.
    """
    name = files.entry.id
    try:
        encoder = read_model(CLIPVisionModelWithProjection, files.encoder, files.encoder_file, dtype, field=FIELD)
    except WeightsError:
        raise
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as err:
        raise WeightsError(
            Fault(
                code="image_prompt.encoder_not_whole",
                field=FIELD,
                rule="have a whole image encoder",
                got=name,
                seen="'{got:s}', whose is missing or damaged",
                fix="Download it again",
            )
        ) from err
    expected_width = files.shapes[_PLUS_SEES if files.is_plus else _BASE][1]
    width = encoder.config.hidden_size if files.is_plus else encoder.config.projection_dim
    if width != expected_width:
        raise WeightsError(
            Fault(
                code="image_prompt.other_encoder",
                field=FIELD,
                rule="have the image encoder it was trained with, {limit} wide",
                got=name,
                seen="'{got:s}' with one of {width}",
                fix="Put the right one into a folder 'image_encoder' beside it",
                limit=expected_width,
                values={"width": width},
            )
        )
    return encoder.to(device)


def _encoder_of(entry: IPAdapter, path: Path) -> Path:
    """Find the encoder folder beside or above a file, or the catalog's."""
    for folder in (path.parent, path.parent.parent):
        if entry.source != "hub" and (folder / ENCODER_FOLDER / FOLDER_CONFIG).is_file():
            return folder / ENCODER_FOLDER
    like = entry if entry.image_encoder else catalog.ip_adapters()[0]
    filenames = [f"{like.image_encoder}/{name}" for name in (FOLDER_CONFIG, _ENCODER_WEIGHTS[0])]
    return fetch(like.repo, filenames, like.revision, field=FIELD) / str(like.image_encoder)


def _projection(files: AdapterFiles, tensors: dict[str, torch.Tensor]) -> nn.Module:
    words = {"what": "IP-Adapter", "field": FIELD, "name": files.entry.id}
    try:
        weights = _rename(tensors, _PLUS_NAMES if files.is_plus else _BASE_NAMES)
        with torch.device("meta"):
            projection = _plus(tensors) if files.is_plus else _base(tensors)
    except KeyError as err:
        raise not_whole(missing(err, "image_proj."), **words) from err
    except (ValueError, ZeroDivisionError, RuntimeError, TypeError, IndexError) as err:
        finding = Finding("weights.makes_no_network", "its layers make no projection of pictures")
        raise not_whole(finding, **words) from err
    require_layout(_layout(weights), _layout(projection.state_dict()), **words)
    refuse_whole_numbers(weights, field=FIELD, file=files.entry.id)
    projection.load_state_dict(weights, assign=True)
    return projection


def _layout(tensors: Mapping[str, torch.Tensor]) -> Shapes:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def _base(tensors: dict[str, torch.Tensor]) -> nn.Module:
    width = len(tensors["norm.weight"])
    rows, wide = tensors["proj.weight"].shape
    return ImageProjection(image_embed_dim=wide, cross_attention_dim=width, num_image_text_embeds=rows // width)


def _plus(tensors: dict[str, torch.Tensor]) -> nn.Module:
    return IPAdapterPlusImageProjection(
        embed_dims=tensors["proj_in.weight"].shape[1],
        output_dims=tensors["proj_out.weight"].shape[0],
        hidden_dims=tensors["latents"].shape[2],
        depth=len({name.split(".")[1] for name in tensors if name.startswith("layers.")}),
        dim_head=_HEAD,
        heads=tensors["layers.0.0.to_q.weight"].shape[0] // _HEAD,
        num_queries=tensors["latents"].shape[1],
    )


def _rename(tensors: dict[str, torch.Tensor], names: dict[str, str]) -> dict[str, torch.Tensor]:
    """Rename tensors to diffusers' names, splitting joint keys and values."""
    renamed = {}
    for old, tensor in tensors.items():
        name = old
        for pattern, replacement in names.items():
            name = re.sub(pattern, replacement, name)
        if ".to_kv." in name:
            renamed[name.replace("to_kv", "to_k")], renamed[name.replace("to_kv", "to_v")] = tensor.chunk(2)
        else:
            renamed[name] = tensor
    return renamed


def _describe_layers(prefix: str, shapes: Shapes) -> dict[str, object]:
    """Describe an adapter's layers for an error message."""
    widths = sorted({shape[1] for shape in shapes.values() if len(shape) > 1})
    return {f"{prefix}layers": len(shapes) // 2, f"{prefix}text": " and ".join(map(str, widths)) or "0"}
