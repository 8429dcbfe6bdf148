"""The architectures that base models have and motion modules are made for. No torch."""

from enum import StrEnum


class Architecture(StrEnum):
    """How a base model is built; told by its configuration or its tensors' names, never by its own name."""

    SD15 = "sd15"
    SDXL = "sdxl"
