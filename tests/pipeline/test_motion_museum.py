"""Published motion modules, from the museum's lists: each is told as what it is, loads, and takes turns with others."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNetMotionModel
from safetensors.torch import save_file

from pipelines.engine.models import ModelStore
from pipelines.engine.motion.files import inspect_motion
from pipelines.engine.motion.modules import build_motion_unet, can_hold, fill_motion_unet, load_motion_module
from pipelines.engine.weights.reading import read_shapes
from pipelines.plan import catalog
from pipelines.plan.errors import WeightsError
from pipelines.plan.model_files.headers import read_header
from pipelines.plan.motion_families import SpatialNorm
from tests.museum.motion import DOMAIN_ADAPTER, MOTION_FILES, MOTION_LORAS, NARROW, PAYLOADS, MotionFile, known
from tests.museum.repositories import KnownFile
from tests.museum.tensor_lists import DTYPES, TensorList
from tests.pipeline import tiny

#: One file of each layout.
DISTINCT = list({json.dumps(file.listed.tensors): name for name, file in MOTION_FILES.items()}.values())
PICKLES = [name for name in DISTINCT if not name.endswith(".safetensors")]
#: One file of each layout over time that fits Stable Diffusion 1.5.
LAYOUTS = [
    "mm_sd_v15.ckpt",
    "mm_sd_v15_v2.ckpt",
    "v3_sd15_mm.ckpt",
    "AnimateLCM_sd15_i2v.ckpt",
    "lt_long_mm_32_frames.ckpt",
    "lt_long_mm_16_64_frames_v1.1.ckpt",
    "pia.ckpt",
]
_PICKLED = range(512)  # bytes that a pickle has beside each tensor: its name, type and place


def write(folder: Path, name: str, weights: dict[str, torch.Tensor], payload: str = "plain") -> Path:
    path = folder / name
    if path.suffix == ".safetensors":
        save_file(weights, path)
    else:
        torch.save(PAYLOADS[payload](weights), path)
    return path


def published_as(listed: TensorList, metadata: dict[str, str]) -> int:
    """Bytes of the file that safetensors' own writer makes of a list."""
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    end = 0
    for name, (dtype, shape) in sorted(listed.tensors.items()):
        begin, end = end, end + DTYPES[dtype].itemsize * torch.Size(shape).numel()
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}
    length = len(json.dumps(header, separators=(",", ":")))
    return 8 + length + -length % 8 + end


PUBLISHED = [
    *((name, file.listed, known(file.repo, name)) for name, file in MOTION_FILES.items()),
    *((name, listed, known(repo, name)) for name, (repo, listed) in MOTION_LORAS.items()),
    ("v3_sd15_adapter.ckpt", DOMAIN_ADAPTER, known("guoyww/animatediff", "v3_sd15_adapter.ckpt")),
]
SIZED = [(name, listed, facts) for name, listed, facts in PUBLISHED if facts.bytes]


@pytest.mark.parametrize(("name", "listed", "facts"), SIZED, ids=[name for name, _, _ in SIZED])
def test_the_tensors_of_a_list_make_the_published_size(name: str, listed: TensorList, facts: KnownFile):
    assert facts.bytes is not None
    if name.endswith(".safetensors"):
        assert facts.bytes in (published_as(listed, {}), published_as(listed, {"format": "pt"}))
    else:
        assert (facts.bytes - listed.data_bytes) // len(listed.tensors) in _PICKLED


def test_eight_sizes_are_known():
    assert len(SIZED) >= 8


@pytest.mark.parametrize("name", MOTION_FILES)
def test_every_published_file_is_told_and_loads_bit_for_bit(name, tmp_path):
    file = MOTION_FILES[name]
    weights = file.listed.narrow(NARROW)
    loaded = load_motion_module(write(tmp_path, name, weights))
    require_told_as(loaded.family, file)
    assert loaded.adapter.config.use_motion_mid_block is file.mid_block
    found = loaded.adapter.state_dict()
    # Whatever they are called: every tensor of the file is in the module, but a second table of positions.
    expected = {key: w for key, w in weights.items() if ".1.pos_encoder" not in key and "img_encoder" not in key}
    tables = {key for key in found if key.endswith("pos_embed.pe")} if name.startswith("AnimateLCM") else set()
    assert len(found) - len(tables) == len(expected)
    stored = {tensor.numpy().tobytes() for tensor in expected.values()}
    assert all(found[key].numpy().tobytes() in stored for key in found.keys() - tables)


