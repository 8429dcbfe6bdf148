"""Architectures of base models that motion modules are made for."""

from enum import StrEnum


class Architecture(StrEnum):
    """Architecture of a base model, identified by configuration or tensor names."""

    SD15 = "sd15"
    SDXL = "sdxl"
