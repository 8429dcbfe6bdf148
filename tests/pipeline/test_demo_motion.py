"""The embedded model's further motion modules and its motion LoRAs: the true formats, and what they do to a clip.

The scores over many prompts are `make score-demo`'s; here a few guard the chain.
"""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from pipelines.engine.lora.files import LoraKind, read_lora
from pipelines.engine.models import ModelStore
from pipelines.engine.motion.modules import load_motion_module
from pipelines.plan import catalog
from pipelines.plan.catalog import complete
from pipelines.plan.catalog_entries import ASSETS
from pipelines.plan.request import GenerationRequest
from scripts.train_demo.detect import read_camera, read_clip
from scripts.train_demo.score_loras import amount
from tests.pipeline.sink import run

MODULES = ASSETS / "demo/motion_modules"
LORAS = sorted((ASSETS / "demo/loras").glob("*.safetensors"))
LORA_KEY = re.compile(
    r"((down|up)_blocks\.\d|mid_block)\.motion_modules\.\d\.temporal_transformer\.transformer_blocks\.0"
    r"\.attention_blocks\.[01]\.processor\.to_(q|k|v|out)_lora\.(down|up)\.weight"
)
STILL = "a small red square standing still on a spotted blue background"


@pytest.fixture(scope="module")
def store() -> ModelStore:
    return ModelStore("cpu", torch.float32)


def clip(store: ModelStore, prompt: str, **settings) -> np.ndarray:
    request = GenerationRequest.build(**complete({"prompt": prompt, "base_model": "demo", "seed": 5, **settings}))
    return run(request, store=store)[0]


def test_the_original_file_is_the_diffusers_folder():
    file, folder = (
        load_motion_module(MODULES / "demo_v2.safetensors"),
        load_motion_module(ASSETS / "demo/motion_adapter"),
    )
    assert file.family == folder.family
    ours, theirs = file.adapter.config, folder.adapter.config
    assert list(ours.block_out_channels) == list(theirs.block_out_channels)
    heads_and_groups = ("motion_num_attention_heads", "motion_norm_num_groups", "motion_max_seq_length")
    assert [ours[name] for name in heads_and_groups] == [theirs[name] for name in heads_and_groups]
    tensors = folder.adapter.state_dict()
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in file.adapter.state_dict().items())


@pytest.mark.parametrize(
    ("name", "family", "has_mid"), [("v2", "v2", True), ("v3", "v3", False), ("lcm", "demo-lcm", True)]
)
def test_each_module_is_a_file_of_the_authors_kind(name: str, family: str, has_mid: bool):
    path = MODULES / f"demo_{name}.safetensors"
    loaded = load_motion_module(path)
    assert (loaded.family.id, loaded.family.max_positions) == (family, 32)
    assert (loaded.adapter.mid_block is not None) == has_mid
    assert all(".temporal_transformer." in key for key in load_file(path))


@pytest.mark.parametrize("module", ["demo-v3", "demo-lcm"])
def test_the_other_modules_do_what_prompts_say(store: ModelStore, module: str):
    seen = [
        read_clip(clip(store, "a large red circle moving right on a blue background", motion_module=module)),
        read_clip(clip(store, "a large white heart moving up on a black background", motion_module=module)),
    ]
    assert [(scene.colour, scene.background, scene.motion) for scene in seen] == [
        ("red", "blue", "right"),
        ("white", "black", "up"),
    ]


def test_four_steps_without_guidance_come_with_the_distilled_module():
    values = complete({"prompt": "x", "base_model": "demo", "motion_module": "demo-lcm"})
    assert (values["num_inference_steps"], values["guidance_scale"], values["scheduler"]) == (4, 1.0, "lcm")


@pytest.mark.parametrize("path", LORAS, ids=lambda path: path.stem)
def test_each_lora_is_a_small_file_of_the_published_format(path: Path, store: ModelStore):
    lora = read_lora(path)
    assert path.stat().st_size <= 300_000
    assert all(LORA_KEY.fullmatch(key) for key in load_file(path))
    assert lora.kind is LoraKind.MOTION
    targets = dict(store.load("demo", "demo", "").lora_targets["unet"].named_parameters())
    assert len(lora.layers["unet"]) == sum(
        name.endswith(("to_q.weight", "to_k.weight", "to_v.weight", "to_out.0.weight")) and ".motion_modules." in name
        for name in targets
    )
    assert catalog.find_lora(path.stem).family == "demo"


def test_there_are_eight():
    assert len(LORAS) == 8


@pytest.mark.parametrize("camera", ["pan left", "zoom in", "roll clockwise"])
def test_a_lora_moves_the_camera_by_its_weight(store: ModelStore, camera: str):
    tag = f"<lora:demo-{camera.replace(' ', '-')}:"
    whole, half = (read_camera(clip(store, f"{STILL} {tag}{weight}>")) for weight in (1, 0.5))
    assert whole.camera == camera
    assert amount(camera, whole) > amount(camera, half) > -0.05


def test_a_lora_that_weighs_nothing_changes_nothing(store: ModelStore):
    tag = "<lora:demo-pan-left:"
    none, without, some = (clip(store, f"{STILL} {end}", num_inference_steps=2) for end in (f"{tag}0>", "", f"{tag}1>"))
    assert np.array_equal(none, without)
    assert not np.array_equal(some, without)
