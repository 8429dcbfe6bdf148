"""What this studio runs on and with, for its page "About this studio"; no folder of the disk is named."""

import platform
import shutil
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version

import imageio_ffmpeg
import psutil

from api.engine import build_request
from api.engine_start import STATE
from pipelines import catalog
from pipelines.request import GenerationRequest
from pipelines.version import VERSION

_GB = 1e9
_AT_FIRST_CLIP = "chosen at the first clip"


def demo_request() -> GenerationRequest:
    """The clip of the self-test: four steps of the embedded model."""
    return build_request(
        prompt="a red circle moving right on a blue background",
        base_model=catalog.DEMO,
        num_inference_steps=4,
        seed=1,
    )


def studio_facts() -> dict[str, str]:
    """Facts in words by what they are about, in the order to show them. Imports no torch, and waits for nothing."""
    return _versions() | _computing() | _models() | _machine()


def _versions() -> dict[str, str]:
    packages = {name: name for name in ("torch", "diffusers", "transformers", "gradio")}
    return {"AnimateDiff Studio": VERSION, "Python": platform.python_version()} | {
        label: _version(package) for label, package in packages.items()
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _computing() -> dict[str, str]:
    """What is known by now. On ZeroGPU the models live in other processes, of which nothing is known here."""
    numbers, loaded = _AT_FIRST_CLIP, "none yet"
    generate, torch = sys.modules.get("pipelines.generate"), sys.modules.get("torch")
    if STATE.status == "ready" and generate and torch and generate.default_store.cache_info().currsize:
        store = generate.default_store()
        threads = torch.get_num_threads()
        numbers = f"{str(store.dtype).removeprefix('torch.')}, {threads} CPU thread{'s' if threads > 1 else ''}"
        loaded = store.loaded or STATE.trouble or loaded
    return {"Device": STATE.device, "Computes in": numbers, "Model in memory": loaded}


def _models() -> dict[str, str]:
    kinds = {
        "base models": catalog.base_models(),
        "motion modules": catalog.motion_modules(),
        "VAEs": catalog.vaes(),
        "LoRAs and embeddings": catalog.loras(),
        "control models": catalog.controlnets(),
        "IP-Adapters": catalog.ip_adapters(),
    }
    counts = ", ".join(f"{len(entries)} {kind}" for kind, entries in kinds.items())
    own = sum(entry.source == "local" for entries in kinds.values() for entry in entries)
    return {"Models to choose from": f"{counts}; {own} of them from the operator's folder"}


def _machine() -> dict[str, str]:
    return {
        "Free disk": f"{shutil.disk_usage(tempfile.gettempdir()).free / _GB:.1f} GB",
        "Free memory": f"{psutil.virtual_memory().available / _GB:.1f} GB",
        "ffmpeg": _ffmpeg(),
        "gifsicle": "found" if shutil.which("gifsicle") else "not found: GIFs can't be optimised",
    }


def _ffmpeg() -> str:
    try:
        return str(imageio_ffmpeg.get_ffmpeg_version())
    except (OSError, RuntimeError):
        return "not found: no clip can be written"
