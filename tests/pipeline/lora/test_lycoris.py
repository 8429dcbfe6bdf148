"""LoRA's relatives: LoHa, LoKr, whole differences, norms and DoRA, each against its own algebra; others by name."""

from collections.abc import Callable

import pytest
import torch
from safetensors.torch import save_file

from pipelines.engine.lora.files import read_lora
from pipelines.engine.models import Components, applied
from pipelines.plan.errors import WeightsError
from tests.pipeline.lora import formats
from tests.pipeline.lora.adding import SPATIAL, assert_as_before, planned, small, states
from tests.pipeline.lora.test_travel import TRAVEL, prediction

LINEAR = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
CONVOLUTION = "down_blocks.1.resnets.0.conv1"
NORM = "down_blocks.0.attentions.0.norm"
ALPHA, RANK = 3.0, 2
Tensors = dict[str, torch.Tensor]


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape) + seed)) * 0.3


def loha(out: int, inside: int) -> tuple[Tensors, torch.Tensor]:
    a, c, b, d = (random(out, RANK, seed=i) if i < 2 else random(RANK, inside, seed=i) for i in range(4))
    parts = {"hada_w1_a": a, "hada_w1_b": b, "hada_w2_a": c, "hada_w2_b": d, "alpha": torch.tensor(ALPHA)}
    delta = torch.zeros(out, inside)
    for i in range(RANK):
        for j in range(RANK):
            delta += torch.outer(a[:, i], b[i]) * torch.outer(c[:, j], d[j])
    return parts, delta * ALPHA / RANK


