"""ControlNets from every format; what doesn't fit the base model, or is none, is refused in words."""

from pathlib import Path

import pytest
import torch
from diffusers import ControlNetModel
from safetensors.torch import save_file

from pipelines.engine.steering.control.files import load_control_net, locate_control, refuse_other_base
from pipelines.plan.catalog_entries import ControlNet
from pipelines.plan.errors import WeightsError
from tests.pipeline import tiny
from tests.pipeline.loading import assert_same

BASE = tiny.TinyBase()


@pytest.fixture(scope="module")
def net() -> ControlNetModel:
    return tiny.control_net(BASE.unet)


def entry_of(path: Path) -> ControlNet:
    return ControlNet(id=path.name, label="", description="", source="local", repo=str(path), licence="")


def load(path: Path, dtype: torch.dtype = torch.float32) -> ControlNetModel:
    files = locate_control(entry_of(path))
    refuse_other_base(files, BASE.unet.config, "tiny")
    return load_control_net(files, BASE.unet.config, device="cpu", dtype=dtype)


def test_it_is_the_same_from_every_format(net, tmp_path):
    net.save_pretrained(tmp_path / "folder")
    save_file(net.state_dict(), tmp_path / "a.safetensors")
    torch.save({"state_dict": tiny.published_control(net)}, tmp_path / "a.pth")
    bare = {name.removeprefix("control_model."): tensor for name, tensor in tiny.published_control(net).items()}
    save_file(bare, tmp_path / "b.safetensors")
    for name in ("folder", "a.safetensors", "a.pth", "b.safetensors"):
        actual = load(tmp_path / name)
        assert_same(actual.state_dict(), net.state_dict())
        assert not actual.training
        assert not any(parameter.requires_grad for parameter in actual.parameters())


@torch.no_grad()
def test_a_single_file_computes_what_the_folder_does(net, tmp_path):
    torch.save(tiny.published_control(net), tmp_path / "a.pth")
    inputs = (torch.randn(2, 4, 8, 8), torch.tensor(500), torch.randn(2, 7, 32), torch.rand(2, 3, 64, 64))
    (down, middle), (ours, our_middle) = (
        network(*inputs, return_dict=False) for network in (net, load(tmp_path / "a.pth"))
    )
    assert torch.equal(middle, our_middle)
    assert all(torch.equal(network, other) for network, other in zip(down, ours, strict=True))


def test_it_is_of_the_wanted_number_type(net, tmp_path):
    net.save_pretrained(tmp_path / "folder")
    assert {tensor.dtype for tensor in load(tmp_path / "folder", torch.float16).state_dict().values()} == {
        torch.float16
    }


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (lambda: tiny.control_net(tiny.TinyXL().unet), "(blocks of 16, 32, 64 channels, text of 80)"),
        (lambda: tiny.control_net(tiny.TinyBase(cross_attention_dim=48).unet), "16, 32, 64, 64 channels, text of 48)"),
        (lambda: tiny.control_net(tiny.TinyBase(in_channels=9).unet), "beside latents of 4, got 'net' (3 and 9)"),
    ],
)
def test_one_for_another_base_model_is_refused(other, reason, tmp_path):
    other().save_pretrained(tmp_path / "net")
    assert reason in refusal(tmp_path / "net")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda w: {k: v for k, v in w.items() if k != "controlnet_mid_block.bias"}, "it lacks 1 tensors, the first"),
        (lambda w: w | {"more": torch.ones(1)}, "it has 1 tensors too many, the first more"),
        (lambda w: w | {"controlnet_mid_block.bias": torch.full((64,), torch.nan)}, "NaN or infinity"),
        (lambda w: w | {"controlnet_cond_embedding.conv_in.weight": torch.ones(8, 4, 3, 3)}, "(4 and 4)"),
        (lambda w: {k: v for k, v in w.items() if "resnets.0.conv1" not in k}, "it has no blocks"),
        (lambda w: {k: v for k, v in w.items() if "embedding.conv_in" not in k}, "it lacks controlnet_cond_embedding"),
        (lambda _: tiny.motion_adapter().state_dict(), "which is a motion module. Put it into"),
        (lambda _: {"something": torch.ones(1), "other": torch.ones(1, 1, 3, 3)}, "which is of no kind known here"),
    ],
)
def test_other_kinds_and_broken_files_are_refused_in_words(net, change, reason, tmp_path):
    save_file(change(net.state_dict()), tmp_path / "net.safetensors")
    assert reason in refusal(tmp_path / "net.safetensors")


def test_a_folder_of_another_model_is_refused(tmp_path):
    BASE.unet.save_pretrained(tmp_path / "unet")
    assert "got 'unet', which is a UNet2DConditionModel" in refusal(tmp_path / "unet")


def refusal(path: Path) -> str:
    with pytest.raises(WeightsError) as error:
        load(path)
    assert str(error.value).startswith("controls must ")
    assert str(path.parent) not in str(error.value)
    return str(error.value)
