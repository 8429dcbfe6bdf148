"""Published files at full size, as zeros, through the product: how long each takes to load and how much memory.

Each is loaded in a process of its own, so that its peak is its own. Run by `-m slow -s`, which prints the table.
"""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.museum import base_models
from tests.museum.configs import SD15, SDXL, published, write_config, write_tokenizer
from tests.museum.tensor_lists import DTYPES, TensorList
from tests.stand_in_hub import serving

pytestmark = pytest.mark.slow
_MB = 1e6


def unet_folder_list(prefix: str = "") -> TensorList:
    """A network of diffusers' at a published configuration, as its folder's file in half precision has it."""
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(published(SD15, "unet/config.json"))
    return TensorList({}, {prefix + name: ("F16", tuple(t.shape)) for name, t in unet.state_dict().items()})


def vae_folder_list() -> TensorList:
    from diffusers import AutoencoderKL

    with torch.device("meta"):
        vae = AutoencoderKL.from_config(published(SD15, "vae/config.json"))
    return TensorList({}, {name: ("F16", tuple(tensor.shape)) for name, tensor in vae.state_dict().items()})


def write_pickle(listed: TensorList, path: Path) -> Path:
    """A checkpoint as torch saves it, its numbers one hole in the file."""
    tensors = {name: torch.empty(shape, dtype=DTYPES[dtype]) for name, (dtype, shape) in listed.tensors.items()}
    torch.save({"state_dict": tensors}, path)  # memory that was never written to is zeros, and takes none
    return path


def configs(root: Path, repo: str) -> None:
    """All of a repository but the weights."""
    folder = root / repo
    names = ("unet", "vae", "text_encoder") + (("text_encoder_2",) if repo == SDXL else ())
    for name in names:
        write_config(folder / name / "config.json", published(repo, f"{name}/config.json"))
    write_config(folder / "model_index.json", published(repo, "model_index.json"))
    write_config(folder / "scheduler" / "scheduler_config.json", published(repo, "scheduler/scheduler_config.json"))
    for name in ("tokenizer", "tokenizer_2")[: 1 + (repo == SDXL)]:
        write_tokenizer(folder / name, repo, name)


@pytest.fixture(scope="module")
def museum(tmp_path_factory) -> Iterator[dict[str, str]]:
    """A Hub with the configurations, a models folder with the files, and the environment of a process that loads."""
    root, models = tmp_path_factory.mktemp("hub"), tmp_path_factory.mktemp("models")
    for repo in (SD15, SDXL):
        configs(root, repo)
    for kind in ("base_models", "vaes", "motion_modules"):
        (models / kind).mkdir()
    base_models.v1_5_emaonly().write_zeros(models / "base_models" / "f32.safetensors")
    base_models.dreamshaper().write_zeros(models / "base_models" / "f16.safetensors")
    base_models.sd_xl_base().write_zeros(models / "base_models" / "xl.safetensors")
    base_models.vae_ft_mse().write_zeros(models / "vaes" / "mse.safetensors")
    folder = models / "base_models" / "folder"
    for name in ("unet", "vae", "text_encoder", "scheduler", "tokenizer", "model_index.json"):
        source = root / SD15 / name
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "-r", str(source), str(folder / name)], check=True)
    unet_folder_list().write_zeros(folder / "unet" / "diffusion_pytorch_model.fp16.safetensors")
    vae_folder_list().write_zeros(folder / "vae" / "diffusion_pytorch_model.fp16.safetensors")
    base_models.text_encoder().typed("F16").write_zeros(folder / "text_encoder" / "model.fp16.safetensors")
    write_pickle(base_models.v1_5_emaonly(), models / "base_models" / "f32.ckpt")
    with serving(root) as hub:
        yield {
            **os.environ,
            "HF_ENDPOINT": hub.url,
            "HF_HOME": str(tmp_path_factory.mktemp("hf")),
            "XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache")),
            "MODELS_DIR": str(models),
            "OMP_NUM_THREADS": "1",
        }


LOADS = {
    "SD 1.5 single file, float32, in bf16": ("base", "f32.safetensors", "bfloat16"),
    "SD 1.5 single file, float32, in float32": ("base", "f32.safetensors", "float32"),
    "SD 1.5 single file, float16, in bf16": ("base", "f16.safetensors", "bfloat16"),
    "SD 1.5 pickle, float32, first time, in bf16": ("base", "f32.ckpt", "bfloat16"),
    "SD 1.5 folder, float16 variant, in bf16": ("base", "folder", "bfloat16"),
    "SDXL single file, float16, in bf16": ("base", "xl.safetensors", "bfloat16"),
    "VAE ft-mse, float32": ("vae", "mse.safetensors", "float32"),
}


def test_everything_published_loads_at_full_size_in_bounded_memory(museum):
    """Below 1.2 times the file's size, and for what stays beside it: the process itself."""
    empty = measure(museum, "nothing", "", "float32")[1]
    print(f"\n| file | size, MB | seconds | peak, MB | beyond the {empty:,.0f} MB of the program, of the size |")
    print("|---|---:|---:|---:|---:|")
    shares = {}
    for label, (kind, name, dtype) in LOADS.items():
        size = sum(path.stat().st_size for path in files_of(Path(museum["MODELS_DIR"]), kind, name)) / _MB
        seconds, peak = measure(museum, kind, name, dtype)
        shares[label] = (peak - empty) / size
        print(f"| {label} | {size:,.0f} | {seconds:.1f} | {peak:,.0f} | {shares[label]:.2f} |")
    assert all(share < 1.2 for label, share in shares.items() if "VAE" not in label), shares


def files_of(models: Path, kind: str, name: str) -> list[Path]:
    path = models / {"base": "base_models", "vae": "vaes"}[kind] / name
    return [path] if path.is_file() else list(path.rglob("*.safetensors"))


def measure(env: dict[str, str], kind: str, name: str, dtype: str) -> tuple[float, float]:
    """Seconds of loading, and peak MB of the process."""
    command = [sys.executable, "-m", "tests.pipeline.test_full_size", kind, name, dtype]
    run = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    seconds, peak = json.loads(run.stdout.splitlines()[-1])
    return seconds, peak


def main(kind: str, name: str, dtype: str) -> None:
    """Load one file as the product does, and say how long it took and what the process's peak is."""
    from pipelines import catalog
    from pipelines.base_models.architecture import Architecture
    from pipelines.base_models.files import locate_base
    from pipelines.base_models.parts import check_base, load_base
    from pipelines.base_models.vae_files import load_vae, locate_vae

    start, number_type = time.monotonic(), getattr(torch, dtype)
    if kind == "base":
        files = locate_base(catalog.find_base_model(name), half=number_type is not torch.float32)
        check_base(files)
        loaded = load_base(files, "cpu", number_type)
        assert loaded.unet.dtype is number_type
    if kind == "vae":
        vae = catalog.find_vae(name)
        path = locate_vae(vae, Architecture.SD15)
        assert load_vae(vae, path, Architecture.SD15, device="cpu", dtype=number_type)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / _MB
    print(json.dumps([time.monotonic() - start, peak]))


if __name__ == "__main__":
    main(*sys.argv[1:])