def lokr(out: int, inside: int) -> tuple[Tensors, torch.Tensor]:
    small, left, right = random(4, 2), random(out // 4, RANK), random(RANK, inside // 2)
    large = left @ right
    rows = [torch.cat([small[i, j] * large for j in range(2)], dim=1) for i in range(4)]
    parts = {"lokr_w1": small, "lokr_w2_a": left, "lokr_w2_b": right, "alpha": torch.tensor(ALPHA)}
    return parts, torch.cat(rows) * ALPHA / RANK


def whole_lokr(out: int, inside: int) -> tuple[Tensors, torch.Tensor]:
    first, second = random(2, 4), random(out // 2, inside // 4)
    delta = torch.einsum("ab,cd->acbd", first, second).reshape(out, inside)
    # LyCORIS has no rank here, so alpha, which is in its files all the same, scales nothing.
    return {"lokr_w1": first, "lokr_w2": second, "alpha": torch.tensor(ALPHA)}, delta


def whole(out: int, inside: int) -> tuple[Tensors, torch.Tensor]:
    delta = random(out, inside)
    return {"diff": delta}, delta


def scaled_lora(out: int, inside: int) -> tuple[Tensors, torch.Tensor]:
    up, down, times = random(out, RANK), random(RANK, inside), 0.4
    return {"lora_up.weight": up, "lora_down.weight": down, "scalar": torch.tensor(times)}, times * up @ down


WRITERS = [loha, lokr, whole_lokr, whole, scaled_lora]


def save(models_dir, tensors: dict[str, Tensors], name: str = "mine") -> None:
    by_name = {
        f"lora_unet_{layer.replace('.', '_')}.{role}": tensor.contiguous()
        for layer, parts in tensors.items()
        for role, tensor in parts.items()
    }
    save_file(by_name, models_dir / "loras" / f"{name}.safetensors")


def assert_weights(components: Components, tag: str, expected: Tensors) -> None:
    """Inside these parameters and no others are as expected, and afterwards the very same ones as before."""
    before = states(components)
    rest = {name: tensor.clone() for name, tensor in before["unet"].items() if name not in expected}
    plan = planned(components, small(tag))
    assert plan.warnings == ()
    with applied(components, small(), plan):
        for name, tensor in components.unet.state_dict().items():
            torch.testing.assert_close(tensor, expected.get(name, rest.get(name)), rtol=1e-5, atol=1e-6)
    assert_as_before(components, before)


@pytest.mark.parametrize("write", WRITERS)
def test_what_a_relative_adds_is_what_its_algebra_says(write: Callable, models_dir, v2):
    weight = v2.unet.get_parameter(f"{LINEAR}.weight")
    parts, delta = write(*weight.shape)
    save(models_dir, {LINEAR: parts})
    assert_weights(v2, "<lora:mine:-0.5>", {f"{LINEAR}.weight": weight - 0.5 * delta})


@pytest.mark.parametrize("write", [loha, whole])
def test_a_convolution_may_be_a_matrix_in_the_file(write: Callable, models_dir, v2):
    weight = v2.unet.get_parameter(f"{CONVOLUTION}.weight")
    parts, delta = write(weight.shape[0], weight[0].numel())
    save(models_dir, {CONVOLUTION: parts})
    assert_weights(v2, "<lora:mine:0.5>", {f"{CONVOLUTION}.weight": weight + 0.5 * delta.view_as(weight)})


def test_cores_of_convolutions_join_their_factors(models_dir, v2):
    weight = v2.unet.get_parameter(f"{CONVOLUTION}.weight")
    out, inside = weight.shape[:2]
    sizes = {"hada_w1_a": (RANK, out), "hada_w1_b": (RANK, inside), "hada_t1": (RANK, RANK, 3, 3)}
    parts = {name: random(*size) for name, size in sizes.items()}
    parts |= {name.replace("1", "2", 1): random(*size, seed=9) for name, size in sizes.items()}
    halves = []
    for i in "12":
        core, a, b = (parts[f"hada_{name}"] for name in (f"t{i}", f"w{i}_a", f"w{i}_b"))
        half = torch.zeros_like(weight)
        for p in range(RANK):
            for q in range(RANK):
                half += torch.outer(a[p], b[q])[:, :, None, None] * core[p, q]
        halves.append(half)
    save(models_dir, {CONVOLUTION: parts})
    assert_weights(v2, "<lora:mine>", {f"{CONVOLUTION}.weight": weight + halves[0] * halves[1]})


def test_lokr_of_a_convolution_repeats_its_kernels(models_dir, v2):
    weight = v2.unet.get_parameter(f"{CONVOLUTION}.weight")
    out, inside, *kernel = weight.shape
    first, second = random(2, 4), random(out // 2, inside // 4, *kernel)
    delta = torch.einsum("ab,cdhw->acbdhw", first, second).reshape(weight.shape)
    save(models_dir, {CONVOLUTION: {"lokr_w1": first, "lokr_w2": second}})
    assert_weights(v2, "<lora:mine>", {f"{CONVOLUTION}.weight": weight + delta})


def test_differences_of_biases_and_norms_are_added_and_undone(models_dir, v2):
    names = [f"{CONVOLUTION}.weight", f"{CONVOLUTION}.bias", f"{NORM}.weight", f"{NORM}.bias"]
    before = {name: v2.unet.get_parameter(name) for name in names}
    deltas = {name: random(*tensor.shape) for name, tensor in before.items()}
    roles = dict(zip(names, ("diff", "diff_b", "w_norm", "b_norm"), strict=True))
    tensors: dict[str, Tensors] = {CONVOLUTION: {}, NORM: {}}
    for name, role in roles.items():
        tensors[name.rpartition(".")[0]][role] = deltas[name]
    save(models_dir, tensors)
    assert_weights(v2, "<lora:mine:0.8>", {name: tensor + 0.8 * deltas[name] for name, tensor in before.items()})


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("layer", [LINEAR, CONVOLUTION])
def test_a_dora_gives_rows_or_columns_lengths_of_their_own(layer, axis, models_dir, v2):
    """Against torch's own weight norm."""
    weight = v2.unet.get_parameter(f"{layer}.weight")
    up, down = random(weight.shape[0], RANK), random(RANK, weight[0].numel())
    lengths = random(*(size if dim == axis else 1 for dim, size in enumerate(weight.shape))).abs() + 1
    kernel = weight.shape[2:]
    parts = {
        "lora_up.weight": up.view(*up.shape, *[1] * len(kernel)),
        "lora_down.weight": down.view(RANK, -1, *kernel),
        "dora_scale": lengths,
        "alpha": torch.tensor(ALPHA),
    }
    save(models_dir, {layer: parts})
    turned = torch._weight_norm(weight + ALPHA / RANK * (up @ down).view_as(weight), lengths, axis)
    assert_weights(v2, "<lora:mine:0.5>", {f"{layer}.weight": weight + 0.5 * (turned - weight)})


def test_peft_s_dora_has_its_rows_lengths(models_dir, v2):
    weight = v2.unet.get_parameter(f"{LINEAR}.weight")
    up, down, lengths = random(weight.shape[0], RANK), random(RANK, weight.shape[1]), random(weight.shape[0]).abs() + 1
    name = f"unet.{LINEAR}"
    ends = {"lora_A.weight": down, "lora_B.weight": up, "lora_magnitude_vector": lengths}
    save_file({f"{name}.{end}": part for end, part in ends.items()}, models_dir / "loras" / "mine.safetensors")
    assert_weights(v2, "<lora:mine>", {f"{LINEAR}.weight": torch._weight_norm(weight + up @ down, lengths[:, None], 0)})


def test_a_dora_of_a_layer_with_other_lengths_is_refused(models_dir, v2):
    out, inside = v2.unet.get_parameter(f"{LINEAR}.weight").shape
    parts = {"lora_up.weight": random(out, RANK), "lora_down.weight": random(RANK, inside)}
    save(models_dir, {LINEAR: parts | {"dora_scale": torch.ones(out + 1)}})
    with pytest.raises(WeightsError, match="has another size"):
        planned(v2, small("<lora:mine>"))


@pytest.mark.parametrize("layer", [LINEAR, CONVOLUTION])
def test_what_has_no_low_rank_travels_too(layer, models_dir, v2):
    weight = v2.unet.get_parameter(f"{layer}.weight")
    save(models_dir, {layer: loha(weight.shape[0], weight[0].numel())[0]})
    merged = prediction(v2, small("a fox <lora:mine:0.7>"), (2, 2, 2))
    torch.testing.assert_close(prediction(v2, small(TRAVEL), (2, 2, 2)), merged, rtol=1e-5, atol=1e-5)
    assert not merged.equal(prediction(v2, small("a fox"), (2, 2, 2)))


@pytest.mark.parametrize("adapter", ["default", "default_0", "my style"])
def test_peft_may_give_the_adapter_any_name(adapter, models_dir, v2):
    factors = formats.lora_factors(v2.unet, SPATIAL)
    by_name = {
        name.replace(".weight", f".{adapter}.weight"): tensor
        for name, tensor in formats.diffusers_lora(factors, prefix="base_model.model.").items()
    }
    save_file(by_name, models_dir / "loras" / "mine.safetensors")
    plan = planned(v2, small("<lora:mine>"))
    assert (len(plan.additions), plan.warnings) == (len(factors), ())


def test_two_adapters_in_one_file_are_refused(models_dir):
    parts = {"lora_A": random(RANK, 4), "lora_B": random(4, RANK)}
    both = {f"unet.mid.{part}.default_{i}.weight": entry for part, entry in parts.items() for i in (0, 1)}
    save_file({name: tensor.clone() for name, tensor in both.items()}, models_dir / "loras" / "mine.safetensors")
    with pytest.raises(WeightsError) as error:
        read_lora(models_dir / "loras" / "mine.safetensors")
    assert str(error.value) == (
        "lora must add to each layer once, got 'mine.safetensors', which has several additions to 'unet.mid'. "
        "Choose a file with one LoRA in it."
    )


def test_words_inside_of_a_lora_are_named_in_a_warning(models_dir, v2):
    """As OneTrainer bundles them."""
    bundled = {"bundle_emb.my.word.string_to_param.*": random(2, 32), "bundle_emb.other.clip_l": random(1, 32)}
    lora = formats.kohya_lora(formats.lora_factors(v2.unet, SPATIAL))
    save_file(lora | bundled, models_dir / "loras" / "mine.safetensors")
    (warning,) = planned(v2, small("<lora:mine>")).warnings
    assert warning == (
        "'mine.safetensors' brings words of its own (my.word, other), which were left out. "
        "Put them into textual inversions of their own."
    )
