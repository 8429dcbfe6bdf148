"""Models that the operator has put into `MODELS_DIR`.

``` MODELS_DIR/base_models single files, and diffusers folders MODELS_DIR/motion_modules single files, and diffusers
folders MODELS_DIR/vaes single files, and diffusers folders MODELS_DIR/controlnets ControlNets and SparseCtrls: single
files, and diffusers folders MODELS_DIR/ip_adapters IP-Adapters; beside them, if not the catalog's, a folder
image_encoder MODELS_DIR/loras LoRAs MODELS_DIR/embeddings textual inversions MODELS_DIR/upscalers super-resolution
networks MODELS_DIR/interpolators FILM as a TorchScript archive, which is run: only files you trust ```

An id is a path within its folder. It is looked up among what was found and never opened as it came.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from pipelines.plan.catalog_entries import (
    BaseModel,
    ControlNet,
    FileFields,
    Interpolator,
    IPAdapter,
    Lora,
    MotionModule,
    Upscaler,
    Vae,
)
from pipelines.plan.model_files.foreign_files import MAPPED, identify_by_ending
from pipelines.plan.model_files.headers import read_header
from pipelines.plan.model_files.kinds import WeightsKind, tell_kind
from pipelines.plan.motion_layout import tell_family
from pipelines.plan.settings import settings

WEIGHTS_FILES = (*MAPPED, ".ckpt", ".pth", ".pt", ".bin")
_FOLDER_MARKERS = {
    "base_models": "model_index.json",
    "motion_modules": "config.json",
    "vaes": "config.json",
    "controlnets": "config.json",
}
_XL_MARK = "conditioner.embedders."  # how tensors of single files of Stable Diffusion XL begin
_LICENCE = "Local file; its licence is the operator's business"


def local_base_models(*, like: BaseModel, like_xl: BaseModel) -> list[BaseModel]:
    """List base models on this disk, with SD 1.5's or XL's settings."""
    return [
        replace(
            like_xl if _looks_like_xl(path) else like,
            family=None,
            size_mb=None,
            files=(),
            aliases=(),
            **_fields(name, path, "A model"),
        )
        for name, path in _models("base_models")
    ]


def local_motion_modules() -> list[MotionModule]:
    """List motion modules on this disk, with families where headers tell."""
    return [
        MotionModule(motion_family=_guess_family(path), **_fields(name, path, "A motion module"))
        for name, path in _models("motion_modules")
    ]


def local_vaes() -> list[Vae]:
    """List VAEs on this disk."""
    return [Vae(**_fields(name, path, "A VAE")) for name, path in _models("vaes")]


def local_controlnets() -> list[ControlNet]:
    """List ControlNets and SparseCtrls on this disk."""
    return [ControlNet(**_fields(name, path, "A control model")) for name, path in _models("controlnets")]


def local_ip_adapters() -> list[IPAdapter]:
    """List IP-Adapters on this disk, without their image encoders."""
    return [
        IPAdapter(**_fields(name, path, "An IP-Adapter"))
        for name, path in _models("ip_adapters")
        if path.parent.name != "image_encoder"
    ]


def local_loras() -> list[Lora]:
    """List LoRAs and textual inversions on this disk."""
    return [Lora(**_fields(name, path, "A file")) for kind in ("loras", "embeddings") for name, path in _models(kind)]


def local_upscalers() -> list[Upscaler]:
    """List super-resolution networks on this disk."""
    return [Upscaler(**_fields(name, path, "A super-resolution network")) for name, path in _models("upscalers")]


def local_interpolators() -> list[Interpolator]:
    """List FILM files on this disk."""
    models = _models("interpolators")
    return [Interpolator(**_fields(name, path, "A program")) for name, path in models if path.suffix.lower() == ".pt"]


def foreign_file(kinds: Sequence[str], name: str) -> str | None:
    """Find a non-weights file by name, with or without its ending."""
    top = settings().models_dir
    for root in (Path(top, kind) for kind in kinds if top):
        for path in sorted(root.rglob("*")):
            if identify_by_ending(path.name) and name in (path.relative_to(root).as_posix(), path.name, path.stem):
                return path.name
    return None


def loras_in(folder: Path | None) -> list[Lora]:
    """List the LoRAs directly in a folder; empty if there is none."""
    root = folder.resolve() if folder else None
    if root is None or not root.is_dir():
        return []
    return [Lora(**_fields(path.name, path, "A file")) for path in sorted(root.iterdir()) if _is_weights(path, root)]


def _fields(name: str, path: Path, kind: str) -> FileFields:
    return {
        "id": name,
        "label": path.stem,
        "description": f"{kind} from the models folder.",
        "source": "local",
        "repo": str(path),
        "file": None,
        "licence": _LICENCE,
    }


def _models(kind: str) -> Iterator[tuple[str, Path]]:
    """Yield id and path of a kind's models, without links leading out."""
    top = settings().models_dir
    root = Path(top, kind).resolve() if top else None
    if root is None or not root.is_dir():
        return
    marker = _FOLDER_MARKERS.get(kind)
    for where, folders, files in os.walk(root):
        folder = Path(where)
        is_model = {name for name in folders if marker and (folder / name / marker).is_file()}
        for name in sorted({*is_model, *files}):
            path = folder / name
            if name in is_model or _is_weights(path, root):
                yield path.relative_to(root).as_posix(), path
        folders[:] = sorted(set(folders) - is_model)


def _is_weights(path: Path, root: Path) -> bool:
    return path.is_file() and path.suffix.lower() in WEIGHTS_FILES and path.resolve().is_relative_to(root)


def _looks_like_xl(path: Path) -> bool:
    """Guess XL by header, for the settings; loading decides."""
    if path.is_dir():
        return (path / "text_encoder_2").is_dir()
    return any(name.startswith(_XL_MARK) for name in read_header(path).shapes)


def _guess_family(path: Path) -> str | None:
    file = next(path.glob("*.safetensors"), path) if path.is_dir() else path
    shapes, notes = read_header(file)
    return (
        tell_family(shapes, notes, file_name=file.name).id if tell_kind(shapes) is WeightsKind.MOTION_MODULE else None
    )
