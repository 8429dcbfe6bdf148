"""Locate base-model files and tell Stable Diffusion 1.5 from XL.

A base model is a diffusers folder, or a single file in the layout its authors published. A single file
holds weights only; configurations and tokenizers come from Stable Diffusion 1.5 or XL itself, a download
of 2 or 4 MB, and so does the VAE of a file that has none.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipelines.engine.base_models.builds import BUILDS
from pipelines.engine.base_models.folders import component_files, fetch_weights, folder_paths
from pipelines.engine.base_models.single_files import (
    REFINER,
    STABLE_DIFFUSION_2,
    Marks,
    describe_channels,
    has_vae,
    read_marks,
    tell_architecture,
    wrong_kind,
)
from pipelines.engine.weights.config_values import UNET_CONFIG, block_channels, text_width
from pipelines.engine.weights.downloads import fetch
from pipelines.engine.weights.reading import read_metadata, read_shapes
from pipelines.plan import catalog
from pipelines.plan.architecture import Architecture
from pipelines.plan.catalog_entries import BaseModel
from pipelines.plan.errors import WeightsError
from pipelines.plan.faults import Fault
from pipelines.plan.findings import Finding

FIELD = "base_model"
CHECKPOINT = "checkpoint"
_CONFIGS = [
    "model_index.json",
    "scheduler/*.json",
    "tokenizer/*",
    "tokenizer_2/*",
    "text_encoder/config.json",
    "text_encoder_2/config.json",
    "unet/config.json",
    "vae/config.json",
]
_SD2_WIDTH = 1024
_NO_MARKS = Marks(None, False)


@dataclass(frozen=True, slots=True)
class BaseFiles:
    """A base model on this disk, inspected but not read.

    Args:
        entry: What was asked for.
        architecture: What it was found to be.
        folder: The diffusers folder; for a single file the one that describes it.
        paths: Component -> weights files, several if it is in shards; a single file is all of it but what has paths
            of its own, under "checkpoint".
        configs: Component -> its configuration, the UNet's, the VAE's and the text encoders'.
        prediction_type, zero_snr: What its UNet predicts, as diffusers spells it, and whether its noise schedule ends
            in pure noise.
        zero_empty_negative: It was trained with zeros for an empty prompt, not with the states of one.
        notes: What the person who asked should know.
    """

    entry: BaseModel
    architecture: Architecture
    folder: Path
    paths: dict[str, tuple[Path, ...]]
    configs: dict[str, dict[str, object]]
    prediction_type: str
    zero_snr: bool
    zero_empty_negative: bool
    notes: tuple[str, ...] = ()

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of the UNet's blocks, outermost first."""
        return block_channels(self.configs["unet"], name=self.entry.id)

    @property
    def vae_overflows(self) -> bool:
        """Whether the VAE overflows float16; not assumed where undeclared, unlike diffusers."""
        return bool(self.configs["vae"].get("force_upcast", False))


def locate_base(entry: BaseModel, *, half: bool = False) -> BaseFiles:
    """Fetch a base model if needed, and check its architecture.

    Args:
        entry: A base model of the catalog or the models folder.
        half: It is computed with in half precision, so that weights in half precision do.

    Raises:
        WeightsError: It can't be had, is damaged, or is neither a Stable Diffusion 1.5 nor an XL model.
    """
    if entry.source != "hub" and entry.folder.is_dir():
        return _from_folder(entry, entry.folder, half)
    if entry.source == "hub" and not entry.file:
        return _from_folder(entry, _fetch_folder(entry, half), half)
    if entry.source == "folder":
        raise WeightsError(
            Fault(
                code="base_model.not_installed",
                field=FIELD,
                rule="be installed",
                got=entry.id,
                seen="'{got:s}', whose folder is missing",
                fix="Install the app again",
            )
        )
    return _from_file(entry, half)


def _from_file(entry: BaseModel, half: bool) -> BaseFiles:
    path = fetch(entry.repo, entry.file, entry.revision, field=FIELD) if entry.file else entry.folder
    shapes = read_shapes(path, field=FIELD)
    architecture = tell_architecture(entry, shapes)
    build = BUILDS[architecture]
    like = catalog.find_base_model(build.configs)
    folder = fetch(like.repo, _CONFIGS, like.revision, field=FIELD)
    paths: dict[str, tuple[Path, ...]] = {CHECKPOINT: (path,)}
    notes: tuple[str, ...] = ()
    if not has_vae(shapes):
        folder = fetch_weights(like, ("vae",), field=FIELD, half=half)
        paths["vae"] = component_files(folder, "vae", half=half)
        notes = (f"'{entry.id}' has no VAE; that of {build.label} draws in its place.",)
    marks = read_marks(path, shapes, read_metadata(path, field=FIELD))
    return _inspect(entry, architecture, folder, paths, marks=marks, notes=notes)


