"""Published files at full size, as zeros, through the product: how long each takes to load and how much memory.

Each is loaded in a process of its own, so that its peak is its own. Run by `-m slow -s`, which prints the table.
"""

import json
import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from pipelines.engine.base_models.files import locate_base
from pipelines.engine.base_models.parts import check_base, load_base
from pipelines.engine.base_models.vae_files import load_vae, locate_vae
from pipelines.engine.lora.files import read_lora
from pipelines.engine.motion.files import inspect_motion
from pipelines.engine.steering.adapter_files import locate_adapter, read_adapter, read_encoder
from pipelines.engine.steering.control.files import load_control_net, locate_control
from pipelines.plan import catalog
from pipelines.plan.architecture import Architecture
from tests.museum import base_models, motion
from tests.museum.configs import SD15, SDXL, published, write_config, write_tokenizer
from tests.museum.tensor_lists import DTYPES, TensorList
from tests.pipeline.published_names import ldm_control
from tests.stand_in_hub import serving

pytestmark = pytest.mark.slow
_MB = 1e6
FOLDERS = {
    "base": "base_models",
    "vae": "vaes",
    "motion": "motion_modules",
    "control": "controlnets",
    "lora": "loras",
    "adapter": "ip_adapters",
}


def unet_folder_list(prefix: str = "") -> TensorList:
    """A network of diffusers' at a published configuration, as its folder's file in half precision has it."""
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(published(SD15, "unet/config.json"))
    return TensorList({}, {prefix + name: ("F16", tuple(t.shape)) for name, t in unet.state_dict().items()})


def vae_folder_list() -> TensorList:
    with torch.device("meta"):
        vae = AutoencoderKL.from_config(published(SD15, "vae/config.json"))
    return TensorList({}, {name: ("F16", tuple(tensor.shape)) for name, tensor in vae.state_dict().items()})


def control_list() -> TensorList:
    """`control_v11p_sd15_canny`, float32, under its authors' names."""
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(published(SD15, "unet/config.json"))
        net = ControlNetModel.from_unet(unet, load_weights_from_unet=False)
    shapes = {f"control_model.{ldm_control(name)}": tuple(t.shape) for name, t in net.state_dict().items()}
    return TensorList({}, {name: ("F32", shape) for name, shape in shapes.items()})


def lora_list(rank: int = 128) -> TensorList:
    """A LoRA as kohya's trainer makes them, of all the UNet's attention, float16."""
    tensors = {}
    for name, (_, shape) in unet_folder_list().tensors.items():
        if re.search(r"(attn\d\.to_(q|k|v|out\.0)|ff\.net\.(0\.proj|2))\.weight$", name):
            layer = f"lora_unet_{name.removesuffix('.weight').replace('.', '_')}"
            tensors[f"{layer}.lora_down.weight"] = ("F16", (rank, shape[1]))
            tensors[f"{layer}.lora_up.weight"] = ("F16", (shape[0], rank))
            tensors[f"{layer}.alpha"] = ("F16", ())
    return TensorList({}, tensors)


def ip_adapter_list() -> TensorList:
    """`ip-adapter_sd15`: four tokens of ViT-H's one vector, and two matrices a cross-attention layer."""
    widths = [320] * 2 + [640] * 2 + [1280] * 5 + [640] * 3 + [320] * 3 + [1280]
    shapes = {"image_proj.proj.weight": (3072, 1024), "image_proj.proj.bias": (3072,)}
    shapes |= {f"image_proj.norm.{part}": (768,) for part in ("weight", "bias")}
    shapes |= {f"ip_adapter.{2 * i + 1}.to_{part}_ip.weight": (w, 768) for i, w in enumerate(widths) for part in "kv"}
    return TensorList({}, {name: ("F16", shape) for name, shape in shapes.items()})


def write_image_encoder(folder: Path) -> None:
    """CLIP ViT-H/14, 2.53 GB in float32, as IP-Adapters need it."""
    sizes = {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 16}
    config = CLIPVisionConfig(**sizes, projection_dim=1024, patch_size=14, image_size=224, hidden_act="gelu")
    with torch.device("meta"):
        encoder = CLIPVisionModelWithProjection(config)
    folder.mkdir()
    config.architectures = ["CLIPVisionModelWithProjection"]
    config.save_pretrained(folder)
    tensors = {name: ("F32", tuple(tensor.shape)) for name, tensor in encoder.state_dict().items()}
    TensorList({}, tensors).write_zeros(folder / "model.safetensors", metadata={"format": "pt"})


