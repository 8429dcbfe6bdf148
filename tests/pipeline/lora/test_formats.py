"""LoRA files: every format added exactly, all that is no LoRA refused by what is in it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from pipelines.engine.lora.files import LoraKind, read_lora
from pipelines.engine.models import ModelStore, applied
from pipelines.plan.errors import WeightsError
from tests.pipeline import tiny
from tests.pipeline.lora import formats
from tests.pipeline.lora.adding import (
    CONVOLUTIONS,
    MOTION,
    SPATIAL,
    assert_added,
    planned,
    refusal_of,
    small,
)


def test_an_authors_motion_lora_is_added_exactly(models_dir, v2):
    factors = formats.lora_factors(v2.unet, MOTION)
    assert len(factors) == 21 * 2 * 4
    torch.save({"state_dict": formats.authors_lora(factors)}, models_dir / "loras" / "zoom.ckpt")
    assert read_lora(models_dir / "loras" / "zoom.ckpt").kind is LoraKind.MOTION
    plan = planned(v2, small("a fox <lora:zoom:0.8>"))
    assert_added(v2, plan, {"unet": factors}, 0.8)
    assert (plan.prompt.texts, plan.warnings) == (("a fox ",), ())


@pytest.mark.parametrize(
    ("pattern", "write", "scale"),
    [
        (MOTION, formats.diffusers_lora, 1.0),
        (MOTION, lambda f: formats.diffusers_lora(f, prefix=""), 1.0),
        (MOTION, lambda f: formats.kohya_lora(f, alpha=6.0), 2.0),
        (r"^(down|up)_blocks.*" + MOTION, formats.authors_lora, 1.0),
        (SPATIAL, formats.authors_lora, 1.0),
        (SPATIAL, formats.diffusers_lora, 1.0),
        (SPATIAL, lambda f: formats.diffusers_lora(f, peft=False), 1.0),
        (SPATIAL, lambda f: formats.diffusers_lora(f, prefix="base_model.model."), 1.0),
        (SPATIAL, lambda f: formats.kohya_lora(f, alpha=1.5), 0.5),
        (SPATIAL, formats.first_release_lora, 1.0),
        (CONVOLUTIONS, formats.kohya_lora, 1 / 3),
        (CONVOLUTIONS, formats.diffusers_lora, 1.0),
        (CONVOLUTIONS, formats.first_release_lora, 1.0),
    ],
)
def test_every_format_for_the_unet_is_added_exactly(pattern, write: Callable, scale, models_dir, v2):
    factors = formats.lora_factors(v2.unet, pattern)
    save_file(write(factors), models_dir / "loras" / "mine.safetensors")
    plan = planned(v2, small("<lora:mine:-0.5>"))
    assert len(plan.additions) == len(factors) > 10
    assert plan.warnings == ()
    assert_added(v2, plan, {"unet": factors}, -0.5 * scale)


@pytest.mark.parametrize(
    "write",
    [
        lambda f: formats.kohya_lora(f, prefix="lora_te_text_model_", alpha=3.0),
        lambda f: formats.kohya_lora(f, prefix="lora_te1_text_model_", alpha=3.0),
        lambda f: formats.diffusers_lora(f, prefix="text_encoder.text_model."),
        lambda f: {
            key.replace("_proj.lora.", "_lora.").replace("self_attn.", "self_attn.to_"): tensor
            for key, tensor in formats.diffusers_lora(f, prefix="text_encoder.text_model.", peft=False).items()
        },
    ],
)
def test_a_lora_for_the_text_encoder_too_is_added_to_both(write: Callable, models_dir, v2):
    text, unet = formats.lora_factors(v2.text_encoders[0], "self_attn"), formats.lora_factors(v2.unet, SPATIAL)
    save_file(write(text) | formats.kohya_lora(unet, alpha=3.0), models_dir / "loras" / "both.safetensors")
    plan = planned(v2, small("<lora:both>"))
    assert_added(v2, plan, {"unet": unet, "text_encoder": text}, 1.0)
    assert plan.warnings == ()


def test_a_locon_with_a_core_is_added_exactly(models_dir, v2):
    layer = "down_blocks.0.resnets.0.conv1"
    out, inside, height, width = v2.unet.get_parameter(f"{layer}.weight").shape
    down, mid, up = torch.randn(2, inside, 1, 1), torch.randn(2, 2, height, width), torch.randn(out, 2, 1, 1)
    name = "lora_unet_" + layer.replace(".", "_")
    tensors = {f"{name}.lora_down.weight": down, f"{name}.lora_mid.weight": mid, f"{name}.lora_up.weight": up}
    save_file(tensors, models_dir / "loras" / "core.safetensors")
    expected = v2.unet.get_parameter(f"{layer}.weight").clone()
    for p in range(2):
        for q in range(2):
            expected += (up[:, p, 0, 0, None] * down[q, :, 0, 0])[:, :, None, None] * mid[p, q]
    with applied(v2, small(), planned(v2, small("<lora:core>"))):
        torch.testing.assert_close(v2.unet.get_parameter(f"{layer}.weight"), expected)


def test_the_scale_in_a_diffusers_file_s_header_is_used(models_dir, v2):
    factors = formats.lora_factors(v2.unet, SPATIAL, rank=4)
    path = models_dir / "loras" / "header.safetensors"
    header = {"lora_adapter_metadata": json.dumps({"unet.r": 4, "unet.lora_alpha": 8})}
    save_file(formats.diffusers_lora(factors), path, metadata=header)
    assert_added(v2, planned(v2, small("<lora:header>")), {"unet": factors}, 2.0)
    header = {"lora_adapter_metadata": json.dumps({"unet.lora_alpha": 8, "unet.alpha_pattern": {"to_q": 2}})}
    save_file(formats.diffusers_lora(factors), path, metadata=header)
    with pytest.raises(WeightsError, match="a scale of its own for each layer"):
        read_lora(path)


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ('{"unet.lora_alpha": "8"}', "with '8' for unet.lora_alpha"),
        ('{"unet.lora_alpha": [8]}', r"with '\[8\.0\]' for unet.lora_alpha"),
        ('{"unet.lora_alpha": 1e999}', "with 'inf' for unet.lora_alpha"),
        (f'{{"unet.lora_alpha": 1{"0" * 400}}}', "with 'inf' for unet.lora_alpha"),
        ("[" * 100_000, "whose lora_adapter_metadata can't be read"),
        ("4", "whose lora_adapter_metadata can't be read"),
    ],
)
def test_a_header_without_a_number_for_the_scale_is_refused(header, words, tmp_path, v2):
    factors = formats.diffusers_lora(formats.lora_factors(v2.unet, SPATIAL, rank=4))
    save_file(factors, tmp_path / "odd.safetensors", {"lora_adapter_metadata": header})
    with pytest.raises(WeightsError, match=rf"got 'odd\.safetensors'.* {words}"):
        read_lora(tmp_path / "odd.safetensors")


def test_several_loras_and_the_same_twice_add_up(models_dir, v2):
    first, second = formats.lora_factors(v2.unet, SPATIAL, seed=1), formats.lora_factors(v2.unet, SPATIAL, seed=2)
    save_file(formats.diffusers_lora(first), models_dir / "loras" / "first.safetensors")
    save_file(formats.diffusers_lora(second), models_dir / "loras" / "second.safetensors")
    plan = planned(v2, small("<lora:first:0.5> a fox <lora:second:0.25><lora:first:0.1>"))
    stacked = {
        name: (
            torch.cat([first[name][0] * 0.6, second[name][0] * 0.25]),
            torch.cat([first[name][1], second[name][1]], 1),
        )
        for name in first
    }
    assert_added(v2, plan, {"unet": stacked}, 1.0)


def test_the_order_of_tags_changes_no_bit(models_dir, v2):
    names = [f"order{number}" for number in range(3)]
    for number, name in enumerate(names):
        factors = formats.lora_factors(v2.unet, SPATIAL, seed=number)
        save_file(formats.diffusers_lora(factors), models_dir / "loras" / f"{name}.safetensors")
    weights = []
    for order in (names, names[::-1], [names[1], names[2], names[0]]):
        request = small("a fox " + "".join(f"<lora:{name}:0.7>" for name in order))
        with applied(v2, request, planned(v2, request)):
            weights.append({name: tensor.clone() for name, tensor in v2.unet.state_dict().items()})
    for other in weights[1:]:
        assert all(torch.equal(tensor, weights[0][name]) for name, tensor in other.items())


def test_weights_of_half_precision_are_rounded_once(models_dir):
    components = ModelStore("cpu", torch.bfloat16).load("base", "v2.safetensors")
    factors = formats.lora_factors(components.unet, MOTION)
    save_file(formats.authors_lora(factors), models_dir / "loras" / "half.safetensors")
    before = {name: tensor.clone() for name, tensor in components.unet.state_dict().items()}
    with applied(components, small(), planned(components, small("<lora:half:0.3>"))):
        for name, (down, up) in factors.items():
            weight = components.unet.get_parameter(f"{name}.weight")
            exact = before[f"{name}.weight"].float() + 0.3 * (up @ down)
            assert weight.dtype is torch.bfloat16
            torch.testing.assert_close(weight, exact.to(torch.bfloat16))


def test_layers_that_fit_nothing_are_counted_in_a_warning(models_dir, v2):
    fitting = formats.kohya_lora(formats.lora_factors(v2.unet, SPATIAL))
    stranger = formats.kohya_lora({"down_blocks.7.attentions.0.proj": (torch.ones(1, 4), torch.ones(4, 1))})
    save_file(fitting | stranger | {"extra.diff_b": torch.ones(2)}, models_dir / "loras" / "odd.safetensors")
    (warning,) = planned(v2, small("<lora:odd>")).warnings
    assert warning.startswith("'odd.safetensors' has 2 parts that fit nothing in this model and were left out")


def test_a_lora_of_which_nothing_fits_is_refused(models_dir, v2):
    other = formats.kohya_lora({"stranger.7.to_q": (torch.ones(1, 4), torch.ones(4, 1))})
    save_file(other, models_dir / "loras" / "none.safetensors")
    message = refusal_of(v2, "<lora:none>")
    assert message.startswith("lora must be made for the base model 'base' and its motion module, got 'none.safetens")
    assert "none of whose 1 layers is in it" in message


def test_a_motion_lora_whose_only_layers_are_the_middle_block_s_is_refused_without_one(models_dir, store, v2):
    factors = formats.lora_factors(v2.unet, r"mid_block\." + MOTION)
    save_file(formats.authors_lora(factors), models_dir / "loras" / "mid.safetensors")
    assert "none of whose 8 layers" in refusal_of(store.load("base", "v3.safetensors"), "<lora:mid>")


def test_a_lora_of_another_size_is_refused(models_dir, v2):
    wide = {"down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q": (torch.ones(4, 320), torch.ones(320, 4))}
    save_file(formats.kohya_lora(wide), models_dir / "loras" / "wide.safetensors")
    assert "whose layer down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q has another size" in refusal_of(
        v2, "<lora:wide>"
    )


@pytest.mark.parametrize(("width", "model"), [(1024, "Stable Diffusion 2"), (2048, "Stable Diffusion XL")])
def test_a_lora_for_another_stable_diffusion_is_told_its_name(width, model, models_dir, v2):
    layer = "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k"
    save_file(
        formats.kohya_lora({layer: (torch.ones(4, width), torch.ones(320, 4))}), models_dir / "loras/o.safetensors"
    )
    assert f"got 'o.safetensors', which is made for {model}. Remove its tag" in refusal_of(v2, "<lora:o>")


LAYER = "lora_unet_x"


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({f"{LAYER}.on_input": torch.tensor(False), f"{LAYER}.weight": torch.ones(2)}, "which is an (IA)³"),
        ({f"{LAYER}.oft_blocks": torch.ones(2, 2, 2)}, "an OFT, which turns weights. Choose a LoRA, LoCon, LoHa"),
        (
            {"transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight": torch.ones(2, 2)},
            "which is a LoRA for FLUX. Choose a LoRA, LoCon, LoHa, LoKr or DoRA for Stable Diffusion 1.5 or XL.",
        ),
        ({f"{LAYER}.alpha": torch.tensor(1.0)}, "don't belong together"),
        ({f"{LAYER}.strange": torch.ones(2)}, "a LoRA for the base model in a form that is not known here. Choose ano"),
        ({"<a>": torch.ones(2), "<b>": torch.ones(2)}, "of no kind known here"),
        ({f"{LAYER}.hada_w1_a": torch.ones(2, 2)}, "don't belong together"),
        ({f"{LAYER}.lokr_w1": torch.ones(2, 2)}, "don't belong together"),
        ({f"{LAYER}.lora_up.weight": torch.ones(2, 0), f"{LAYER}.lora_down.weight": torch.ones(0, 2)}, "together"),
        (
            {f"{LAYER}.lora_up.weight": torch.ones(2, 2).int(), f"{LAYER}.lora_down.weight": torch.ones(2, 2)},
            "with whole numbers in lora_unet_x.lora_up.weight, as quantised models have them",
        ),
        ({f"{LAYER}.lora_up.weight": torch.ones(2, 2), f"{LAYER}.dora_scale": torch.ones(2)}, "don't belong together"),
        (
            {"model.diffusion_model.out.2.bias": torch.ones(4)},
            "a base model. Put it into the models folder's 'base_models'",
        ),
        (
            tiny.original_names(tiny.motion_adapter()),
            "a motion module. Put it into the models folder's 'motion_modules'",
        ),
        ({"controlnet_cond_embedding.conv_in.weight": torch.ones(1)}, "a ControlNet"),
        ({"something.weight": torch.ones(1)}, "of no kind known here"),
        ({f"{LAYER}.lora_up.weight": torch.ones(2, 2)}, "where those of 'lora_unet_x' don't belong together"),
        (
            {f"{LAYER}.lora_up.weight": torch.ones(2, 3), f"{LAYER}.lora_down.weight": torch.ones(2, 3)},
            "don't belong together",
        ),
    ],
)
def test_files_of_other_kinds_are_refused_by_what_is_in_them(tensors, words, models_dir, v2):
    save_file(tensors, models_dir / "loras" / "v2_lora_like.safetensors")
    assert words in refusal_of(v2, "<lora:v2_lora_like>")


class _Hostile:
    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self):
        return Path.touch, (self.witness,)


def test_a_pickle_that_asks_to_run_code_is_refused_and_not_run(models_dir, v2, tmp_path):
    witness = tmp_path / "it ran"
    torch.save({"state_dict": {"a": _Hostile(witness)}}, models_dir / "loras" / "hostile.ckpt")
    message = refusal_of(v2, "<lora:hostile>")
    assert "lora must hold nothing but tensors, got 'hostile.ckpt', which asks to run code" in message
    assert str(models_dir) not in message
    assert not witness.exists()
