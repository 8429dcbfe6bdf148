"""Fetch all model files of a request before a GPU is leased."""

from pipelines.engine.lora.merged import find_loras, locate_lora
from pipelines.engine.models import ModelStore
from pipelines.engine.steering.adapter_files import locate_adapter
from pipelines.engine.steering.control.files import locate_control
from pipelines.plan import catalog
from pipelines.plan.request import GenerationRequest


def fetch_models(request: GenerationRequest, store: ModelStore) -> None:
    """Download the Hub files that a request lacks locally, without reading them.

    Raises:
        InvalidRequestError: An id is not in the catalog, or models are not made for each other.
        WeightsError: Files can't be had, are damaged, or of another architecture.
    """
    store.fetch(request.base_model, request.motion_module, request.vae)
    for lora in find_loras(request).values():
        locate_lora(lora)
    for control in {unit.model for unit in request.controls}:
        locate_control(catalog.find_controlnet(control))
    for adapter in {unit.model for unit in request.image_prompts}:
        locate_adapter(catalog.find_ip_adapter(adapter))
