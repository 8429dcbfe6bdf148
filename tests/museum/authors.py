"""The networks of Stable Diffusion as their authors define them: names and shapes of tensors in published files.

Written down from the modules' definitions (CompVis/latent-diffusion `openaimodel.py` and `model.py`,
Stability-AI/generative-models, openai/CLIP as transformers has it, mlfoundations/open_clip), not from diffusers', so
that what diffusers' networks hold is compared with something else. `python -m tests.museum.authors` writes the lists.
"""

from collections.abc import Iterator, Mapping, Sequence

from tests.museum.tensor_lists import TensorList, write_list

Shape = tuple[int, ...]
Shapes = dict[str, Shape]
SCHEDULE = (
    *("betas", "alphas_cumprod", "alphas_cumprod_prev", "sqrt_alphas_cumprod", "sqrt_one_minus_alphas_cumprod"),
    *("log_one_minus_alphas_cumprod", "sqrt_recip_alphas_cumprod", "sqrt_recipm1_alphas_cumprod"),
    *("posterior_variance", "posterior_log_variance_clipped", "posterior_mean_coef1", "posterior_mean_coef2"),
)


def layer(name: str, *weight: int, bias: bool = True) -> Shapes:
    """A convolution, linear layer or norm."""
    return {f"{name}.weight": weight} | ({f"{name}.bias": weight[:1]} if bias else {})


def placed(prefix: str, shapes: Mapping[str, Shape]) -> Shapes:
    """The same tensors inside a module."""
    return {f"{prefix}{name}": shape for name, shape in shapes.items()}


def unet(
    *, text: int, depths: Sequence[int], in_channels: int = 4, linear: bool = False, label: int | None = None
) -> Shapes:
    """The UNet of 320 channels; `depths` are the transformers of each level, 0 for none, and of the middle."""
    *levels, middle = depths
    widths = [320 * factor for factor in (1, 2, 4, 4)[: len(levels)]]
    shapes = layer("time_embed.0", 1280, 320) | layer("time_embed.2", 1280, 1280)
    if label:
        shapes |= layer("label_emb.0.0", 1280, label) | layer("label_emb.0.2", 1280, 1280)
    shapes |= layer("input_blocks.0.0", 320, in_channels, 3, 3)
    seen, number, channels = [320], 1, 320
    for level, (width, depth) in enumerate(zip(widths, levels, strict=True)):
        for _ in range(2):
            shapes |= _block(f"input_blocks.{number}", channels, width, text, depth, linear)
            channels, number = width, number + 1
            seen.append(channels)
        if level + 1 < len(widths):
            shapes |= layer(f"input_blocks.{number}.0.op", channels, channels, 3, 3)
            number += 1
            seen.append(channels)
    shapes |= _resnet("middle_block.0", channels, channels)
    shapes |= placed("middle_block.1.", _transformer(channels, text, middle, linear))
    shapes |= _resnet("middle_block.2", channels, channels)
    number = 0
    for level, width in reversed(list(enumerate(widths))):
        for i in range(3):
            shapes |= _block(f"output_blocks.{number}", channels + seen.pop(), width, text, levels[level], linear)
            channels = width
            if i == 2 and level:
                shapes |= layer(f"output_blocks.{number}.{2 if levels[level] else 1}.conv", width, width, 3, 3)
            number += 1
    return shapes | layer("out.0", 320) | layer("out.2", 4, 320, 3, 3)


def _block(name: str, into: int, out: int, text: int, depth: int, linear: bool) -> Shapes:
    attention = placed(f"{name}.1.", _transformer(out, text, depth, linear)) if depth else {}
    return _resnet(f"{name}.0", into, out) | attention


def _resnet(name: str, into: int, out: int) -> Shapes:
    shapes = layer(f"{name}.in_layers.0", into) | layer(f"{name}.in_layers.2", out, into, 3, 3)
    shapes |= layer(f"{name}.emb_layers.1", out, 1280)
    shapes |= layer(f"{name}.out_layers.0", out) | layer(f"{name}.out_layers.3", out, out, 3, 3)
    return shapes | (layer(f"{name}.skip_connection", out, into, 1, 1) if into != out else {})


def _transformer(width: int, text: int, depth: int, linear: bool) -> Shapes:
    ends = (width, width) if linear else (width, width, 1, 1)
    shapes = layer("norm", width) | layer("proj_in", *ends)
    for i in range(depth):
        block = {}
        for name, seen in (("attn1", width), ("attn2", text)):
            block |= layer(f"{name}.to_q", width, width, bias=False)
            block |= layer(f"{name}.to_k", width, seen, bias=False) | layer(f"{name}.to_v", width, seen, bias=False)
            block |= layer(f"{name}.to_out.0", width, width)
        block |= layer("ff.net.0.proj", 8 * width, width) | layer("ff.net.2", width, 4 * width)
        for norm in ("norm1", "norm2", "norm3"):
            block |= layer(norm, width)
        shapes |= placed(f"transformer_blocks.{i}.", block)
    return shapes | layer("proj_out", *ends)


