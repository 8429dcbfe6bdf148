"""Model store: models are loaded once, shared read-only, patched per request.

The motion module's layers and the base model's UNet become one `UNetMotionModel`. It is built without
memory of its own and given the tensors that were read, so nothing is held twice and another motion module
on the same base model costs no second copy of it.
"""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from diffusers import UNetMotionModel
from transformers import CLIPTokenizer

from pipelines.engine.base_models.builds import TextEncoder
from pipelines.engine.base_models.files import BaseFiles, locate_base
from pipelines.engine.base_models.parts import BaseParts, check_base, load_base
from pipelines.engine.base_models.vae_files import AnyVae, load_vae, locate_vae
from pipelines.engine.lora.merged import LoraPlan, merged
from pipelines.engine.lora.travel import travelling
from pipelines.engine.motion.files import MotionFiles, locate_motion
from pipelines.engine.motion.modules import LoadedMotionModule, build_motion_unet, can_hold, fill_motion_unet
from pipelines.engine.steering.control.store import ControlModels, LoadedControl
from pipelines.engine.steering.image_prompts import LoadedAdapter
from pipelines.engine.weights.digests import sha256_of
from pipelines.plan import catalog
from pipelines.plan.catalog_entries import BaseModel, MotionModule, Vae
from pipelines.plan.errors import InvalidRequestError, WeightsError
from pipelines.plan.faults import Fault
from pipelines.plan.motion_families import MotionFamily
from pipelines.plan.request import GenerationRequest


@dataclass(frozen=True, slots=True)
class Components:
    """Everything a generation computes with; shared, changed only within `applied`.

    Args:
        tokenizers, text_encoders, vae: The base model's; one or two of the first ones.
        unet: The base model's UNet with the motion module in it.
        zero_empty_negative: As `encode_prompts` takes it.
        scheduler_config: The noise schedule both were trained on, for `Scheduler.from_config`.
        family: How the motion module must be run.
        base, motion: The catalog's records.
        weights: What was read -> sha256: the base model's files by component ("checkpoint" for a single
            file), and "motion_module".
        notes: What the person who asked should know of these models.
    """

    tokenizers: tuple[CLIPTokenizer, ...]
    text_encoders: tuple[TextEncoder, ...]
    vae: AnyVae
    unet: UNetMotionModel
    zero_empty_negative: bool
    scheduler_config: dict[str, object]
    family: MotionFamily
    base: BaseModel
    motion: MotionModule
    weights: dict[str, str]
    notes: tuple[str, ...] = ()

    @property
    def lora_targets(self) -> dict[str, torch.nn.Module]:
        """Models that LoRAs and inversions change, by diffusers' component names."""
        names = ("text_encoder", "text_encoder_2")
        return {"unet": self.unet} | dict(zip(names, self.text_encoders, strict=False))


