"""File layout of each base-model architecture."""

from typing import NamedTuple, TypeAlias

from transformers import CLIPTextModel, CLIPTextModelWithProjection

from pipelines.plan import catalog
from pipelines.plan.architecture import Architecture

TextEncoder: TypeAlias = CLIPTextModel | CLIPTextModelWithProjection


class Build(NamedTuple):
    """File layout of one base-model architecture.

    Args:
        label: What people call it.
        text_encoders: Component -> its class, in the order the UNet reads them.
        checkpoint_parts: How its text encoders' tensors are called in a single file, in the same order.
        configs: The catalog's base model that describes single files.
    """

    label: str
    text_encoders: dict[str, type[TextEncoder]]
    checkpoint_parts: tuple[str, ...]
    configs: str

    @property
    def components(self) -> tuple[str, ...]:
        return (*self.text_encoders, "unet", "vae")


BUILDS = {
    Architecture.SD15: Build(
        label="Stable Diffusion 1.5",
        text_encoders={"text_encoder": CLIPTextModel},
        checkpoint_parts=("cond_stage_model.transformer.",),
        configs=catalog.STABLE_DIFFUSION,
    ),
    Architecture.SDXL: Build(
        label="Stable Diffusion XL",
        text_encoders={"text_encoder": CLIPTextModel, "text_encoder_2": CLIPTextModelWithProjection},
        checkpoint_parts=("conditioner.embedders.0.transformer.", "conditioner.embedders.1.model."),
        configs=catalog.STABLE_DIFFUSION_XL,
    ),
}
