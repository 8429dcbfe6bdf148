"""SparseCtrl encoders: both kinds compute what their authors do, in every format; other files are refused."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from diffusers import SparseControlNetModel
from safetensors.torch import save_file

from pipelines.engine.steering.control.sparse_ctrl import load_sparse_ctrl
from pipelines.engine.weights.reading import read_weights
from pipelines.plan.choices import MotionNorm
from pipelines.plan.errors import WeightsError
from tests.pipeline import original

LIMIT = 2e-6  # relative L2 error in float32, as for motion modules
OTHER = 1e-3  # what is no rounding any more; an encoder sees blank frames, whose norms differ less
CHANNELS, FRAMES, STEP = (64, 64, 128, 128), 5, 500
KINDS = {"rgb": (4, 8), "scribble": (3, 64)}  # channels of a picture, and its size
_LAST = "controlnet_mid_block.bias"
of_one_kind = pytest.mark.parametrize("published", ["rgb"], indirect=True)


@dataclass(frozen=True)
class Published:
    """One kind's file, and what is in it for the reference."""

    path: Path
    encoder: original.Original
    control: original.Weights


@pytest.fixture(scope="module", params=KINDS)
def published(request, tmp_path_factory) -> Published:
    base = original.base_unet(CHANNELS, original.GROUPS)
    motion = original.motion_weights(CHANNELS, is_encoder=True)
    control = original.control_weights(CHANNELS, request.param)
    inside = ("conv_in.", "time_embedding.", "down_blocks.", "mid_block.")
    spatial = {name: tensor for name, tensor in base.state_dict().items() if name.startswith(inside)}
    path = tmp_path_factory.mktemp("weights") / f"v3_sd15_sparsectrl_{request.param}.ckpt"
    weights = {f"module.{name}": tensor for name, tensor in (spatial | motion | control).items()}
    torch.save({"animatediff_config": "none", "controlnet": weights}, path)
    return Published(path, original.Original(base, motion), control)


@pytest.fixture(scope="module")
def loaded(published) -> SparseControlNetModel:
    return load_sparse_ctrl(published.path)