class ModelStore:
    """Loads models and keeps the last ones used.

    Args:
        device: Where they compute, as torch spells it.
        dtype: The number type they compute in.
        windows_a_call: Windows the device has memory for at once, >= 1; clips are the same but for rounding.
    """

    def __init__(self, device: str, dtype: torch.dtype, *, windows_a_call: int = 1) -> None:
        self.device = device
        self.dtype = dtype
        self.windows_a_call = windows_a_call
        self._lock = threading.Lock()
        self._base: tuple[object, BaseFiles, BaseParts] | None = None
        self._motion: tuple[object, MotionFiles, LoadedMotionModule] | None = None
        self._unet: UNetMotionModel | None = None
        self._components: tuple[object, Components] | None = None
        self._controls = ControlModels(device, dtype)

    @property
    def loaded(self) -> str:
        """Return the loaded base model's id, or "", without waiting."""
        held = self._components
        return held[1].base.id if held else ""

    def load(self, base_model: str, motion_module: str, vae: str = "") -> Components:
        """Load base model, motion module and VAE by catalog ids.

        The VAE is the base model's own if its id is empty. All checks that need no memory come first; what was loaded
        before gives way only then. What stays is not read again: another motion module keeps the base model, another
        base model the motion module. After a failure nothing half-loaded is kept.

        Raises:
            InvalidRequestError: An id is not in the catalog, or the two are made for different models.
            WeightsError: Files can't be had, are damaged, unsafe, or of another architecture.
        """
        base, motion, other_vae = _find_entries(base_model, motion_module, vae)
        with self._lock:
            key = (_identity(base), _identity(motion), _identity(other_vae))
            if self._components and self._components[0] == key:
                return self._components[1]
            files, motion_files, vae_path = self._locate_files(base, motion, other_vae)
            self._components = None
            parts = self._load_base(files)
            unet = self._motion_unet(parts, self._load_motion(key[1], motion_files))
            components = _combine(parts, unet, files, motion_files, motion)
            if other_vae and vae_path:
                loaded, file = load_vae(other_vae, vae_path, files.architecture, device=self.device, dtype=self.dtype)
                components = replace(components, vae=loaded, weights=components.weights | {"vae": sha256_of(file)})
            self._components = (key, components)
            return components

    def fetch(self, base_model: str, motion_module: str, vae: str = "") -> None:
        """Fetch and check what `load` would read, except models in memory.

        Raises:
            InvalidRequestError, WeightsError: As `load`.
        """
        self._locate_files(*_find_entries(base_model, motion_module, vae))

    def load_controls(self, request: GenerationRequest, components: Components) -> tuple[LoadedControl, ...]:
        """Load the models of the control units, kept for the next request.

        Args:
            components: What `load` gave for the request.

        Raises:
            InvalidRequestError, WeightsError: As `ControlModels.load`.
        """
        with self._lock:
            return self._controls.load(request, components.base, components.unet.built_for[0])

    def load_adapters(self, request: GenerationRequest, components: Components) -> tuple[LoadedAdapter, ...]:
        """Load the models of the image prompts, kept for the next request.

        Args:
            components: What `load` gave for the request.

        Raises:
            InvalidRequestError, WeightsError: As `ControlModels.load_adapters`.
        """
        with self._lock:
            return self._controls.load_adapters(request, components.base, components.unet)

    def _locate_files(
        self, base: BaseModel, motion: MotionModule, vae: Vae | None
    ) -> tuple[BaseFiles, MotionFiles, Path | None]:
        """Locate the files, fetched if needed; skip those of loaded models."""
        held, moving = self._base, self._motion
        if held and held[0] == _identity(base):
            files = held[1]
        else:
            files = locate_base(base, half=self.dtype is not torch.float32)
            check_base(files)
        motion_files = moving[1] if moving and moving[0] == _identity(motion) else locate_motion(motion)
        _refuse_other_shape(files, motion_files, motion)
        return files, motion_files, locate_vae(vae, files.architecture) if vae else None

    def _motion_unet(self, parts: BaseParts, loaded: LoadedMotionModule) -> UNetMotionModel:
        """Refill the last UNet if it fits, else build a new one."""
        unet, self._unet = self._unet, None
        if unet is not None and can_hold(unet, parts.unet, loaded):
            fill_motion_unet(unet, parts.unet, loaded)
        else:
            unet = build_motion_unet(parts.unet, loaded)
        self._unet = unet
        return unet

    def _empty_unet(self) -> None:
        """Free the last weights before loading the next, to hold one set."""
        if self._unet is not None:
            self._unet.to("meta")

    def _load_motion(self, key: object, files: MotionFiles) -> LoadedMotionModule:
        if not self._motion or self._motion[0] != key:
            self._motion = None
            self._empty_unet()
            adapter = files.read(self.dtype).to(self.device)
            self._motion = (key, files, LoadedMotionModule(adapter, files.family))
        return self._motion[2]

    def _load_base(self, files: BaseFiles) -> BaseParts:
        key = _identity(files.entry)
        if not self._base or self._base[0] != key:
            self._base = None
            self._empty_unet()
            self._base = (key, files, load_base(files, self.device, self.dtype))
        return self._base[2]