def _fetch_folder(entry: BaseModel, half: bool) -> Path:
    folder = fetch(entry.repo, _CONFIGS, entry.revision, field=FIELD)
    components = BUILDS[_folder_architecture(entry, folder)].components
    return fetch_weights(entry, components, field=FIELD, half=half)


def _from_folder(entry: BaseModel, folder: Path, half: bool) -> BaseFiles:
    architecture = _folder_architecture(entry, folder)
    _refuse_other_folders(entry, architecture, folder, _config(entry, folder, UNET_CONFIG))
    paths = folder_paths(entry, folder, BUILDS[architecture], field=FIELD, half=half)
    return _inspect(entry, architecture, folder, paths)


def _folder_architecture(entry: BaseModel, folder: Path) -> Architecture:
    is_xl = _config(entry, folder, UNET_CONFIG).get("addition_embed_type") == "text_time"
    return Architecture.SDXL if is_xl else Architecture.SD15


def _inspect(
    entry: BaseModel,
    architecture: Architecture,
    folder: Path,
    paths: dict[str, tuple[Path, ...]],
    *,
    marks: Marks = _NO_MARKS,
    notes: tuple[str, ...] = (),
) -> BaseFiles:
    """Read the configurations and headers, and refuse what is not whole."""
    index = _config(entry, folder, "model_index.json")
    scheduler = _config(entry, folder, "scheduler/scheduler_config.json")
    configs = {name: _config(entry, folder, f"{name}/config.json") for name in BUILDS[architecture].components}
    for files in paths.values():
        for path in files:
            read_shapes(path, field=FIELD)
    return BaseFiles(
        entry=entry,
        architecture=architecture,
        folder=folder,
        paths=paths,
        configs=configs,
        prediction_type=marks.prediction_type or str(scheduler.get("prediction_type", "epsilon")),
        zero_snr=marks.zero_snr or bool(scheduler.get("rescale_betas_zero_snr", False)),
        zero_empty_negative=bool(index.get("force_zeros_for_empty_prompt", architecture is Architecture.SDXL)),
        notes=notes,
    )


def _refuse_other_folders(
    entry: BaseModel, architecture: Architecture, folder: Path, unet: Mapping[str, object]
) -> None:
    if unet.get("_class_name") != "UNet2DConditionModel":
        class_name = str(unet.get("_class_name"))
        raise wrong_kind(
            entry, Finding("base_model.other_class", "built on a {class_name:s}", {"class_name": class_name})
        )
    block_channels(unet, name=entry.id)
    width = text_width(unet, name=entry.id)
    if architecture is Architecture.SD15 and width == _SD2_WIDTH:
        raise wrong_kind(entry, STABLE_DIFFUSION_2)
    if unet.get("in_channels") != 4:
        raise wrong_kind(entry, describe_channels(unet.get("in_channels")))
    if architecture is Architecture.SDXL and width == _text_width(entry, folder, "text_encoder_2"):
        raise wrong_kind(entry, REFINER)
    if width != sum(_text_width(entry, folder, name) for name in BUILDS[architecture].text_encoders):
        why = "put together of parts that don't fit: its text encoder is not its UNet's"
        raise wrong_kind(entry, Finding("base_model.parts_misfit", why))


def _text_width(entry: BaseModel, folder: Path, name: str) -> int:
    width = _config(entry, folder, f"{name}/config.json").get("hidden_size", 0)
    return width if isinstance(width, int) else 0


def _config(entry: BaseModel, folder: Path, name: str) -> dict[str, object]:
    try:
        return dict(json.loads((folder / name).read_text("utf-8")))
    except (OSError, ValueError, TypeError, RecursionError) as err:
        raise WeightsError(
            Fault(
                code="base_model.no_config",
                field=FIELD,
                rule="be a whole diffusers folder",
                got=entry.id,
                seen="'{got:s}', which has no readable {file:s}",
                fix="Install it again or choose another",
                values={"file": name},
            )
        ) from err
