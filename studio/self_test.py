"""Facts about this installation for its page; no folder is named."""

import platform
import shutil
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version

import imageio_ffmpeg
import psutil

from pipelines.plan import catalog
from pipelines.plan.notes import Note
from pipelines.plan.request import GenerationRequest
from pipelines.plan.version import VERSION
from studio.engine import build_request
from studio.engine_start import STATE

_GB = 1e9
_AT_FIRST_CLIP = Note("facts.at_first_clip", "chosen at the first clip")


def demo_request() -> GenerationRequest:
    """Build the clip of the self-test: four steps, embedded model."""
    return build_request(
        prompt="a red circle moving right on a blue background",
        base_model=catalog.DEMO,
        num_inference_steps=4,
        seed=1,
    )


def studio_facts() -> dict[str, str]:
    """Collect facts by label, without importing torch or waiting."""
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
        return Note("facts.not_installed", "not installed")


def _computing() -> dict[str, str]:
    """Describe device, precision and loaded model as known so far.

    On ZeroGPU the models live in other processes, of which nothing is known here.
    """
    numbers: str = _AT_FIRST_CLIP
    loaded: str = Note("facts.none_yet", "none yet")
    generate, torch = sys.modules.get("pipelines.engine.generate"), sys.modules.get("torch")
    if STATE.status == "ready" and generate and torch and generate.default_store.cache_info().currsize:
        store = generate.default_store()
        threads = torch.get_num_threads()
        kind = str(store.dtype).removeprefix("torch.")
        code, words = ("one_thread", "1 CPU thread") if threads == 1 else ("threads", "{count} CPU threads")
        numbers = Note(f"facts.{code}", f"{{kind}}, {words}", kind=kind, count=threads)
        loaded = store.loaded or STATE.trouble or loaded
    return {
        Note("facts.device", "Device"): STATE.device,
        Note("facts.computes", "Computes in"): numbers,
        Note("facts.in_memory", "Model in memory"): loaded,
    }


def _models() -> dict[str, str]:
    kinds = {
        "bases": catalog.base_models(),
        "motions": catalog.motion_modules(),
        "vaes": catalog.vaes(),
        "loras": catalog.loras(),
        "controls": catalog.controlnets(),
        "adapters": catalog.ip_adapters(),
    }
    num_local = sum(entry.source == "local" for entries in kinds.values() for entry in entries)
    counts = {kind: len(entries) for kind, entries in kinds.items()}
    words = (
        "{bases} base models, {motions} motion modules, {vaes} VAEs, {loras} LoRAs and embeddings, {controls} control "
        "models, {adapters} IP-Adapters; {own} of them from the operator's folder"
    )
    return {Note("facts.models", "Models to choose from"): Note("facts.all_models", words, own=num_local, **counts)}


def _machine() -> dict[str, str]:
    return {
        Note("facts.disk", "Free disk"): _gigabytes(shutil.disk_usage(tempfile.gettempdir()).free),
        Note("facts.memory", "Free memory"): _gigabytes(psutil.virtual_memory().available),
        "ffmpeg": _ffmpeg(),
        "gifsicle": Note("facts.found", "found")
        if shutil.which("gifsicle")
        else Note("facts.no_gifsicle", "not found: GIFs can't be optimised"),
    }


def _gigabytes(size: int) -> Note:
    return Note("facts.gb", "{size:.1f} GB", size=size / _GB)


def _ffmpeg() -> str:
    try:
        return str(imageio_ffmpeg.get_ffmpeg_version())
    except (OSError, RuntimeError):
        return Note("facts.no_ffmpeg", "not found: no clip can be written")
