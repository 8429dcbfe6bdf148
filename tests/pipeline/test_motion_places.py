"""Files that are made for AnimateDiff, in every folder: named for what they are, and where they belong."""

import io
import os
import re
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from pipelines.engine.lora.files import LoraKind, read_lora
from pipelines.engine.models import ModelStore
from pipelines.engine.motion.files import inspect_motion
from pipelines.engine.steering.control.sparse_ctrl import load_sparse_ctrl
from pipelines.plan import catalog
from pipelines.plan.errors import WeightsError
from pipelines.plan.model_files.headers import read_header
from tests.museum.motion import DOMAIN_ADAPTER, MOTION_FILES, MOTION_LORAS, NARROW, UNSUPPORTED
from tests.museum.tensor_lists import TensorList, tensor_list
from tests.pipeline import tiny

READERS = {
    "motion_modules": inspect_motion,
    "loras": read_lora,
    "controlnets": load_sparse_ctrl,
}
ZOOM = MOTION_LORAS["v2_lora_ZoomIn.ckpt"][1]
#: What each file is called in a refusal, and where it belongs.
FILES: dict[str, tuple[TensorList, str, str]] = {
    "v3_sd15_mm.ckpt": (MOTION_FILES["v3_sd15_mm.ckpt"].listed, "a motion module", "motion_modules"),
    "hsxl_temporal_layers.safetensors": (
        MOTION_FILES["hsxl_temporal_layers.safetensors"].listed, "a motion module", "motion_modules",
    ),
    "pia.ckpt": (MOTION_FILES["pia.ckpt"].listed, "a motion module", "motion_modules"),
    "v2_lora_ZoomIn.ckpt": (ZOOM, "a motion LoRA", "loras"),
    "v3_sd15_adapter.ckpt": (DOMAIN_ADAPTER, "AnimateDiff v3's domain adapter, a LoRA", "loras"),
    "v3_sd15_sparsectrl_rgb.ckpt": (tensor_list("motion/sparsectrl_rgb"), "a SparseCtrl encoder", "controlnets"),
    "v3_sd15_sparsectrl_scribble.ckpt": (
        tensor_list("motion/sparsectrl_scribble"), "a SparseCtrl encoder", "controlnets",
    ),
}  # fmt: skip


def write(path: Path, weights: dict[str, torch.Tensor]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".safetensors":
        save_file(weights, path)
    else:
        torch.save({"state_dict": weights}, path)
    return path


def refusal(folder: str, path: Path) -> str:
    with pytest.raises(WeightsError) as error:
        READERS[folder](path)
    assert str(path.parent) not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("folder", READERS)
@pytest.mark.parametrize("name", FILES)
def test_a_file_in_the_wrong_folder_is_told_what_it_is_and_where_it_belongs(name, folder, tmp_path):
    listed, kind, place = FILES[name]
    path = write(tmp_path / name, listed.narrow(NARROW))
    if folder == place:
        READERS[folder](path)
        return
    told = refusal(folder, path)
    assert f"got '{name}', which is {kind}. Put it into the models folder's '{place}'" in told


@pytest.mark.parametrize("folder", READERS)
@pytest.mark.parametrize("name", UNSUPPORTED)
def test_what_does_not_run_here_is_named(name, folder, tmp_path):
    listed, called = UNSUPPORTED[name]
    told = refusal(folder, write(tmp_path / name, listed.narrow(NARROW)))
    assert called in told
    assert "not supported here" in told
    assert "Choose " in told


def test_camera_ctrl_is_named_as_its_authors_save_it(tmp_path):
    parts = {name: tensor_list(f"motion/camera_{name}").narrow(NARROW) for name in ("encoder", "projections")}
    payload = {
        "epoch": 1,
        "pose_encoder_state_dict": parts["encoder"],
        "attention_processor_state_dict": parts["projections"],
    }
    torch.save(payload, tmp_path / "CameraCtrl.ckpt")
    assert "CameraCtrl's encoder" in refusal("motion_modules", tmp_path / "CameraCtrl.ckpt")


class _Code:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(Path(__file__).parent / "hostile"),)


def damaged(kind: str, whole: bytes) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as pages:
        pages.writestr("a.txt", "no tensors")
    code = io.BytesIO()
    torch.save({"state_dict": {"a": _Code()}}, code)
    return {
        "cut in the middle": whole[: len(whole) // 2],
        "cut in its header": whole[:40],
        "empty": b"",
        "a page of the Hub": b"<!doctype html><title>Access denied</title>",
        "a pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:aa7f\nsize 1672133921\n",
        "a header beyond its end": (1 << 60).to_bytes(8, "little") + b"{}",
        "another archive": archive.getvalue(),
        "code": code.getvalue(),
    }[kind]


@pytest.mark.parametrize("suffix", [".ckpt", ".safetensors"])
@pytest.mark.parametrize(
    "kind",
    ["cut in the middle", "cut in its header", "empty", "a page of the Hub", "a pointer", "a header beyond its end",
     "another archive", "code"],
)  # fmt: skip
@pytest.mark.parametrize("folder", READERS)
def test_damaged_and_hostile_files_are_refused_by_name(folder, kind, suffix, tmp_path):
    whole = write(tmp_path / f"whole{suffix}", {"a.weight": torch.ones(64)})
    path = tmp_path / f"v2_lora_ZoomIn{suffix}"
    path.write_bytes(damaged(kind, whole.read_bytes()))
    told = refusal(folder, path)
    assert path.name in told
    assert read_header(path).shapes.keys() <= {"a.weight"}
    assert not (Path(__file__).parent / "hostile").exists()


def test_the_store_refuses_before_it_lets_go_of_what_it_has(tmp_path, configure):
    configure(models_dir=tmp_path)
    tiny.TinyBase(1).save_folder(tmp_path / "base_models" / "sd")
    write(tmp_path / "motion_modules" / "good.ckpt", MOTION_FILES["v3_sd15_mm.ckpt"].listed.narrow(NARROW))
    write(tmp_path / "motion_modules" / "zoom.ckpt", ZOOM.narrow(NARROW))
    store = ModelStore("cpu", torch.float32)
    loaded = store.load("sd", "good.ckpt")
    with pytest.raises(WeightsError, match=r"'zoom\.ckpt', which is a motion LoRA"):
        store.load("sd", "zoom.ckpt")
    assert store.load("sd", "good.ckpt") is loaded


@pytest.mark.parametrize("name", ["v2_lora_ZoomIn.ckpt", "diffusion_pytorch_model.safetensors"])
def test_a_motion_lora_is_read_whole_under_its_published_names(name, tmp_path):
    listed = MOTION_LORAS[name][1]
    found = read_lora(write(tmp_path / name, listed.narrow(NARROW)))
    assert found.kind is LoraKind.MOTION
    assert found.unread == ()
    assert found.layers.keys() == {"unet"}
    assert len(found.layers["unet"]) == len(listed.tensors) // 2
    layers = {key.removesuffix(".weight").replace(".", "_") for key in tiny.motion_adapter().state_dict()}
    assert found.layers["unet"].keys() <= {re.sub("_to_out_0$", "_to_out", layer) for layer in layers}


def test_the_motion_loras_of_the_catalog_are_those_of_the_museum():
    camera = {name for name in MOTION_LORAS if name.startswith("v2_lora_")}
    assert {entry.file for entry in catalog.loras() if entry.id.startswith("v2_lora_")} == camera
