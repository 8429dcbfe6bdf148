"""LoRAs and textual inversions: every format exact, everything undone, nothing left out in silence."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from pipelines.errors import InvalidRequestError, WeightsError
from pipelines.events import Clip, Stage
from pipelines.generate import generate
from pipelines.lora import LoraPlan, find_loras, load_lora, plan_loras
from pipelines.lora_files import LoraKind, read_lora
from pipelines.models import Components, ModelStore, applied
from pipelines.prompts import encode_prompts
from pipelines.request import GenerationRequest
from tests.pipeline import tiny
from tests.pipeline.sink import KeptFrames, run
from tests.stand_in_hub import serving, use_hub

MOTION = r"motion_modules.*attn[12]\.to_(q|k|v|out\.0)$"
SPATIAL = r"(?<!motion_modules)\.attentions\..*attn[12]\.to_(q|k|v|out\.0)$"
TEXT = r"self_attn|mlp"
CONVOLUTIONS = (
    r"resnets.*\.(conv1|conv2|conv_shortcut|time_emb_proj)$|samplers\.0\.conv$|attentions\.\d\.proj_(in|out)$"
)


@pytest.fixture(scope="module", autouse=True)
def models_dir(tmp_path_factory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("models")
    tiny.TinyBase().save_folder(root / "base_models" / "base")
    (root / "motion_modules").mkdir()
    for name, mid_block in (("v2", True), ("v3", False)):
        weights = tiny.original_names(tiny.motion_adapter(mid_block=mid_block))
        save_file(weights, root / "motion_modules" / f"{name}.safetensors")
    for kind in ("loras", "embeddings"):
        (root / kind).mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MODELS_DIR", str(root))
        yield root


@pytest.fixture(scope="module")
def store() -> ModelStore:
    return ModelStore("cpu", torch.float32)


@pytest.fixture
def v2(store) -> Components:
    return store.load("base", "v2.safetensors")


def small(prompt: str = "a fox", **settings) -> GenerationRequest:
    values = {
        "seed": 3,
        "num_frames": 3,
        "width": 64,
        "height": 64,
        "num_inference_steps": 2,
        "base_model": "base",
        "motion_module": "v2.safetensors",
    }
    return GenerationRequest.build(prompt=prompt, **values | settings)


def planned(components: Components, request: GenerationRequest) -> LoraPlan:
    loras = {name: load_lora(entry) for name, entry in find_loras(request).items()}
    models = components.lora_targets
    return plan_loras(request, loras, models=models, motion_label=components.motion.label)


def states(components: Components) -> dict[str, dict[str, torch.Tensor]]:
    return {name: dict(model.state_dict()) for name, model in components.lora_targets.items()}


def assert_as_before(components: Components, before: dict[str, dict[str, torch.Tensor]]) -> None:
    """The very same tensors, not merely equal ones."""
    for name, tensors in before.items():
        for key, tensor in components.lora_targets[name].state_dict().items():
            assert tensor.data_ptr() == tensors[key].data_ptr(), key


def assert_added(
    components: Components, plan: LoraPlan, factors: dict[str, tiny.LoraFactors], scale: float, request=None
) -> None:
    """Inside `applied` every named layer has W + scale · up @ down, and every other one its own W."""
    before = {name: {k: v.clone() for k, v in tensors.items()} for name, tensors in states(components).items()}
    with applied(components, request or small(), plan):
        for name, tensors in states(components).items():
            expected = before[name]
            for layer, (down, up) in factors.get(name, {}).items():
                weight = expected[f"{layer}.weight"]
                expected[f"{layer}.weight"] = weight + scale * (up.flatten(1) @ down.flatten(1)).reshape(weight.shape)
            for key, tensor in tensors.items():
                torch.testing.assert_close(tensor, expected[key], rtol=1e-6, atol=1e-6)
    assert plan.additions


def test_an_authors_motion_lora_is_added_exactly(models_dir, v2):
    factors = tiny.lora_factors(v2.unet, MOTION)
    assert len(factors) == 21 * 2 * 4
    torch.save({"state_dict": tiny.authors_lora(factors)}, models_dir / "loras" / "zoom.ckpt")
    assert read_lora(models_dir / "loras" / "zoom.ckpt").kind is LoraKind.MOTION
    plan = planned(v2, small("a fox <lora:zoom:0.8>"))
    assert_added(v2, plan, {"unet": factors}, 0.8)
    assert (plan.prompt, plan.warnings) == ("a fox ", ())


@pytest.mark.parametrize(
    ("pattern", "write", "scale"),
    [
        (MOTION, tiny.diffusers_lora, 1.0),
        (MOTION, lambda f: tiny.diffusers_lora(f, prefix=""), 1.0),
        (MOTION, lambda f: tiny.kohya_lora(f, alpha=6.0), 2.0),
        (r"^(down|up)_blocks.*" + MOTION, tiny.authors_lora, 1.0),
        (SPATIAL, tiny.authors_lora, 1.0),
        (SPATIAL, tiny.diffusers_lora, 1.0),
        (SPATIAL, lambda f: tiny.diffusers_lora(f, peft=False), 1.0),
        (SPATIAL, lambda f: tiny.diffusers_lora(f, prefix="base_model.model."), 1.0),
        (SPATIAL, lambda f: tiny.kohya_lora(f, alpha=1.5), 0.5),
        (SPATIAL, tiny.first_release_lora, 1.0),
        (CONVOLUTIONS, tiny.kohya_lora, 1 / 3),
        (CONVOLUTIONS, tiny.diffusers_lora, 1.0),
        (CONVOLUTIONS, tiny.first_release_lora, 1.0),
    ],
)
def test_every_format_for_the_unet_is_added_exactly(pattern, write: Callable, scale, models_dir, v2):
    factors = tiny.lora_factors(v2.unet, pattern)
    save_file(write(factors), models_dir / "loras" / "mine.safetensors")
    plan = planned(v2, small("<lora:mine:-0.5>"))
    assert len(plan.additions) == len(factors) > 10
    assert plan.warnings == ()
    assert_added(v2, plan, {"unet": factors}, -0.5 * scale)


@pytest.mark.parametrize(
    "write",
    [
        lambda f: tiny.kohya_lora(f, prefix="lora_te_text_model_", alpha=3.0),
        lambda f: tiny.kohya_lora(f, prefix="lora_te1_text_model_", alpha=3.0),
        lambda f: tiny.diffusers_lora(f, prefix="text_encoder.text_model."),
        lambda f: {
            key.replace("_proj.lora.", "_lora.").replace("self_attn.", "self_attn.to_"): tensor
            for key, tensor in tiny.diffusers_lora(f, prefix="text_encoder.text_model.", peft=False).items()
        },
    ],
)
def test_a_lora_for_the_text_encoder_too_is_added_to_both(write: Callable, models_dir, v2):
    text, unet = tiny.lora_factors(v2.text_encoders[0], "self_attn"), tiny.lora_factors(v2.unet, SPATIAL)
    save_file(write(text) | tiny.kohya_lora(unet, alpha=3.0), models_dir / "loras" / "both.safetensors")
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
    factors = tiny.lora_factors(v2.unet, SPATIAL, rank=4)
    path = models_dir / "loras" / "header.safetensors"
    header = {"lora_adapter_metadata": json.dumps({"unet.r": 4, "unet.lora_alpha": 8})}
    save_file(tiny.diffusers_lora(factors), path, metadata=header)
    assert_added(v2, planned(v2, small("<lora:header>")), {"unet": factors}, 2.0)
    header = {"lora_adapter_metadata": json.dumps({"unet.lora_alpha": 8, "unet.alpha_pattern": {"to_q": 2}})}
    save_file(tiny.diffusers_lora(factors), path, metadata=header)
    with pytest.raises(WeightsError, match="a scale of its own for each layer"):
        read_lora(path)


def test_several_loras_and_the_same_twice_add_up(models_dir, v2):
    first, second = tiny.lora_factors(v2.unet, SPATIAL, seed=1), tiny.lora_factors(v2.unet, SPATIAL, seed=2)
    save_file(tiny.diffusers_lora(first), models_dir / "loras" / "first.safetensors")
    save_file(tiny.diffusers_lora(second), models_dir / "loras" / "second.safetensors")
    plan = planned(v2, small("<lora:first:0.5> a fox <lora:second:0.25><lora:first:0.1>"))
    stacked = {
        name: (
            torch.cat([first[name][0] * 0.6, second[name][0] * 0.25]),
            torch.cat([first[name][1], second[name][1]], 1),
        )
        for name in first
    }
    assert_added(v2, plan, {"unet": stacked}, 1.0)


def test_weights_of_half_precision_are_rounded_once(models_dir):
    components = ModelStore("cpu", torch.bfloat16).load("base", "v2.safetensors")
    factors = tiny.lora_factors(components.unet, MOTION)
    save_file(tiny.authors_lora(factors), models_dir / "loras" / "half.safetensors")
    before = {name: tensor.clone() for name, tensor in components.unet.state_dict().items()}
    with applied(components, small(), planned(components, small("<lora:half:0.3>"))):
        for name, (down, up) in factors.items():
            weight = components.unet.get_parameter(f"{name}.weight")
            exact = before[f"{name}.weight"].float() + 0.3 * (up @ down)
            assert weight.dtype is torch.bfloat16
            torch.testing.assert_close(weight, exact.to(torch.bfloat16))


@pytest.fixture(scope="module")
def two(models_dir, store) -> tuple[str, str]:
    """Tags of a motion LoRA and of a spatial one."""
    unet = store.load("base", "v2.safetensors").unet
    save_file(tiny.authors_lora(tiny.lora_factors(unet, MOTION)), models_dir / "loras" / "move.safetensors")
    save_file(tiny.kohya_lora(tiny.lora_factors(unet, SPATIAL)), models_dir / "loras" / "style.safetensors")
    return "<lora:move:0.8>", "<lora:style>"


def test_two_requests_in_turn_give_the_clips_of_each_alone(store, two):
    plain, move, style = (small(f"a fox {tag}") for tag in ("", *two))
    alone = [run(request, store=ModelStore("cpu", torch.float32))[0] for request in (plain, move, style)]
    in_turn = [run(request, store=store)[0] for request in (move, style, plain, style, move)]
    for frames, expected in zip(in_turn, (alone[1], alone[2], alone[0], alone[2], alone[1]), strict=True):
        assert np.array_equal(frames, expected)
    assert not np.array_equal(alone[0], alone[1])
    assert not np.array_equal(alone[1], alone[2])


def test_a_weight_of_zero_gives_the_clip_without(store, two):
    without, _ = run(small("a fox running"), store=store)
    with_zero, _ = run(small(f"a fox <lora:move:0> running {two[1].replace('>', ':0>')}"), store=store)
    assert np.array_equal(with_zero, without)


@pytest.mark.parametrize("ending", ["success", "error", "close"])
def test_the_very_tensors_of_before_are_back_however_it_ends(ending, store, v2, two, models_dir):
    save_file({"emb_params": torch.randn(2, 32)}, models_dir / "embeddings" / "word.safetensors")
    request = small(f"a <lora:word> fox {''.join(two)}")
    before = states(v2)
    if ending == "error":
        with pytest.raises(ZeroDivisionError):
            list(generate(request, open_writer=KeptFrames().opener(), store=store, on_state=lambda _: 1 / 0))
    else:
        for event in (events := generate(request, open_writer=KeptFrames().opener(), store=store)):
            if event.stage is Stage.DENOISE:
                unet = store.load("base", "v2.safetensors").unet
                assert any(p.data_ptr() != before["unet"][n].data_ptr() for n, p in unet.named_parameters())
                break
        if ending == "close":
            events.close()
        else:
            assert isinstance(list(events)[-1], Clip)
    assert_as_before(v2, before)


def test_a_failure_while_merging_is_undone_too(v2, two):
    plan = planned(v2, small("".join(two)))
    broken = next(reversed(plan.additions))
    plan.additions[broken].append((1.0, None))
    before = states(v2)
    with pytest.raises(AttributeError), applied(v2, small(), plan):
        pass
    assert_as_before(v2, before)


def test_a_motion_lora_on_a_module_without_a_middle_block_warns_with_the_reason(store, two):
    frames, events = run(small(f"a fox {two[0]}", motion_module="v3.safetensors"), store=store)
    (warning,) = events[-1].warnings
    assert warning == (
        "'move.safetensors' was made for AnimateDiff v2. The motion module 'v3' has no middle block, so "
        "8 of the 168 layers do nothing here and the motion may be weaker."
    )
    assert any(warning == event.note for event in events[:-1])
    plain, _ = run(small("a fox", motion_module="v3.safetensors"), store=store)
    assert not np.array_equal(frames, plain)


def test_a_middle_block_that_adds_nothing_counts_as_none(v2, two):
    projection = v2.unet.mid_block.motion_modules[0].proj_out
    kept = [parameter.data for parameter in projection.parameters()]
    try:
        for parameter in projection.parameters():
            parameter.data = torch.zeros_like(parameter)
        assert "has no middle block" in planned(v2, small(two[0])).warnings[0]
    finally:
        for parameter, data in zip(projection.parameters(), kept, strict=True):
            parameter.data = data


def test_layers_that_fit_nothing_are_counted_in_a_warning(models_dir, v2):
    known = tiny.kohya_lora(tiny.lora_factors(v2.unet, SPATIAL))
    stranger = tiny.kohya_lora({"down_blocks.7.attentions.0.proj": (torch.ones(1, 4), torch.ones(4, 1))})
    save_file(known | stranger | {"extra.diff_b": torch.ones(2)}, models_dir / "loras" / "odd.safetensors")
    (warning,) = planned(v2, small("<lora:odd>")).warnings
    assert warning.startswith("'odd.safetensors' has 2 parts that fit nothing in this model and were left out")


def _refused(components: Components, tag: str) -> str:
    with pytest.raises(WeightsError) as error:
        planned(components, small(f"a fox {tag}"))
    return str(error.value)


def test_a_lora_of_which_nothing_fits_is_refused(models_dir, v2):
    other = tiny.kohya_lora({"transformer.layers.0.to_q": (torch.ones(1, 4), torch.ones(4, 1))})
    save_file(other, models_dir / "loras" / "none.safetensors")
    message = _refused(v2, "<lora:none>")
    assert message.startswith("lora must be made for the base model 'base' and its motion module, got 'none.safetens")
    assert "none of whose 1 layers is in it" in message


def test_a_motion_lora_whose_only_layers_are_the_middle_block_s_is_refused_without_one(models_dir, store, v2):
    factors = tiny.lora_factors(v2.unet, r"mid_block\." + MOTION)
    save_file(tiny.authors_lora(factors), models_dir / "loras" / "mid.safetensors")
    assert "none of whose 8 layers" in _refused(store.load("base", "v3.safetensors"), "<lora:mid>")


def test_a_lora_of_another_size_is_refused(models_dir, v2):
    wide = {"down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q": (torch.ones(4, 320), torch.ones(320, 4))}
    save_file(tiny.kohya_lora(wide), models_dir / "loras" / "wide.safetensors")
    assert "whose layer down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q has another size" in _refused(
        v2, "<lora:wide>"
    )


LAYER = "lora_unet_x"


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({f"{LAYER}.hada_w1_a": torch.ones(2, 2)}, "which is a LoHa. Choose a plain LoRA"),
        ({f"{LAYER}.lokr_w1": torch.ones(2, 2)}, "which is a LoKr"),
        ({f"{LAYER}.lora_up.weight": torch.ones(2, 2), f"{LAYER}.dora_scale": torch.ones(2)}, "which is a DoRA"),
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
    assert words in _refused(v2, "<lora:v2_lora_like>")


class _Hostile:
    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self):
        return Path.touch, (self.witness,)


def test_a_pickle_that_asks_to_run_code_is_refused_and_not_run(models_dir, v2, tmp_path):
    witness = tmp_path / "it ran"
    torch.save({"state_dict": {"a": _Hostile(witness)}}, models_dir / "loras" / "hostile.ckpt")
    message = _refused(v2, "<lora:hostile>")
    assert "lora must hold nothing but tensors, got 'hostile.ckpt', which asks to run code" in message
    assert str(models_dir) not in message
    assert not witness.exists()


def encoded(components: Components, request: GenerationRequest):
    plan = planned(components, request)
    with applied(components, request, plan):
        return encode_prompts(
            components.tokenizers,
            components.text_encoders,
            prompt=plan.prompt,
            negative_prompt=plan.negative_prompt,
            tokens=plan.tokens,
        )


def _letters(components: Components, word: str) -> torch.Tensor:
    ids = components.tokenizers[0](word, add_special_tokens=False).input_ids
    return components.text_encoders[0].get_input_embeddings().weight[ids].clone()


@pytest.mark.parametrize(
    "write",
    [
        lambda vectors, folder: torch.save(
            {"string_to_token": {"*": 265}, "string_to_param": {"*": vectors}, "name": "cat", "step": 500},
            folder / "cat.pt",
        ),
        lambda vectors, folder: torch.save({"<my-cat>": vectors}, folder / "cat.bin"),
        lambda vectors, folder: save_file({"emb_params": vectors}, folder / "cat.safetensors"),
    ],
)
def test_a_textual_inversion_of_a_word_s_own_vectors_is_that_word(write: Callable, models_dir, v2):
    for old in (models_dir / "embeddings").glob("cat.*"):
        old.unlink()
    write(_letters(v2, "cat"), models_dir / "embeddings")
    found = encoded(v2, small("a (big <lora:cat:0.9>:1.2) here", negative_prompt="<lora:cat>, bad"))
    expected = encoded(v2, small("a (big (cat:0.9):1.2) here", negative_prompt="cat, bad"))
    torch.testing.assert_close(found.positive, expected.positive)
    torch.testing.assert_close(found.negative, expected.negative)
    assert encoded(v2, small("a <lora:cat:0> x")).positive.equal(encoded(v2, small("a  x")).positive)


def test_a_textual_inversion_may_stand_in_a_key(models_dir, v2):
    save_file({"emb_params": _letters(v2, "dog")}, models_dir / "embeddings" / "key.safetensors")
    plan = planned(v2, small("0: a <lora:key>\n2: a fox"))
    assert plan.prompt == f"0: a {next(iter(plan.tokens))}\n2: a fox"


@pytest.mark.usefixtures("two")
def test_a_lora_acts_on_the_whole_clip_and_stands_in_no_key(v2):
    assert planned(v2, small("<lora:move:0.5>\n0: a fox\n2: a cat")).additions
    with pytest.raises(InvalidRequestError, match=r"^prompt must have the tags of LoRAs above or below") as error:
        planned(v2, small("0: a fox\n2: a cat <lora:move:0.5>"))
    assert "got 'move' in a key (line 2, column 16)" in str(error.value)


def test_two_textual_inversions_keep_apart(models_dir, v2):
    save_file({"emb_params": _letters(v2, "dog")}, models_dir / "embeddings" / "one.safetensors")
    save_file({"emb_params": _letters(v2, "x")[0]}, models_dir / "embeddings" / "other.safetensors")
    found = encoded(v2, small("<lora:one> and <lora:other> <lora:one>"))
    assert torch.allclose(found.positive, encoded(v2, small("dog and x dog")).positive, atol=1e-6)


def test_a_textual_inversion_for_another_text_encoder_is_refused(models_dir, v2):
    save_file({"emb_params": torch.ones(2, 1024)}, models_dir / "embeddings" / "sd2.safetensors")
    assert "got 'sd2.safetensors', with words of 1024 numbers" in _refused(v2, "<lora:sd2>")
    save_file({"clip_l": torch.ones(2, 32), "clip_g": torch.ones(2, 40)}, models_dir / "embeddings" / "xl.safetensors")
    assert "with words of 32, 40 numbers" in _refused(v2, "<lora:xl>")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"prompt": "<lora:mov>"}, "lora must be one of the catalog, got 'mov'. Choose 'move'"),
        (
            {"prompt": "<lora:v2_lora_Zoomin:0.5>"},
            "lora must be one of the catalog, got 'v2_lora_Zoomin'. Choose 'v2_lor",
        ),
        ({"prompt": "<lora:move:9>"}, "prompt must have LoRA weights from -2 to 2, got 9 for 'move'"),
        ({"prompt": "<lora:move:a>"}, "prompt must have LoRA tags like <lora:name:0.8>, got '<lora:move:a>'"),
        ({"negative_prompt": "<lora:move>"}, "negative_prompt must have no tags but those of textual inversions"),
        (
            {"prompt": "<lora:v2_lora_ZoomIn>", "base_model": "demo", "motion_module": "demo"},
            "lora must be made for the base model 'demo', got 'v2_lora_ZoomIn'",
        ),
    ],
)
@pytest.mark.usefixtures("two")
def test_what_is_wrong_with_a_tag_is_said_before_any_frame(settings, words, store):
    sink = KeptFrames()
    with pytest.raises(InvalidRequestError) as error:
        list(generate(small(**settings), open_writer=sink.opener(), store=store))
    assert str(error.value).startswith(words)
    assert not sink.parts


def test_the_catalog_s_loras_come_from_the_hub_and_only_when_asked_for(v2, tmp_path, monkeypatch):
    repository = tmp_path / "hub" / "guoyww" / "animatediff"
    repository.mkdir(parents=True)
    factors = tiny.lora_factors(v2.unet, MOTION)
    torch.save(tiny.authors_lora(factors), repository / "v2_lora_PanLeft.ckpt")
    torch.save({}, repository / "v2_lora_ZoomIn.ckpt")
    with serving(tmp_path / "hub") as hub:
        use_hub(monkeypatch, hub.url, tmp_path / "cache")
        plan = planned(v2, small("<lora:v2_lora_PanLeft:0.8> <lora:v2_lora_ZoomIn:0>"))
        assert hub.downloads == ["guoyww/animatediff/v2_lora_PanLeft.ckpt"]
    assert_added(v2, plan, {"unet": factors}, 0.8)


def test_the_recipe_carries_the_tags(store, two):
    request = small(f"a fox {two[0]}")
    frames, events = run(request, store=store)
    assert GenerationRequest.from_json(events[-1].recipe) == request
    again, _ = run(GenerationRequest.from_json(events[-1].recipe), store=store)
    assert np.array_equal(frames, again)