def write_pickle(listed: TensorList, path: Path) -> Path:
    """A checkpoint as torch saves it, of zeros that numpy takes from the system as they are used."""
    tensors = {
        name: torch.from_numpy(np.zeros(shape, np.float32 if dtype == "F32" else np.int64)).to(DTYPES[dtype])
        for name, (dtype, shape) in listed.tensors.items()
    }
    torch.save({"state_dict": tensors}, path)
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
    for kind in FOLDERS.values():
        (models / kind).mkdir()
    base_models.v1_5_emaonly().write_zeros(models / "base_models" / "f32.safetensors")
    base_models.dreamshaper().write_zeros(models / "base_models" / "f16.safetensors")
    base_models.sd_xl_base().write_zeros(models / "base_models" / "xl.safetensors")
    base_models.vae_ft_mse().write_zeros(models / "vaes" / "mse.safetensors")
    write_pickle(motion.module(), models / "motion_modules" / "mm_sd_v15_v2.ckpt")
    write_pickle(motion.module(mid_block=False), models / "motion_modules" / "v3_sd15_mm.ckpt")
    hotshot = motion.hotshot_names(motion.module(positions=24, mid_block=False, xl=True, dtype="F16"))
    hotshot.write_zeros(models / "motion_modules" / "hsxl_temporal_layers.f16.safetensors")
    control_list().write_zeros(models / "controlnets" / "control.safetensors")
    lora_list().write_zeros(models / "loras" / "lora.safetensors")
    ip_adapter_list().write_zeros(models / "ip_adapters" / "ip-adapter_sd15.safetensors")
    write_image_encoder(models / "ip_adapters" / "image_encoder")
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
    "motion module v2, pickle, first time, in bf16": ("motion", "mm_sd_v15_v2.ckpt", "bfloat16"),
    "motion module v3, pickle, first time, in bf16": ("motion", "v3_sd15_mm.ckpt", "bfloat16"),
    "HotShot-XL, float16, in bf16": ("motion", "hsxl_temporal_layers.f16.safetensors", "bfloat16"),
    "ControlNet, authors' names, float32, in bf16": ("control", "control.safetensors", "bfloat16"),
    "LoRA of rank 128, float16": ("lora", "lora.safetensors", "float32"),
    "IP-Adapter and its image encoder, in bf16": ("adapter", "ip-adapter_sd15.safetensors", "bfloat16"),
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
    checkpoints = {label: share for label, share in shares.items() if LOADS[label][0] == "base"}
    assert all(share < 1.2 for share in checkpoints.values()), checkpoints


def files_of(models: Path, kind: str, name: str) -> list[Path]:
    path = models / FOLDERS[kind] / name
    beside = [*path.parent.glob("image_encoder/*.safetensors")] if kind == "adapter" else []
    return [path, *beside] if path.is_file() else list(path.rglob("*.safetensors"))


def measure(env: dict[str, str], kind: str, name: str, dtype: str) -> tuple[float, float]:
    """Seconds of loading, and peak MB of the process."""
    command = [sys.executable, "-m", "tests.pipeline.test_full_size", kind, name, dtype]
    run = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    seconds, peak = json.loads(run.stdout.splitlines()[-1])
    return seconds, peak


def main(kind: str, name: str, dtype: str) -> None:
    """Load one file as the product does, and say how long it took and what the process's peak is."""
    start = time.monotonic()
    if kind != "nothing":
        load(kind, Path(os.environ["MODELS_DIR"]) / FOLDERS[kind] / name, getattr(torch, dtype))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / _MB
    print(json.dumps([time.monotonic() - start, peak]))


def load(kind: str, path: Path, dtype: torch.dtype) -> None:
    """Load a file of the models folder, on the CPU."""
    name = path.name
    if kind == "base":
        files = locate_base(catalog.find_base_model(name), half=dtype is not torch.float32)
        check_base(files)
        assert load_base(files, "cpu", dtype).unet.dtype is dtype
    elif kind == "vae":
        vae = catalog.find_vae(name)
        located = locate_vae(vae, Architecture.SD15)
        assert load_vae(vae, located, Architecture.SD15, device="cpu", dtype=dtype)
    elif kind == "motion":
        assert inspect_motion(path).read(dtype).dtype is dtype
    elif kind == "lora":
        assert read_lora(path)
    elif kind == "control":
        control = locate_control(next(candidate for candidate in catalog.controlnets() if candidate.id == name))
        assert load_control_net(control, published(SD15, "unet/config.json"), device="cpu", dtype=dtype)
    else:
        adapter = locate_adapter(next(candidate for candidate in catalog.ip_adapters() if candidate.id == name))
        assert read_adapter(adapter, device="cpu", dtype=dtype)
        assert read_encoder(adapter, device="cpu", dtype=dtype)


if __name__ == "__main__":
    main(*sys.argv[1:])
