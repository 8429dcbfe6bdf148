"""Control models in memory: those of the last request, kept for the next one that names them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from pipelines import catalog
from pipelines.catalog_entries import BaseModel, ControlNet
from pipelines.control_files import (
    FIELD,
    AnyControlNet,
    ControlFiles,
    load_control_net,
    locate_control,
    refuse_other_base,
)
from pipelines.digests import sha256_of
from pipelines.errors import InvalidRequestError
from pipelines.request import GenerationRequest
from pipelines.sparse_ctrl import load_sparse_ctrl
from pipelines.weight_kinds import WeightsKind
from pipelines.weights import settle


@dataclass(frozen=True, slots=True)
class LoadedControl:
    """A ControlNet or SparseCtrl encoder in memory; shared, so nobody changes it.

    Args:
        net: The model, frozen.
        files: Where it came from.
        sha256: Of its weights file.
    """

    net: AnyControlNet
    files: ControlFiles
    sha256: str


class ControlModels:
    """Loads control models and keeps those of the last request, at most four.

    Args:
        device, dtype: Where and in which number type they compute.
    """

    def __init__(self, device: str, dtype: torch.dtype) -> None:
        self._device = device
        self._dtype = dtype
        self._kept: dict[object, LoadedControl] = {}

    def load(self, request: GenerationRequest, base: BaseModel, unet: Mapping[str, Any]) -> tuple[LoadedControl, ...]:
        """The model of each control unit of a request; what it doesn't name is let go.

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
        self._kept = {key: loaded for key, loaded in self._kept.items() if key in keys}
        wanted = dict(zip(keys, entries, strict=True))
        files = {
            key: self._kept[key].files if key in self._kept else locate_control(entry) for key, entry in wanted.items()
        }
        for one in files.values():
            refuse_other_base(one, unet, base.id)
        for key, one in files.items():
            if key not in self._kept:
                self._kept[key] = LoadedControl(self._read(one, unet), one, sha256_of(one.path))
        return tuple(self._kept[key] for key in keys)

    def _read(self, files: ControlFiles, unet: Mapping[str, Any]) -> AnyControlNet:
        if files.kind is WeightsKind.CONTROLNET:
            return load_control_net(files, unet, device=self._device, dtype=self._dtype)
        encoder = load_sparse_ctrl(files.path.parent if files.config else files.path, dtype=self._dtype)
        settle(encoder, self._device, field=FIELD, name=files.entry.id)
        return encoder


def _refuse_other_family(entry: ControlNet, base: BaseModel) -> None:
    """Refuse a pair the catalog knows not to fit, before anything is downloaded."""
    if entry.family and base.family and entry.family != base.family:
        fitting = [one.id for one in catalog.controlnets() if one.family == base.family]
        fix = f"Choose {', '.join(map(repr, fitting))}" if fitting else "Take the unit out or choose another base model"
        raise InvalidRequestError(f"{FIELD} must be made for the base model '{base.id}', got '{entry.id}'. {fix}.")