@contextmanager
def applied(components: Components, request: GenerationRequest, loras: LoraPlan | None = None) -> Iterator[Components]:
    """Apply a request's settings to the shared models; always undo them."""
    state = components.unet.motion_state
    before = replace(state)
    state.norm = request.motion_norm
    try:
        with ExitStack() as added:
            if loras:
                added.enter_context(merged(loras))
                added.enter_context(travelling(components.lora_targets.values(), loras.travelling))
            yield components
    finally:
        vars(state).update(vars(before))


def _combine(
    base: BaseParts, unet: UNetMotionModel, files: BaseFiles, motion: MotionFiles, entry: MotionModule
) -> Components:
    return Components(
        tokenizers=base.tokenizers,
        text_encoders=base.text_encoders,
        vae=base.vae,
        unet=unet,
        zero_empty_negative=files.zero_empty_negative,
        scheduler_config=_schedule(motion.family, files),
        family=motion.family,
        base=files.entry,
        motion=entry,
        weights=base.weights | {"motion_module": sha256_of(motion.path)},
        notes=files.notes,
    )


def _schedule(family: MotionFamily, base: BaseFiles) -> dict[str, object]:
    """Return the motion module's noise schedule, with the base's zero SNR."""
    config = family.scheduler_config(prediction_type=base.prediction_type)
    return config | ({"rescale_betas_zero_snr": True} if base.zero_snr else {})


def _find_entries(base_model: str, motion_module: str, vae: str) -> tuple[BaseModel, MotionModule, Vae | None]:
    """Look up the catalog entries, and refuse known mismatches."""
    base, motion = catalog.find_base_model(base_model), catalog.find_motion_module(motion_module)
    other_vae = catalog.find_vae(vae) if vae else None
    _refuse_other_family(base, motion)
    _refuse_other_vae(base, other_vae)
    return base, motion, other_vae


def _refuse_other_family(base: BaseModel, motion: MotionModule) -> None:
    """Refuse a pair the catalog knows not to fit, before any download."""
    if base.family and motion.family and base.family != motion.family:
        fitting = [module.id for module in catalog.motion_modules() if module.family == base.family]
        raise InvalidRequestError(
            Fault(
                code="motion_module.other_base_model",
                field="motion_module",
                rule="be made for the base model '{base:s}'",
                got=motion.id,
                seen="'{got:s}'",
                fix="Choose {choices:s}",
                limit=fitting,
                values={"base": base.id, "choices": ", ".join(map(repr, fitting))},
            )
        )


def _refuse_other_shape(base: BaseFiles, motion: MotionFiles, entry: MotionModule) -> None:
    if base.channels != motion.channels:
        raise WeightsError(
            Fault(
                code="motion_module.other_size",
                field="motion_module",
                rule="fit the base model '{base:s}' (blocks of {wanted_channels:s} channels{wanted_model:s})",
                got=entry.id,
                seen="'{got:s}' ({channels:s} channels{model:s})",
                fix="Choose a motion module made for it",
                values={
                    "base": base.entry.id,
                    "wanted_channels": ", ".join(map(str, base.channels)),
                    "wanted_model": _family_label(base.channels),
                    "channels": ", ".join(map(str, motion.channels)),
                    "model": _family_label(motion.channels),
                },
            )
        )


def _family_label(channels: tuple[int, ...]) -> str:
    """Name the models of these block channels, after a colon, or ""."""
    kind = {(320, 640, 1280, 1280): ": Stable Diffusion 1.5", (320, 640, 1280): ": Stable Diffusion XL"}
    return kind.get(channels, "")


def _refuse_other_vae(base: BaseModel, vae: Vae | None) -> None:
    if vae and base.family and vae.family and base.family != vae.family:
        raise InvalidRequestError(
            Fault(
                code="vae.other_base_model",
                field="vae",
                rule="be made for the base model '{base:s}'",
                got=vae.id,
                seen="'{got:s}'",
                fix="Leave it empty or choose another",
                values={"base": base.id},
            )
        )


def _identity(entry: BaseModel | MotionModule | Vae | None) -> object:
    return entry.version if entry else None
