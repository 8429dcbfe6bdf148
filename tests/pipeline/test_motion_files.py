"""Motion-module files: every family in every spelling is told apart, loads bit for bit, and runs as its own."""

import json
from pathlib import Path

import pytest
import torch
from diffusers import MotionAdapter, UNetMotionModel
from safetensors.torch import save_file

from pipelines.engine.motion.files import inspect_motion
from pipelines.engine.motion.modules import build_motion_unet, fill_motion_unet, load_motion_module
from pipelines.plan.choices import MotionNorm
from pipelines.plan.errors import WeightsError
from tests.pipeline import tiny
from tests.pipeline.loading import ORIGINALS, SD15, V2, V3, refusal_of

XL_CHANNELS = tiny.XL_CHANNELS
_LAST = "up_blocks.3.motion_modules.2.temporal_transformer.proj_out.bias"


def without_positions(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in weights.items() if "pos_encoder" not in name}


def pia_weights(adapter: MotionAdapter) -> dict[str, torch.Tensor]:
    conv = torch.randn(tiny.CHANNELS[0], 9, 3, 3, generator=torch.Generator().manual_seed(5)) * 0.1
    return tiny.original_names(adapter) | {"conv_in.weight": conv, "conv_in.bias": torch.zeros(tiny.CHANNELS[0])}


def i2v_weights(adapter: MotionAdapter) -> dict[str, torch.Tensor]:
    return without_positions(tiny.original_names(adapter)) | {"img_encoder.conv_in.weight": torch.ones(2, 2)}


#: What a file is made of: adapter options, how its tensors are written, its name, and what it must be told as.
FAMILIES = {
    "v1": ({"mid_block": False, "positions": 24}, tiny.original_names, "mm_sd_v15", "v1", 24),
    "v2": ({}, tiny.original_names, "mm_sd_v15_v2", "v2", 32),
    "v2, misnamed": ({}, tiny.original_names, "v3_sd15_mm", "v2", 32),
    "v3": ({"mid_block": False}, tiny.original_names, "v3_sd15_mm", "v3", 32),
    "SDXL": ({"mid_block": False, "channels": XL_CHANNELS}, tiny.original_names, "mm_sdxl", "sdxl-beta", 32),
    "HotShot, its own names": (
        {"mid_block": False, "channels": XL_CHANNELS, "positions": 24},
        lambda adapter: tiny.hotshot_names(tiny.original_names(adapter)),
        "hsxl",
        "hotshot-xl",
        24,
    ),
    "HotShot, converted names": (
        {"mid_block": False, "channels": XL_CHANNELS, "positions": 24},
        tiny.original_names,
        "hsxl",
        "hotshot-xl",
        24,
    ),
    "AnimateLCM": (
        {"positions": 64},
        lambda adapter: without_positions(tiny.original_names(adapter)),
        "lcm",
        "animate-lcm",
        64,
    ),
    "AnimateLCM-I2V": ({"positions": 64}, i2v_weights, "i2v", "animate-lcm-i2v", 64),
    "PIA": ({"mid_block": False}, pia_weights, "pia", "pia", 32),
    "Long": ({"positions": 128}, tiny.original_names, "lt_long", "long-animate-diff", 128),
    "Long 32": ({"positions": 64}, tiny.original_names, "lt_long", "long-animate-diff-32", 64),
    "Lightning": (
        {},
        lambda adapter: dict(adapter.state_dict()),
        "animatediff_lightning_4step_diffusers",
        "lightning-4",
        32,
    ),
}
WRAPPERS = {
    ".safetensors": lambda weights: weights,
    ".ckpt": lambda weights: {"epoch": 1, "global_step": 2, "animatediff_config": "x", "state_dict": weights},
    ".pth": lambda weights: {f"module.{name}": tensor for name, tensor in weights.items()},
}


def write(path: Path, weights: dict[str, torch.Tensor]) -> Path:
    if path.suffix == ".safetensors":
        save_file(weights, path)
    else:
        torch.save(WRAPPERS[path.suffix](weights), path)
    return path


@pytest.mark.parametrize("suffix", WRAPPERS)
@pytest.mark.parametrize("case", FAMILIES)
def test_every_family_is_told_and_loads_bit_for_bit_from_every_format(case, suffix, tmp_path):
    options, written, name, family, positions = FAMILIES[case]
    adapter = tiny.motion_adapter(3, **options)
    loaded = load_motion_module(write(tmp_path / f"{name}{suffix}", written(adapter)))
    assert (loaded.family.id, loaded.family.max_positions) == (family, positions)
    weights, expected = loaded.adapter.state_dict(), adapter.state_dict()
    assert weights.keys() - {"conv_in.weight", "conv_in.bias"} == expected.keys()
    assert all(torch.equal(weights[key], tensor) for key, tensor in expected.items())