def vae() -> Shapes:
    """The VAE with four latent channels (kl-f8)."""
    widths = [128, 256, 512, 512]
    shapes = layer("encoder.conv_in", 128, 3, 3, 3)
    channels = 128
    for level, width in enumerate(widths):
        for i in range(2):
            shapes |= _vae_resnet(f"encoder.down.{level}.block.{i}", channels, width)
            channels = width
        if level < 3:
            shapes |= layer(f"encoder.down.{level}.downsample.conv", width, width, 3, 3)
    shapes |= _vae_middle("encoder", 512) | layer("encoder.conv_out", 8, 512, 3, 3)
    shapes |= layer("decoder.conv_in", 512, 4, 3, 3) | _vae_middle("decoder", 512, last=128)
    for level, width in reversed(list(enumerate(widths))):
        for i in range(3):
            shapes |= _vae_resnet(f"decoder.up.{level}.block.{i}", channels, width)
            channels = width
        if level:
            shapes |= layer(f"decoder.up.{level}.upsample.conv", width, width, 3, 3)
    shapes |= layer("decoder.conv_out", 3, 128, 3, 3)
    return shapes | layer("quant_conv", 8, 8, 1, 1) | layer("post_quant_conv", 4, 4, 1, 1)


def _vae_resnet(name: str, into: int, out: int) -> Shapes:
    shapes = layer(f"{name}.norm1", into) | layer(f"{name}.conv1", out, into, 3, 3)
    shapes |= layer(f"{name}.norm2", out) | layer(f"{name}.conv2", out, out, 3, 3)
    return shapes | (layer(f"{name}.nin_shortcut", out, into, 1, 1) if into != out else {})


def _vae_middle(side: str, width: int, last: int | None = None) -> Shapes:
    shapes = _vae_resnet(f"{side}.mid.block_1", width, width) | layer(f"{side}.mid.attn_1.norm", width)
    for name in ("q", "k", "v", "proj_out"):
        shapes |= layer(f"{side}.mid.attn_1.{name}", width, width, 1, 1)
    return shapes | _vae_resnet(f"{side}.mid.block_2", width, width) | layer(f"{side}.norm_out", last or width)


