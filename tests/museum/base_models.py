"""Published files of base models and VAEs, by what they are called; all made from three written lists.

Sizes are those of the Hub. What is said of a file's tensors follows from them: a list is right only if its bytes and
a header of its names make the file's size (`tests/pipeline/test_museum.py`).
"""

from tests.museum.tensor_lists import TensorList, tensor_list

_UNET, _VAE = "model.diffusion_model.", "first_stage_model."
_FIRST_CONVOLUTION = f"{_UNET}input_blocks.0.0.weight"
_COUNTERS, _AVERAGES = r"model_ema\.(decay|num_updates)$", r"model_ema\.diffusion_model"


def v1_5_pruned() -> TensorList:
    """`v1-5-pruned.safetensors`: all in float32, with the running averages and the noise schedule beside it."""
    return tensor_list("base_models/v1-5-pruned")


def v1_5_emaonly() -> TensorList:
    """`v1-5-pruned-emaonly.safetensors`, 4.27 GB: the same without the averages, whose counters stayed."""
    facts = {
        "bytes": "4265146304",
        "sha256": "6ce0161689b3853acaa03779ec93eafe75a02f4ced659bee03f50797806fa2fa",
    }
    return TensorList(facts, v1_5_pruned().without(_AVERAGES).tensors)


def dreamshaper() -> TensorList:
    """`DreamShaper_8_pruned.safetensors`, as nearly all merges are: half precision, no noise schedule."""
    facts = {
        "bytes": "2132625894",
        "sha256": "879db523c30d3b9017143d56705015e15a2cb5628762c11d086fed9538abd7fd",
    }
    return TensorList(facts, v1_5_emaonly().only(r"(model|first_stage_model|cond_stage_model)\.").typed("F16").tensors)


def novelai() -> TensorList:
    """Anything v3 and the other descendants of NovelAI's model: the text encoder without `text_model.`."""
    return v1_5_emaonly().renamed(r"transformer\.text_model\.", "transformer.")


def inpainting() -> TensorList:
    """`sd-v1-5-inpainting`: the first convolution takes 9 channels, latents, a masked picture and its mask."""
    return v1_5_emaonly().with_tensors({_FIRST_CONVOLUTION: ("F32", (320, 9, 3, 3))})


def instruct_pix2pix() -> TensorList:
    """`instruct-pix2pix-00-22000`: the first convolution takes 8 channels, latents and a picture's."""
    return v1_5_emaonly().with_tensors({_FIRST_CONVOLUTION: ("F32", (320, 8, 3, 3))})


def v_prediction() -> TensorList:
    """A model that predicts v and says so: two empty tensors, as ComfyUI reads and trainers write them."""
    return dreamshaper().with_tensors({"v_pred": ("F16", (0,)), "ztsnr": ("F16", (0,))})


def without_vae() -> TensorList:
    """`AnyLoRA_noVae_fp16-pruned`: UNet and text encoder alone."""
    return dreamshaper().without(_VAE.replace(".", r"\."))


def sd_xl_base() -> TensorList:
    """`sd_xl_base_1.0.safetensors`, 6.94 GB in half precision."""
    return tensor_list("base_models/sd_xl_base_1.0")


def vae_ft_mse() -> TensorList:
    """`vae-ft-mse-840000-ema-pruned.safetensors`: the bare VAE in float32 and two counters of its training."""
    facts = {
        "bytes": "334641190",
        "sha256": "735e4c3a447a3255760d7f86845f09f937809baa529c17370d83e4c3758f3c75",
    }
    bare, counters = tensor_list("vae/trained").without(r"loss\."), v1_5_pruned().only(_COUNTERS)
    return TensorList(facts, {**bare.tensors, **counters.tensors})


def trained_vae() -> TensorList:
    """A VAE of 304 tensors with what it was trained against, as `kl-f8-anime2.ckpt` and many `.vae.pt` have it."""
    return tensor_list("vae/trained")


def text_encoder() -> TensorList:
    """`text_encoder/model.safetensors` of Stable Diffusion 1.5, as transformers 4 wrote it."""
    prefix = "cond_stage_model.transformer."
    listed = v1_5_pruned().only(prefix.replace(".", r"\.")).renamed(f"^{prefix}", "")
    return TensorList({"bytes": "492265879"}, listed.tensors)
