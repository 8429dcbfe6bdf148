"""Lists of models and samplers; files are named by ids, never paths."""

import sys

import psutil

from api.recipes.sampler_names import SAMPLER_NAMES
from api.recipes.webui_names import CONTROL_MODULES
from pipelines.plan import catalog

SCRIPTS = ("animatediff", "controlnet", "controlnet m2m")
"""Clients look for the last one to know whether there is ControlNet."""


def samplers() -> list[dict[str, object]]:
    """The samplers."""
    return [{"name": name, "aliases": [str(sampler)], "options": {}} for name, sampler in SAMPLER_NAMES.items()]


def schedulers() -> list[dict[str, object]]:
    """Schedules of noise: every sampler has its own alone."""
    return [{"name": "automatic", "label": "Automatic", "aliases": None, "default_rho": -1, "need_inner_model": False}]


def sd_models() -> list[dict[str, object]]:
    """The base models."""
    names = ("title", "model_name", "filename")
    return [dict.fromkeys(names, model.id) | _UNHASHED for model in catalog.base_models()]


def sd_vaes() -> list[dict[str, object]]:
    """The VAEs."""
    return [{"model_name": vae.id, "filename": vae.id} for vae in catalog.vaes()]


def loras() -> list[dict[str, object]]:
    """The LoRAs and textual inversions, as tags name them."""
    names_and_labels = [(entry.names[0], entry.label) for entry in catalog.loras()]
    return [{"name": name, "alias": label, "path": name, "metadata": {}} for name, label in names_and_labels]


def upscalers() -> list[dict[str, object]]:
    """Upscalers for pixels in a second pass."""
    return [{"name": "Lanczos", "model_name": None, "model_path": None, "model_url": None, "scale": 4}]


def script_info() -> list[dict[str, object]]:
    """The scripts, for both calls."""
    return [
        {"name": name, "is_alwayson": name in SCRIPTS[:2], "is_img2img": is_img2img, "args": []}
        for is_img2img in (False, True)
        for name in SCRIPTS
    ]


def options(base_model: str) -> dict[str, object]:
    """The settings."""
    return {"sd_model_checkpoint": base_model, "sd_vae": "Automatic", "CLIP_stop_at_last_layers": 1}


def control_models() -> list[str]:
    """The ControlNets."""
    return [model.id for model in catalog.controlnets()]


def control_modules() -> list[str]:
    """The preprocessors, by ControlNet's names."""
    return list(CONTROL_MODULES)


def memory() -> dict[str, object]:
    """Total, used and free memory, bytes; the device's once it is used."""
    counted = psutil.virtual_memory()
    ram = {"free": counted.available, "used": counted.total - counted.available, "total": counted.total}
    cuda: dict[str, object] = {"error": "unavailable"}
    torch = sys.modules.get("torch")  # not imported for this: it takes seconds
    if torch is not None and torch.cuda.is_initialized():
        left, whole = torch.cuda.mem_get_info()
        cuda = {"system": {"free": left, "used": whole - left, "total": whole}}
    return {"ram": ram, "cuda": cuda}


_UNHASHED: dict[str, object] = {"hash": None, "sha256": None, "config": None}