@pytest.mark.parametrize("case", FAMILIES)
def test_every_family_runs_and_its_noise_schedule_is_its_own(case, tmp_path):
    options, written, name, _, _ = FAMILIES[case]
    adapter = tiny.motion_adapter(3, **options)
    loaded = load_motion_module(write(tmp_path / f"{name}.safetensors", written(adapter)))
    base = tiny.TinyBase(channels=options.get("channels", tiny.CHANNELS)).unet
    sample, t, text = inputs()
    with torch.no_grad():
        out = build_motion_unet(base, loaded)(sample, t, text).sample
    assert out.shape == sample.shape
    assert torch.isfinite(out).all()
    betas = (loaded.family.beta_schedule, loaded.family.beta_end)
    expected = {"sdxl-beta": ("scaled_linear", 0.020), "hotshot-xl": ("scaled_linear", 0.012)}
    expected["animate-lcm-i2v"] = ("linear", 0.014)
    assert betas == expected.get(loaded.family.id, ("linear", 0.012))


@pytest.mark.parametrize("mid_block", [True, False])
def test_the_one_unet_equals_diffusers_where_it_computes_as_diffusers(mid_block, tmp_path):
    adapter, base = tiny.motion_adapter(3, mid_block=mid_block), tiny.TinyBase().unet
    stock = UNetMotionModel.from_unet2d(base, adapter).eval()
    adapter.save_pretrained(tmp_path / "module")
    ours = build_motion_unet(base, load_motion_module(tmp_path / "module"))
    sample, t, text = inputs()
    with torch.no_grad():
        expected = stock(sample, t, text).sample
        ours.motion_state.norm = MotionNorm.DIFFUSERS
        torch.testing.assert_close(ours(sample, t, text).sample, expected)  # test_parity.py asks for every bit
        ours.motion_state.norm = MotionNorm.ORIGINAL
        assert not torch.allclose(ours(sample, t, text).sample, expected, atol=1e-3)


def test_without_effect_every_frame_is_the_still_model_s_own_and_scale_one_changes_nothing(tmp_path):
    base = tiny.TinyBase().unet
    adapter = tiny.motion_adapter(3)
    unet = build_motion_unet(base, load_motion_module(write(tmp_path / "a.safetensors", tiny.original_names(adapter))))
    sample, t, text = inputs()
    with torch.no_grad():
        plain = unet(sample, t, text).sample
        unet.motion_state.scale = torch.ones(1, 5)
        assert torch.equal(unet(sample, t, text).sample, plain)
        unet.motion_state.scale = torch.linspace(0.5, 1.5, 5)[None]
        assert not torch.allclose(unet(sample, t, text).sample, plain, atol=1e-4)
        unet.motion_state.effect = torch.zeros(1, 5)
        frames = base(sample[0].transpose(0, 1), t, text).sample
        torch.testing.assert_close(unet(sample, t, text).sample[0].transpose(0, 1), frames)


def test_swapping_modules_builds_nothing_and_leaves_nothing_behind(tmp_path):
    base = tiny.TinyBase().unet
    loaded = {
        case: load_motion_module(write(tmp_path / f"{case}.safetensors", FAMILIES[case][1](adapter)))
        for case in ("v1", "v2", "v3", "AnimateLCM", "PIA")
        for adapter in [tiny.motion_adapter(3, **FAMILIES[case][0])]
    }
    sample, t, text = inputs()
    with torch.no_grad():
        alone = {case: build_motion_unet(base, entry)(sample, t, text).sample for case, entry in loaded.items()}
        shared = build_motion_unet(base, loaded["v2"])
        layers = [id(module) for module in shared.mid_block.modules()]
        for case in ("PIA", "v1", "v3", "AnimateLCM", "v2"):
            fill_motion_unet(shared, base, loaded[case])
            assert torch.equal(shared(sample, t, text).sample, alone[case]), case
    assert [id(module) for module in shared.mid_block.modules()] == layers


def test_weights_are_held_once(tmp_path):
    base = tiny.TinyBase().unet
    loaded = load_motion_module(write(tmp_path / "a.safetensors", tiny.original_names(tiny.motion_adapter())))
    joined = build_motion_unet(base, loaded).state_dict()
    name = "down_blocks.0.motion_modules.0.proj_in.weight"
    assert joined[name].data_ptr() == loaded.adapter.state_dict()[name].data_ptr()
    assert joined["conv_out.weight"].data_ptr() == base.conv_out.weight.data_ptr()


