"""Names of known weights, as files are called that people have and programs write: found, or none at all."""

from pathlib import Path

import pytest

from api.recipes.model_names import model_named
from pipelines.plan import catalog

AD = "guoyww/animatediff/"
CN = "lllyasviel/"
KNOWN = {
    "base_model": {
        "v1-5-pruned-emaonly.safetensors [6ce0161689]": catalog.STABLE_DIFFUSION,
        "v1-5-pruned-emaonly-fp16.safetensors": catalog.STABLE_DIFFUSION,
        "runwayml/stable-diffusion-v1-5": catalog.STABLE_DIFFUSION,
        "DreamShaper_8_pruned.safetensors [879db523c3]": "Lykon/DreamShaper",
        "dreamshaper_8": "Lykon/DreamShaper",
        "sd15/dreamshaper_8": "Lykon/DreamShaper",
        "sd15\\DREAMSHAPER 8_Pruned.safetensors": "Lykon/DreamShaper",
        "toonyou_beta6.safetensors": "frankjoshua/toonyou_beta6",
        "majicmixRealistic_v7.safetensors [7c819b6d13]": "digiplay/majicMIX_realistic_v7",
        "sd_xl_base_1.0.safetensors [31e35c80fc]": catalog.STABLE_DIFFUSION_XL,
        "sd_xl_base_1.0_0.9vae": catalog.STABLE_DIFFUSION_XL,
        "hsxl_base_1.0.f16.safetensors": "hotshotco/SDXL-512",
    },
    "motion_module": {
        "mm_sd_v14.ckpt": f"{AD}mm_sd_v14.ckpt",
        "mm_sd15_v1.safetensors": f"{AD}mm_sd_v15.ckpt",
        "mm_sd_v15_v2.fp16.safetensors": f"{AD}mm_sd_v15_v2.ckpt",
        "mm_sd15_v2": f"{AD}mm_sd_v15_v2.ckpt",
        "mm_sd15_v2_fp16.safetensors [b3ee4a2f]": f"{AD}mm_sd_v15_v2.ckpt",
        "v3_sd15_mm": f"{AD}v3_sd15_mm.ckpt",
        "V3-SD15-MM.CKPT": f"{AD}v3_sd15_mm.ckpt",
        "hsxl_temporal_layers.safetensors": "hotshotco/Hotshot-XL/hsxl_temporal_layers.f16.safetensors",
        "lt_long_mm_16_64_frames_v1.1.ckpt": "Lightricks/LongAnimateDiff/lt_long_mm_16_64_frames_v1.1.ckpt",
        "lt_long_mm_16_64_frames.ckpt": "Lightricks/LongAnimateDiff/lt_long_mm_16_64_frames.ckpt",
        "animatediff_lightning_4step_comfyui.safetensors": (
            "ByteDance/AnimateDiff-Lightning/animatediff_lightning_4step_diffusers.safetensors"
        ),
        "temporaldiff-v1-animatediff.ckpt": ("CiaraRowles/TemporalDiff/temporaldiff-v1-animatediff.safetensors"),
    },
    "vae": {
        "vae-ft-mse-840000-ema-pruned.safetensors": "stabilityai/sd-vae-ft-mse",
        "vae-ft-mse-840000-ema-pruned.ckpt": "stabilityai/sd-vae-ft-mse",
        "sd15/vae-ft-mse-840000-ema-pruned.vae.pt": "stabilityai/sd-vae-ft-mse",
        "kl-f8-anime2.ckpt": "hakurei/waifu-diffusion-v1-4/kl-f8-anime2",
        "kl-f8-anime2": "hakurei/waifu-diffusion-v1-4/kl-f8-anime2",
    },
    "controlnet": {
        "control_v11p_sd15_canny_fp16 [b18e0966]": f"{CN}control_v11p_sd15_canny",
        "control_v11p_sd15_canny_fp16.safetensors": f"{CN}control_v11p_sd15_canny",
        "control_v11p_sd15_canny [d14c016b]": f"{CN}control_v11p_sd15_canny",
        "control_v11f1p_sd15_depth.pth": f"{CN}control_v11f1p_sd15_depth",
        "control_sd15_canny": f"{CN}sd-controlnet-canny",
        "control_sd15_openpose [fef5e48e]": f"{CN}sd-controlnet-openpose",
        "diffusers_xl_canny_full [2b69fca4]": "diffusers/controlnet-canny-sdxl-1.0",
        "v3_sd15_sparsectrl_rgb.ckpt": f"{AD}v3_sd15_sparsectrl_rgb",
    },
    "ip_adapter": {
        "ip-adapter_sd15_plus [32cd8f7f]": "h94/IP-Adapter/ip-adapter-plus_sd15",
        "ip-adapter-plus_sd15.safetensors": "h94/IP-Adapter/ip-adapter-plus_sd15",
        "ip-adapter-plus_sd15.bin": "h94/IP-Adapter/ip-adapter-plus_sd15",
        "ip-adapter_sd15 [6a3f6166]": "h94/IP-Adapter/ip-adapter_sd15",
        "ip-adapter-plus-face_sd15 [71693645]": "h94/IP-Adapter/ip-adapter-plus-face_sd15",
    },
    "lora": {
        "v3_sd15_adapter.ckpt": "v3_sd15_adapter",
        "v2_lora_ZoomIn": "v2_lora_ZoomIn",
        "LCM_LoRA_Weights_SD15.safetensors": "lcm-lora-sdv1-5",
        "lcm-lora-sd15": "lcm-lora-sdv1-5",
        "AnimateLCM_sd15_i2v_lora.safetensors": "AnimateLCM_sd15_i2v_lora",
    },
}
#: Near to known ones, and other weights.
OTHERS = {
    "base_model": (
        "dreamshaper_7.safetensors", "dreamshaper_8_inpainting", "dreamshaper_8LCM", "toonyou_beta3", "v1-5-inpainting",
        "sd_xl_refiner_1.0", "realisticVisionV60B1_v51VAE.safetensors", "majicmixRealistic_v6", "model.safetensors",
    ),
    "motion_module": (
        "mm_sd_v15_v3.ckpt", "mm_sd15", "lt_long_mm_16_64_frames_v1.2.ckpt", "animatediff_lightning_6step_diffusers",
        "demo_v4",
    ),
    "vae": (
        "vae-ft-ema-560000-ema-pruned.safetensors", "kl-f8-anime.ckpt", "sdxl_vae.safetensors",
        "diffusion_pytorch_model",
    ),
    "controlnet": (
        "control_v11p_sd21_canny.safetensors", "diffusers_xl_canny_mid", "diffusers_xl_canny_small [112b4d68]",
        "control_v11f1e_sd15_tile_blur", "tile.safetensors", "depth.pth", "control_sd15_normal",
    ),
    "ip_adapter": (
        "ip-adapter-faceid_sd15.bin", "ip-adapter_sd15_light", "ip-adapter_sdxl", "ip-adapter-full-face_sd15",
    ),
    "lora": ("v2_lora_ZoomIn2", "pytorch_lora_weights.safetensors", "lcm-lora-sdxl"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("field", "name", "model_id"), [(f, n, i) for f, names in KNOWN.items() for n, i in names.items()]
)
def test_known_weights_are_found_by_the_names_of_files(field, name, model_id):
    assert model_named(field, name) == model_id


@pytest.mark.parametrize(("field", "name"), [(field, name) for field, names in OTHERS.items() for name in names])
def test_other_weights_are_never_taken_for_known_ones(field, name):
    assert model_named(field, name) is None


@pytest.mark.parametrize("field", KNOWN)
def test_no_two_models_of_a_list_share_a_name(field):
    lists = {"controlnet": catalog.controlnets, "ip_adapter": catalog.ip_adapters, "lora": catalog.loras}
    entries = lists.get(field, getattr(catalog, f"{field}s", None))()
    assert entries
    for entry in entries:
        assert [model_named(field, name) for name in (entry.id, *entry.aliases)] == [entry.id] * (
            1 + len(entry.aliases)
        )


def test_the_operator_s_own_file_comes_before_the_catalog(tmp_path: Path, configure):
    configure(models_dir=tmp_path)
    for name in ("base_models/sd15/dreamshaper_8.safetensors", "controlnets/control_v11p_sd15_canny_fp16.safetensors"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for name in ("dreamshaper_8", "sd15/DreamShaper_8.safetensors [879db523c3]"):
        assert model_named("base_model", name) == "sd15/dreamshaper_8.safetensors"
    model = model_named("controlnet", "control_v11p_sd15_canny_fp16 [b18e0966]")
    assert model == "control_v11p_sd15_canny_fp16.safetensors"
    assert model_named("base_model", "toonyou_beta6") == "frankjoshua/toonyou_beta6"


def test_a_lora_is_found_by_other_programs_names_in_a_tag():
    assert catalog.find_lora("LCM_LoRA_Weights_SD15").id == "lcm-lora-sdv1-5"