def vae_loss() -> Shapes:
    """What a VAE was trained against: VGG's features and a discriminator of patches."""
    slices = {1: (0, 2), 2: (5, 7), 3: (10, 12, 14), 4: (17, 19, 21), 5: (24, 26, 28)}
    shapes: Shapes = {"logvar": ()}
    shapes |= {f"perceptual_loss.scaling_layer.{name}": (1, 3, 1, 1) for name in ("shift", "scale")}
    channels = 3
    for number, width in zip(slices, (64, 128, 256, 512, 512), strict=True):
        for i in slices[number]:
            shapes |= layer(f"perceptual_loss.net.slice{number}.{i}", width, channels, 3, 3)
            channels = width
        shapes |= layer(f"perceptual_loss.lin{number - 1}.model.1", 1, width, 1, 1, bias=False)
    shapes |= layer("discriminator.main.0", 64, 3, 4, 4)
    for i, width in ((2, 128), (5, 256), (8, 512)):
        shapes |= layer(f"discriminator.main.{i}", width, width // 2, 4, 4, bias=False)
        shapes |= layer(f"discriminator.main.{i + 1}", width)
        shapes |= {f"discriminator.main.{i + 1}.running_{name}": (width,) for name in ("mean", "var")}
        shapes[f"discriminator.main.{i + 1}.num_batches_tracked"] = ()
    return shapes | layer("discriminator.main.11", 1, 512, 4, 4)


def clip_text(width: int = 768, layers: int = 12) -> Shapes:
    """CLIP's text encoder as transformers 4 names it, with the numbers of positions it stored as a tensor."""
    shapes: Shapes = {"embeddings.position_ids": (1, 77)}
    shapes |= layer("embeddings.token_embedding", 49408, width, bias=False)
    shapes |= layer("embeddings.position_embedding", 77, width, bias=False)
    for i in range(layers):
        block = {}
        for name in ("k_proj", "v_proj", "q_proj", "out_proj"):
            block |= layer(f"self_attn.{name}", width, width)
        block |= layer("layer_norm1", width) | layer("mlp.fc1", 4 * width, width)
        shapes |= placed(
            f"encoder.layers.{i}.", block | layer("mlp.fc2", width, 4 * width) | layer("layer_norm2", width)
        )
    return shapes | layer("final_layer_norm", width)


def open_clip_text(width: int = 1280, layers: int = 32) -> Shapes:
    """OpenCLIP's text encoder (ViT-bigG-14)."""
    shapes: Shapes = {"positional_embedding": (77, width), "text_projection": (width, width), "logit_scale": ()}
    shapes |= layer("token_embedding", 49408, width, bias=False)
    for i in range(layers):
        block = layer("ln_1", width) | {"attn.in_proj_weight": (3 * width, width), "attn.in_proj_bias": (3 * width,)}
        block |= layer("attn.out_proj", width, width) | layer("ln_2", width)
        shapes |= placed(f"transformer.resblocks.{i}.", block | layer("mlp.c_fc", 4 * width, width))
        shapes |= layer(f"transformer.resblocks.{i}.mlp.c_proj", width, 4 * width)
    return shapes | layer("ln_final", width)


def stable_diffusion(*, in_channels: int = 4) -> Shapes:
    """A whole model of the 1.x line: the noise schedule, the UNet, the VAE, the text encoder."""
    shapes: Shapes = dict.fromkeys(SCHEDULE, (1000,))
    shapes |= placed("model.diffusion_model.", unet(text=768, depths=(1, 1, 1, 0, 1), in_channels=in_channels))
    shapes |= placed("first_stage_model.", vae())
    return shapes | placed("cond_stage_model.transformer.text_model.", clip_text())


def stable_diffusion_xl() -> Shapes:
    """A whole Stable Diffusion XL base model: the UNet, both text encoders, the VAE."""
    shapes = placed("model.diffusion_model.", unet(text=2048, depths=(0, 2, 10, 10), linear=True, label=2816))
    shapes |= placed("conditioner.embedders.0.transformer.text_model.", clip_text())
    shapes |= placed("conditioner.embedders.1.model.", open_clip_text())
    return shapes | placed("first_stage_model.", vae())


def averaged(shapes: Mapping[str, Shape]) -> Shapes:
    """The running averages of a UNet that a training run keeps beside it; their names have lost the dots."""
    ends = {"model_ema.decay": (), "model_ema.num_updates": ()}
    prefix = "model.diffusion_model."
    unets = {name.removeprefix("model."): shape for name, shape in shapes.items() if name.startswith(prefix)}
    return ends | {f"model_ema.{name.replace('.', '')}": shape for name, shape in unets.items()}


def _typed(shapes: Mapping[str, Shape], dtype: str) -> Iterator[tuple[str, tuple[str, Shape]]]:
    whole = {"position_ids": "I64", "num_updates": "I32", "num_batches_tracked": "I64"}
    for name, shape in shapes.items():
        yield name, (whole.get(name.rsplit(".", 1)[-1], dtype), shape)


def write_lists() -> None:
    """Write the lists of base models and VAEs; the other files of the same networks are made from them."""
    first, xl = stable_diffusion(), stable_diffusion_xl()
    facts = {
        "base_models/v1-5-pruned": {
            "file": "v1-5-pruned.safetensors",
            "repo": "runwayml/stable-diffusion-v1-5 (today stable-diffusion-v1-5/stable-diffusion-v1-5)",
            "bytes": "7703324286",
            "sha256": "1a189f0be69d6106a48548e7626207dddd7042a418dbf372cefd05e0cdba61b6",
            "source": "CompVis/latent-diffusion's modules under v1-inference.yaml; LitEma's names for model_ema",
        },
        "base_models/sd_xl_base_1.0": {
            "file": "sd_xl_base_1.0.safetensors",
            "repo": "stabilityai/stable-diffusion-xl-base-1.0",
            "bytes": "6938078334",
            "sha256": "31e35c80fc4829d14f90153f4c74cd59c90b779f6afe05a74cd6120b893f7e5b",
            "source": "Stability-AI/generative-models' modules under sd_xl_base.yaml; 2,515 tensors",
        },
        "vae/trained": {
            "file": "a training run of kl-f8, as VAEs named .vae.pt come",
            "bytes": "404581567",
            "source": "CompVis/latent-diffusion's AutoencoderKL with its LPIPSWithDiscriminator; 304 tensors",
        },
    }
    tensors = {
        "base_models/v1-5-pruned": _typed(first | averaged(first), "F32"),
        "base_models/sd_xl_base_1.0": _typed(xl, "F16"),
        "vae/trained": _typed(vae() | placed("loss.", vae_loss()), "F32"),
    }
    for name, typed in tensors.items():
        write_list(name, TensorList(facts[name], dict(typed)))


if __name__ == "__main__":
    write_lists()