def test_a_middle_block_that_is_not_there_costs_no_memory(tmp_path):
    adapter = tiny.motion_adapter(mid_block=False)
    joined = build_motion_unet(
        tiny.TinyBase().unet, load_motion_module(write(tmp_path / "a.safetensors", tiny.original_names(adapter)))
    )
    idle = joined.mid_block.motion_modules[0].proj_in.weight
    assert idle.untyped_storage().nbytes() == 4


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("name", [V2, V3])
def test_a_motion_module_is_the_same_from_its_folder_and_its_original_file(name, store):
    sample, t, text = inputs()
    with torch.no_grad():
        clips = [store.load(SD15, module).unet(sample, t, text).sample for module in (name, ORIGINALS[name])]
    assert torch.equal(*clips)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda _: {"lora_unet_down_blocks_0.lora_up.weight": torch.ones(1)}, "a LoRA for the base model"),
        (lambda _: {"something.weight": torch.ones(1)}, "of no kind known here"),
        (lambda _: {"model.diffusion_model.out.2.bias": torch.ones(4)}, "a base model"),
        (
            lambda w: {k.replace(".norm.weight", ".processor.to_q_lora.down.weight"): v for k, v in w.items()},
            "a motion LoRA. Put it into the models folder's 'loras'",
        ),
        (lambda w: w | {"controlnet_cond_embedding.weight": torch.ones(1)}, "a SparseCtrl encoder"),
        (
            lambda w: {k: v for k, v in w.items() if k != _LAST},
            "lacks 1 tensors, the first up_blocks.3.motion_modules.2",
        ),
        (lambda w: w | {f"{next(iter(w))}_more": torch.ones(1)}, "it has 1 tensors too many"),
        (lambda w: w | {next(iter(w)): torch.ones(3)}, "has the shape 3 where 64 is needed"),
    ],
)
def test_other_kinds_and_broken_files_are_refused_by_what_is_in_them(change, reason, tmp_path):
    path = write(tmp_path / "v3_sd15_mm.safetensors", change(tiny.original_names(tiny.motion_adapter())))
    with pytest.raises(WeightsError) as error:
        inspect_motion(path)
    assert str(error.value).startswith("motion_module must be a")
    assert reason in str(error.value)
    assert str(tmp_path) not in str(error.value)


@pytest.mark.usefixtures("hub")
def test_a_motion_module_for_another_unet_is_refused_naming_both(store, models_dir, tmp_path):
    adapter = tiny.motion_adapter(mid_block=False, channels=XL_CHANNELS)
    adapter.save_pretrained(models_dir / "motion_modules" / "xl")
    write(models_dir / "motion_modules" / "xl.safetensors", tiny.original_names(adapter))
    for name in ("xl", "xl.safetensors"):
        assert refusal_of(store, SD15, name, secret=tmp_path) == (
            f"motion_module must fit the base model '{SD15}' (blocks of 16, 32, 64, 64 channels), "
            f"got '{name}' (16, 32, 64 channels). Choose a motion module made for it."
        )


def inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(4)
    brightness = torch.linspace(0.5, 1.5, 5)[:, None, None]  # frames that differ, or the norms would not
    sample = torch.randn(1, 4, 5, 8, 8, generator=generator) * brightness
    return sample, torch.tensor(500), torch.randn(5, 7, 32, generator=generator)


def test_a_folder_of_another_diffusers_and_a_file_of_a_whole_pipeline_are_read(tmp_path):
    adapter = tiny.motion_adapter(3)
    adapter.save_pretrained(tmp_path / "folder")
    path = tmp_path / "folder" / "config.json"
    config = json.loads(path.read_text())
    config.pop("conv_in_channels")  # as before PIA
    path.write_text(json.dumps(config | {"something_newer": 1}))
    weights = {f"unet.{name}": tensor for name, tensor in tiny.original_names(adapter).items()}
    for actual in (tmp_path / "folder", write(tmp_path / "whole.ckpt", weights)):
        loaded = load_motion_module(actual)
        assert loaded.family.id == "v2"
        assert all(torch.equal(loaded.adapter.state_dict()[key], w) for key, w in adapter.state_dict().items())


@pytest.mark.parametrize(
    "name", ["motion_modules.0.temporal_transformer.norm.weight", "down_blocks.x.motion_modules.0.a"]
)
def test_layers_without_blocks_are_refused_in_words(name, tmp_path):
    with pytest.raises(WeightsError, match=r"must be a whole motion module, got 'odd\.safetensors'"):
        inspect_motion(write(tmp_path / "odd.safetensors", {name: torch.ones(4), f"a.{name}": torch.ones(4)}))
