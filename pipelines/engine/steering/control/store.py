"""Store of the last request's control models and IP-Adapters."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from diffusers import UNetMotionModel

from pipelines.engine.steering.adapter_files import (
    AdapterFiles,
    locate_adapter,
    read_adapter,
    read_encoder,
    refuse_other_unet,
)
from pipelines.engine.steering.control.files import (
    FIELD,
    AnyControlNet,
    ControlFiles,
    load_control_net,
    locate_control,
    refuse_other_base,
)
from pipelines.engine.steering.control.sparse_ctrl import load_sparse_ctrl
from pipelines.engine.steering.image_prompts import LoadedAdapter
from pipelines.engine.weights.digests import sha256_of
from pipelines.plan import catalog
from pipelines.plan.catalog_entries import BaseModel, ControlNet, IPAdapter
from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.faults import Fault
from pipelines.plan.model_files.kinds import WeightsKind
from pipelines.plan.request import GenerationRequest


@dataclass(frozen=True, slots=True)
class LoadedControl:
    """A loaded ControlNet or SparseCtrl encoder; shared and read-only.

    Args:
        net: The model, frozen.
        files: Where it came from.
        sha256: Of its weights file.
    """

    net: AnyControlNet
    files: ControlFiles
    sha256: str


class ControlModels:
    """Loads control models and keeps the last request's, at most four.

    Args:
        device, dtype: Where and in which number type they compute.
    """

    def __init__(self, device: str, dtype: torch.dtype) -> None:
        self._device = device
        self._dtype = dtype
        self._controls: dict[object, LoadedControl] = {}
        self._adapters: dict[object, LoadedAdapter] = {}

    def load(
        self, request: GenerationRequest, base: BaseModel, unet: Mapping[str, object]
    ) -> tuple[LoadedControl, ...]:
        """Load the models of a request's control units; release all others.

        All are looked at before the first is read. After a failure those that were whole are kept.

        Args:
            base: The base model they must fit.
            unet: The configuration of its UNet.

        Raises:
            InvalidRequestError: An id is not in the catalog, or its model is made for other base models.
            WeightsError: Files can't be had, are damaged, unsafe, or of another architecture.
        """
        entries = [catalog.find_controlnet(unit.model) for unit in request.controls]
        for entry in entries:
            _refuse_other_family(entry, base)
        keys = [entry.version for entry in entries]
        self._controls = {key: loaded for key, loaded in self._controls.items() if key in keys}
        entries_by_key = dict(zip(keys, entries, strict=True))
        files = {
            key: self._controls[key].files if key in self._controls else locate_control(entry)
            for key, entry in entries_by_key.items()
        }
        for located in files.values():
            refuse_other_base(located, unet, base.id)
        for key, located in files.items():
            if key not in self._controls:
                self._controls[key] = LoadedControl(self._read(located, unet), located, sha256_of(located.path))
        return tuple(self._controls[key] for key in keys)

    def load_adapters(
        self, request: GenerationRequest, base: BaseModel, unet: UNetMotionModel
    ) -> tuple[LoadedAdapter, ...]:
        """Load the models of a request's image prompts; release all others.

        All are looked at before the first is read. Those with the same image encoder share it.

        Args:
            base: The base model they must fit.
            unet: The UNet with its layers.

        Raises:
            InvalidRequestError, WeightsError: As `load`.
        """
        entries = [catalog.find_ip_adapter(unit.model) for unit in request.image_prompts]
        for entry in entries:
            _refuse_other_family(entry, base)
        keys = [entry.version for entry in entries]
        self._adapters = {key: loaded for key, loaded in self._adapters.items() if key in keys}
        entries_by_key = dict(zip(keys, entries, strict=True))
        files = {
            key: self._adapters[key].files if key in self._adapters else locate_adapter(entry)
            for key, entry in entries_by_key.items()
        }
        for located in files.values():
            refuse_other_unet(located, unet, base.id)
        for key, located in files.items():
            if key not in self._adapters:
                self._adapters[key] = self._read_adapter(located)
        return tuple(self._adapters[key] for key in keys)

    def _read_adapter(self, files: AdapterFiles) -> LoadedAdapter:
        options = {"device": self._device, "dtype": self._dtype}
        shared = (adapter.encoder for adapter in self._adapters.values() if adapter.files.encoder == files.encoder)
        encoder = next(shared, None) or read_encoder(files, **options)
        weights = {
            f"image prompt {files.entry.id}": sha256_of(files.path),
            f"image encoder of {files.entry.id}": sha256_of(files.encoder_file),
        }
        return LoadedAdapter(read_adapter(files, **options), encoder, files, weights)

    def _read(self, files: ControlFiles, unet: Mapping[str, object]) -> AnyControlNet:
        if files.kind is WeightsKind.CONTROLNET:
            return load_control_net(files, unet, device=self._device, dtype=self._dtype)
        path = files.path.parent if files.config else files.path
        return load_sparse_ctrl(path, dtype=self._dtype).to(self._device)


def _refuse_other_family(entry: ControlNet | IPAdapter, base: BaseModel) -> None:
    """Refuse a pair the catalog knows not to fit, before any download."""
    if not entry.family or not base.family or entry.family == base.family:
        return
    is_control = isinstance(entry, ControlNet)
    choices = catalog.controlnets() if is_control else catalog.ip_adapters()
    fitting = tuple(choice.id for choice in choices if choice.family == base.family)
    raise InvalidRequestError(
        Fault(
            code="steering.other_base_model" if fitting else "steering.none_for_base_model",
            field=FIELD if is_control else "image_prompts",
            rule="be made for the base model '{base:s}'",
            got=entry.id,
            seen="'{got:s}'",
            fix="Choose {choices:s}" if fitting else "Take it out or choose another base model",
            limit=fitting,
            values={"base": base.id, "choices": ", ".join(map(repr, fitting))},
        )
    )