def conditions(kind: str, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Pictures [C, F, h, w] for the first frame and the last, their mask [1, F, h, w], and a text [T, D]."""
    channels, size = KINDS[kind]
    generator = torch.Generator().manual_seed(seed)
    mask = torch.zeros(1, FRAMES, size, size)
    mask[:, [0, -1]] = 1
    picture = torch.randn(channels, FRAMES, size, size, generator=generator) * mask
    return picture, mask, torch.randn(7, 24, generator=generator)


def outputs(encoder: SparseControlNetModel, *seeds: int) -> list[torch.Tensor]:
    """Ours, each [B·F, C, h, w], outermost first; the sample is noise that must not matter."""
    kind = "rgb" if encoder.config.use_simplified_condition_embedding else "scribble"
    pictures, masks, texts = map(torch.stack, zip(*(conditions(kind, seed) for seed in seeds), strict=True))
    with torch.no_grad():
        down, middle = encoder(
            torch.randn(len(seeds), 4, FRAMES, 8, 8),
            torch.tensor(STEP),
            texts.repeat_interleave(FRAMES, dim=0),
            controlnet_cond=pictures,
            conditioning_mask=masks,
            return_dict=False,
        )
    return [*down, middle]


def expected(published: Published, seed: int) -> list[torch.Tensor]:
    picture, mask, text = conditions("rgb" if "rgb" in published.path.name else "scribble", seed)
    picture, mask = picture.transpose(0, 1), mask.transpose(0, 1)
    return original.sparse_ctrl(published.encoder, published.control, picture, mask, timestep=STEP, text=text)


def errors(tensors: list[torch.Tensor], expected_tensors: list[torch.Tensor]) -> list[float]:
    return [original.relative_error(tensor, other) for tensor, other in zip(tensors, expected_tensors, strict=True)]


def test_every_output_is_what_the_authors_compute(published, loaded):
    assert max(errors(outputs(loaded, 1), expected(published, 1))) <= LIMIT


def test_with_guidance_each_half_is_computed_as_if_alone(published, loaded):
    expected_halves = [torch.cat(halves) for halves in zip(expected(published, 1), expected(published, 2), strict=True)]
    assert max(errors(outputs(loaded, 1, 2), expected_halves)) <= LIMIT


def test_the_norm_of_diffusers_would_be_seen(published, loaded, monkeypatch):
    monkeypatch.setattr(loaded.motion_state, "norm", MotionNorm.DIFFUSERS)
    assert min(errors(outputs(loaded, 1), expected(published, 1))[1:]) > OTHER


def test_it_is_the_same_from_every_format(published, loaded, tmp_path):
    weights = read_weights(published.path)
    torch.save({"state_dict": weights}, tmp_path / "a.pth")
    save_file(weights, tmp_path / "a.safetensors")
    loaded.save_pretrained(tmp_path / "folder")
    for name in ("a.pth", "a.safetensors", "folder"):
        again = load_sparse_ctrl(tmp_path / name).state_dict()
        assert again.keys() == loaded.state_dict().keys()
        assert all(torch.equal(again[key], tensor) for key, tensor in loaded.state_dict().items()), name


@of_one_kind
def test_it_is_frozen_and_of_the_wanted_number_type(published):
    encoder = load_sparse_ctrl(published.path, dtype=torch.float16)
    assert not encoder.training
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    assert {tensor.dtype for tensor in encoder.state_dict().values()} == {torch.float16}


@of_one_kind
def test_positions_may_be_left_out(published, loaded, tmp_path):
    weights = {key: tensor for key, tensor in read_weights(published.path).items() if "pos_encoder" not in key}
    torch.save({"controlnet": weights}, tmp_path / "a.ckpt")
    assert max(errors(outputs(load_sparse_ctrl(tmp_path / "a.ckpt"), 1), outputs(loaded, 1))) <= LIMIT


@of_one_kind
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda w: {k: v for k, v in w.items() if "motion_modules" in k}, "which is a motion module. Put it into"),
        (lambda w: {k: v for k, v in w.items() if "motion_modules" not in k}, "which is a ControlNet."),
        (lambda _: {"something.weight": torch.ones(1)}, "which is of no kind known here."),
        (lambda w: {k: v for k, v in w.items() if k != _LAST}, f"it lacks 1 tensors, the first {_LAST}"),
        (lambda w: {k: v for k, v in w.items() if "resnets.0.conv1" not in k}, "it lacks down_blocks.0.resnets.0"),
        (lambda w: {k: v for k, v in w.items() if not k.startswith("down_blocks.3.")}, "its layers make no encoder"),
        (lambda w: w | {"more.bias": torch.ones(1)}, "it has 1 tensors too many, the first more.bias"),
        (lambda w: w | {_LAST: torch.ones(3)}, f"{_LAST} has the shape 3 where 128 is needed"),
        (lambda w: w | {_LAST: torch.full((128,), torch.nan)}, f"with NaN or infinity in {_LAST}"),
    ],
)
def test_other_kinds_and_broken_files_are_refused_in_words(change, reason, published, tmp_path):
    path = tmp_path / "v3_sd15_sparsectrl.safetensors"
    save_file(change(read_weights(published.path)), path)
    assert reason in refusal(path)


@of_one_kind
def test_a_folder_of_another_model_and_a_missing_file_are_refused(published, tmp_path):
    published.encoder.base.save_config(tmp_path / "unet")
    assert refusal(tmp_path / "unet").endswith("got 'unet', which is a UNet2DConditionModel. Choose another.")
    assert "'nothing.ckpt', which is missing" in refusal(tmp_path / "nothing.ckpt")


def refusal(path: Path) -> str:
    with pytest.raises(WeightsError) as error:
        load_sparse_ctrl(path)
    assert str(error.value).startswith("controls must ")
    assert str(path.parent) not in str(error.value)
    return str(error.value)
