"""Models in memory: loaded once, shared read-only, lent to one request at a time.

The motion module's layers and the base model's UNet become one `UNetMotionModel`. It is built without
memory of its own and given the tensors that were read, so nothing is held twice and another motion module
on the same base model costs no second copy of it.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import AutoencoderKL, MotionAdapter, UNet2DConditionModel, UNetMotionModel
from transformers import CLIPTextModel, CLIPTokenizer

from pipelines import catalog
from pipelines.base_files import BaseFiles, BaseParts, load_base, locate_base
from pipelines.errors import InvalidRequestError, WeightsError
from pipelines.lora import LoraPlan, merged
from pipelines.motion import PerFrameMotionModule, set_motion_norm
from pipelines.motion_files import MotionFiles, locate_motion
from pipelines.request import GenerationRequest, MotionNorm
from pipelines.weights import sha256_of


@dataclass(frozen=True, slots=True)
class Components:
    """All that a generation computes with; shared, so nobody changes it but within `applied`.

    Args:
        tokenizer, text_encoder, vae: The base model's.
        unet: The base model's UNet with the motion module in it.
        scheduler_config: The noise schedule both were trained on, for `Scheduler.from_config`.
        max_positions: The longest window the motion module can see, frames.
        base, motion: The catalog's records.
        weights: What was read -> sha256: the base model's files by component ("checkpoint" for a single
            file), and "motion_module".
    """

    tokenizer: CLIPTokenizer
    text_encoder: CLIPTextModel
    vae: AutoencoderKL
    unet: UNetMotionModel
    scheduler_config: dict[str, Any]
    max_positions: int
    base: catalog.BaseModel
    motion: catalog.MotionModule
    weights: dict[str, str]


class ModelStore:
    """Loads models and keeps the last ones used.

    Args:
        device: Where they compute, as torch spells it.
        dtype: The number type they compute in.
    """

    def __init__(self, device: str, dtype: torch.dtype) -> None:
        self.device = device
        self.dtype = dtype
        self._lock = threading.Lock()
        self._base: tuple[object, BaseParts] | None = None
        self._components: tuple[object, Components] | None = None

    def load(self, base_model: str, motion_module: str) -> Components:
        """The components of a base model and a motion module, by their ids in the catalog.

        All checks that need no memory come first; what was loaded before gives way only then. After a
        failure nothing half-loaded is kept.

        Raises:
            InvalidRequestError: An id is not in the catalog, or the two are made for different models.
            WeightsError: Files can't be had, are damaged, unsafe, or of another architecture.
        """
        base, motion = catalog.find_base_model(base_model), catalog.find_motion_module(motion_module)
        _refuse_other_family(base, motion)
        with self._lock:
            key = (_identity(base), _identity(motion))
            if self._components and self._components[0] == key:
                return self._components[1]
            files, motion_files = locate_base(base), locate_motion(motion)
            _refuse_other_shape(files, motion_files)
            self._components = None
            parts = self._base_parts(files)
            weights = motion_files.read(self.dtype)
            components = _combine(parts, files, motion_files, {k: v.to(self.device) for k, v in weights.items()})
            self._components = (key, components)
            return components

    def _base_parts(self, files: BaseFiles) -> BaseParts:
        key = _identity(files.entry)
        if not self._base or self._base[0] != key:
            self._base = None  # before the next one is read, so that two never fill the memory
            self._base = (key, load_base(files, self.device, self.dtype))
        return self._base[1]


@contextmanager
def applied(components: Components, request: GenerationRequest, loras: LoraPlan | None = None) -> Iterator[Components]:
    """Set what the request changes about the shared models, and undo it whatever happens inside."""
    modules = components.unet.modules()
    was_per_frame = any(isinstance(module, PerFrameMotionModule) for module in modules)
    set_motion_norm(components.unet, per_frame=request.motion_norm is MotionNorm.PER_FRAME)
    try:
        with merged(loras) if loras else nullcontext():
            yield components
    finally:
        set_motion_norm(components.unet, per_frame=was_per_frame)


def _combine(
    base: BaseParts, files: BaseFiles, motion: MotionFiles, motion_weights: Mapping[str, torch.Tensor]
) -> Components:
    return Components(
        tokenizer=base.tokenizer,
        text_encoder=base.text_encoder,
        vae=base.vae,
        unet=_build_unet(base, motion, motion_weights),
        scheduler_config={
            "num_train_timesteps": 1000,
            "beta_start": 0.00085,
            "beta_end": 0.012,
            "beta_schedule": motion.entry.beta_schedule,
            "steps_offset": 1,
            "clip_sample": False,
            "prediction_type": base.prediction_type,
        },
        max_positions=motion.max_positions,
        base=files.entry,
        motion=motion.entry,
        weights=base.weights | {"motion_module": sha256_of(motion.path)},
    )


def _build_unet(base: BaseParts, motion: MotionFiles, motion_weights: Mapping[str, torch.Tensor]) -> UNetMotionModel:
    """Both as one UNet over the very tensors they were read into.

    Raises:
        WeightsError: The motion module lacks tensors, has too many, or has them in other shapes.
    """
    try:
        with torch.device("meta"):
            spatial = UNet2DConditionModel.from_config(base.unet_config)
            # A file does not tell its norm's groups, and diffusers takes the UNet's for the motion layers.
            groups = {"motion_norm_num_groups": base.unet_config["norm_num_groups"]}
            adapter = MotionAdapter(**motion.config | groups)
            unet = UNetMotionModel.from_unet2d(spatial, adapter, load_weights=False)
        unet.load_state_dict({**base.unet_weights, **motion_weights}, strict=True, assign=True)
    except (RuntimeError, TypeError, ValueError) as err:
        raise WeightsError(
            f"motion_module must be a whole motion module that fits the base model's UNet, got '{motion.entry.id}', "
            "whose layers are not what its description says. Download it again or choose another."
        ) from err
    return unet.requires_grad_(False).eval()


def _refuse_other_family(base: catalog.BaseModel, motion: catalog.MotionModule) -> None:
    """Refuse a pair the catalog knows not to fit, before anything is downloaded."""
    if base.family and motion.family and base.family != motion.family:
        fitting = [module.id for module in catalog.motion_modules() if module.family == base.family]
        raise InvalidRequestError(
            f"motion_module must be made for the base model '{base.id}', got '{motion.id}'. "
            f"Choose {', '.join(repr(module) for module in fitting)}."
        )


def _refuse_other_shape(base: BaseFiles, motion: MotionFiles) -> None:
    if base.channels != motion.channels:
        raise WeightsError(
            f"motion_module must fit the base model '{base.entry.id}' (blocks of {_in_words(base.channels)}), "
            f"got '{motion.entry.id}' ({_in_words(motion.channels)}). Choose a motion module made for it."
        )


def _in_words(channels: tuple[int, ...]) -> str:
    kind = {(320, 640, 1280, 1280): ": Stable Diffusion 1.5", (320, 640, 1280): ": Stable Diffusion XL"}
    return f"{', '.join(map(str, channels))} channels{kind.get(channels, '')}"


def _identity(entry: catalog.BaseModel | catalog.MotionModule) -> object:
    """What a loaded model is kept under; a local file that has changed is another one."""
    return (entry, entry.folder.stat().st_mtime_ns if entry.source == "local" else None)