def require_told_as(family: Any, file: MotionFile) -> None:
    norm = SpatialNorm.WINDOW if file.window_norms else SpatialNorm.PER_FRAME
    assert (family.id, family.max_positions, family.spatial_norm) == (file.family, file.positions, norm)


@pytest.mark.parametrize("payload", PAYLOADS)
@pytest.mark.parametrize("name", PICKLES)
def test_a_file_is_told_whatever_its_name_and_whatever_is_around_its_tensors(name, payload, tmp_path):
    file = MOTION_FILES[name]
    path = write(tmp_path, "v3_sd15_mm.ckpt", file.listed.narrow(NARROW), payload)
    require_told_as(inspect_motion(path).family, file)
    assert read_header(path).shapes.items() >= read_shapes(path).items()


def test_a_local_pickle_brings_its_family_s_advice_before_it_is_read(tmp_path, configure):
    configure(models_dir=tmp_path)
    (tmp_path / "motion_modules").mkdir()
    listed = MOTION_FILES["lt_long_mm_32_frames.ckpt"].listed
    write(tmp_path / "motion_modules", "my own.ckpt", listed.narrow(NARROW), "of a training")
    own = catalog.complete({"base_model": catalog.STABLE_DIFFUSION, "motion_module": "my own.ckpt"})
    assert (own["context_length"], own["motion_scale"]) == (32, 1.15)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", DISTINCT)
def test_a_file_of_half_the_precision_is_the_same_module(name, dtype, tmp_path):
    weights = {key: tensor.to(dtype) for key, tensor in MOTION_FILES[name].listed.narrow(NARROW).items()}
    loaded = load_motion_module(write(tmp_path, name, weights))
    assert loaded.family.max_positions == MOTION_FILES[name].positions
    assert {tensor.dtype for tensor in loaded.adapter.state_dict().values()} == {dtype}


@pytest.mark.parametrize("name", DISTINCT)
def test_a_file_with_one_tensor_called_otherwise_is_refused(name, tmp_path):
    weights = MOTION_FILES[name].listed.narrow(NARROW)
    changed = next(key for key in weights if key.endswith("proj_out.bias"))
    weights[changed.replace("proj_out", "proj_ouf")] = weights.pop(changed)
    with pytest.raises(
        WeightsError, match=r"must be a whole motion module, got .*: it lacks 1 tensors, the first .*proj_out\.bias"
    ):
        inspect_motion(write(tmp_path, name, weights))


def test_every_module_takes_the_place_of_every_other(tmp_path):
    """In every order, in one UNet; what each gives is what it gives alone, so none leaves anything behind."""
    base = tiny.TinyBase(1).unet
    loaded = {
        name: load_motion_module(write(tmp_path, name, MOTION_FILES[name].listed.narrow(NARROW, seed=seed)))
        for seed, name in enumerate(LAYOUTS)
    }
    alone = {name: answer(build_motion_unet(base, module)) for name, module in loaded.items()}
    assert len({answer.numpy().tobytes() for answer in alone.values()}) == len(LAYOUTS)
    shared = build_motion_unet(base, loaded[LAYOUTS[0]])
    for name in each_after_each(LAYOUTS):
        assert can_hold(shared, base, loaded[name])
        fill_motion_unet(shared, base, loaded[name])
        assert torch.equal(answer(shared), alone[name]), name


def each_after_each(names: Sequence[str]) -> Iterator[str]:
    """An order in which each name follows each other one at once, somewhere."""
    for i, first in enumerate(names):
        yield first
        for other in names[i + 1 :]:
            yield other
            yield first


def answer(unet: UNetMotionModel) -> torch.Tensor:
    """What a UNet says to frames that differ."""
    generator = torch.Generator().manual_seed(4)
    sample = torch.randn(1, 4, 2, 8, 8, generator=generator) * torch.tensor([0.5, 1.5])[:, None, None]
    with torch.no_grad():
        return unet(sample, torch.tensor(500), torch.randn(2, 7, 32, generator=generator)).sample


def test_a_table_longer_than_any_published_one_builds_the_unet_anew(tmp_path, configure):
    configure(models_dir=tmp_path)
    for kind in ("base_models", "motion_modules"):
        (tmp_path / kind).mkdir()
    tiny.TinyBase(1).save_folder(tmp_path / "base_models" / "sd")
    for positions in (32, 64, 128, 160):
        adapter = tiny.motion_adapter(positions, positions=positions)
        write(tmp_path / "motion_modules", f"{positions}.ckpt", tiny.original_names(adapter))
    store = ModelStore("cpu", torch.float32)
    for positions in (32, 128, 32, 64, 160, 128):
        assert store.load("sd", f"{positions}.ckpt").family.max_positions == positions
