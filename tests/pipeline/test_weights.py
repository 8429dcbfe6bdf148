"""Reading weights: what is named by content, downloaded, damaged, unsafe, or not there."""

import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from pipelines.engine.models import ModelStore
from pipelines.engine.weights import reading
from pipelines.engine.weights.digests import sha256_of
from pipelines.engine.weights.reading import read_weights
from pipelines.plan.events import Progress, Stage
from pipelines.plan.request import GenerationRequest
from tests.pipeline import tiny
from tests.pipeline.loading import ORIGINALS, SD15, V2, V3, refusal_of
from tests.pipeline.sink import run
from tests.stand_in_hub import StandInHub, serving, use_hub


def test_only_what_is_needed_is_downloaded_and_only_once(hub: StandInHub, store):
    store.load(SD15, V2)
    first = list(hub.downloads)
    assert len(first) == len(set(first))
    weights = [name for name in first if name.endswith((".bin", ".ckpt", ".safetensors"))]
    assert sorted(weights) == [
        f"{V2}/diffusion_pytorch_model.safetensors",
        f"{SD15}/text_encoder/model.safetensors",
        f"{SD15}/unet/diffusion_pytorch_model.safetensors",
        f"{SD15}/vae/diffusion_pytorch_model.safetensors",
    ]
    ModelStore("cpu", torch.float32).load(SD15, V2)
    assert hub.downloads == first


@pytest.mark.usefixtures("hub")
def test_a_clip_tells_of_its_downloads_and_the_next_one_of_none(store):
    values = {"prompt": "a", "seed": 1, "num_frames": 2, "num_inference_steps": 1, "width": 64, "height": 64}
    request = GenerationRequest.build(**values, base_model=SD15, motion_module=ORIGINALS[V3])
    first, second = (run(request, store=store)[1] for _ in range(2))
    downloads = [event for event in first if isinstance(event, Progress) and "Downloading" in event.note]
    assert {event.note.split(":")[0] for event in downloads} == {
        "Downloading stable-diffusion-v1-5",
        "Downloading v3_sd15_mm.ckpt",
    }
    assert (downloads[-1].stage, downloads[-1].step) == (Stage.LOAD, downloads[-1].total)
    assert [event.note for event in second if isinstance(event, Progress) and event.stage is Stage.LOAD] == [
        "Stable Diffusion 1.5 with AnimateDiff v3, original file"
    ]


def test_the_weights_are_named_by_their_content(hub: StandInHub, store):
    unet = hub.root / SD15 / "unet" / "diffusion_pytorch_model.safetensors"
    weights = store.load(SD15, V2).weights
    assert weights.keys() == {"text_encoder", "unet", "vae", "motion_module"}
    assert weights["unet"] == hashlib.sha256(unet.read_bytes()).hexdigest()
    assert store.load("Lykon/DreamShaper", V2).weights.keys() == {"checkpoint", "motion_module"}


def test_a_changed_file_has_another_name(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"one")
    before = sha256_of(path)
    path.write_bytes(b"another")
    assert sha256_of(path) != before


def test_offline_the_way_out_is_named_at_once(hub: StandInHub, store, tmp_path):
    hub.stop()
    assert refusal_of(store, SD15, V2, secret=tmp_path) == (
        f"base_model must be downloadable, got '{SD15}': the Hub can't be reached. "
        "Choose the base model 'demo', which ships with the app, or connect to the internet."
    )
    assert "got 'Lykon/DreamShaper/DreamShaper_8_pruned" in refusal_of(store, "Lykon/DreamShaper", V2, secret=tmp_path)


def test_what_was_downloaded_once_loads_offline(hub: StandInHub, store):
    online = store.load("Lykon/DreamShaper", ORIGINALS[V3])
    hub.stop()
    offline = ModelStore("cpu", torch.float32).load("Lykon/DreamShaper", ORIGINALS[V3])
    assert offline.weights == online.weights


def test_half_a_model_in_the_cache_is_not_taken_for_a_whole_one_offline(hub: StandInHub, store, tmp_path):
    store.load("Lykon/DreamShaper", V2)  # brings the configurations of SD 1.5, but not its weights
    hub.stop()
    assert f"got '{SD15}': the Hub can't be reached" in refusal_of(store, SD15, V2, secret=tmp_path)


def test_a_repository_or_file_that_is_gone_is_said_so(tmp_path, monkeypatch, store):
    (tmp_path / "hub" / "Lykon" / "DreamShaper").mkdir(parents=True)
    with serving(tmp_path / "hub") as hub:
        use_hub(monkeypatch, hub.url, tmp_path / "cache")
        assert refusal_of(store, SD15, V2, secret=tmp_path).startswith("base_model must be open to all on the Hub, got")
        gone = refusal_of(store, "Lykon/DreamShaper", V2, secret=tmp_path)
        assert gone.startswith("base_model must be a file on the Hub, got 'Lykon/DreamShaper/DreamShaper_8_pruned")


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda content: content[:-100], "cut off: "),
        (lambda _: b"no weights at all" * 100, "cut off or not one at all. "),
        (lambda _: b"", "empty. "),
    ],
)
@pytest.mark.parametrize("name", ["base.safetensors", "motion.safetensors", "motion.ckpt"])
def test_damaged_files_are_refused_in_words(name, damage, words, store, models_dir, bases, adapters, tmp_path):
    base_model, motion_module = (name, V2) if name.startswith("base") else (SD15, name)
    path = models_dir / ("base_models" if name.startswith("base") else "motion_modules") / name
    if name.startswith("base"):
        bases[SD15].save_checkpoint(path)
    elif name.endswith(".ckpt"):
        torch.save(tiny.original_names(adapters[V2]), path)
    else:
        save_file(tiny.original_names(adapters[V2]), path)
    path.write_bytes(damage(path.read_bytes()))
    message = refusal_of(store, base_model, motion_module, secret=tmp_path)
    kind = "file of tensors" if name.endswith(".ckpt") else "safetensors file"
    field = "base_model" if name.startswith("base") else "motion_module"
    expected = "cut off or not one at all. " if name.endswith(".ckpt") and words.startswith("cut") else words
    assert message.startswith(f"{field} must be a whole {kind}, got '{name}', which is {expected}")
    assert message.endswith("or choose another.")


class _Hostile:
    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self):
        return Path.touch, (self.witness,)


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("kind", ["base_models", "motion_modules"])
def test_a_pickle_that_asks_to_run_code_is_refused_and_not_run(kind, store, models_dir, tmp_path):
    witness = tmp_path / "it ran"
    torch.save({"state_dict": {"a": _Hostile(witness)}}, models_dir / kind / "hostile.ckpt")
    pair = ("hostile.ckpt", V2) if kind == "base_models" else (SD15, "hostile.ckpt")
    assert "got 'hostile.ckpt', which asks to run code." in refusal_of(store, *pair, secret=tmp_path)
    assert not witness.exists()


@pytest.mark.usefixtures("hub")
def test_numbers_that_are_none_are_refused(store, models_dir, bases, adapters, tmp_path):
    weights = tiny.original_names(adapters[V2])
    next(iter(weights.values())).view(-1)[0] = float("nan")
    save_file(weights, models_dir / "motion_modules" / "nan.safetensors")
    assert "got 'nan.safetensors' with NaN or infinity in" in refusal_of(
        store, SD15, "nan.safetensors", secret=tmp_path
    )
    checkpoint = bases[SD15].checkpoint()
    checkpoint["model.diffusion_model.out.2.bias"] = torch.full((4,), float("inf"))
    save_file(
        {name: tensor.contiguous() for name, tensor in checkpoint.items()},
        models_dir / "base_models" / "inf.safetensors",
    )
    assert "base_model must hold finite numbers" in refusal_of(store, "inf.safetensors", V2, secret=tmp_path)


def test_a_pickle_is_read_in_turns_and_stands_on_the_disk_once(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(reading, "_TURN", 100)
    shared = torch.arange(60, dtype=torch.float32)
    tensors = {"a": shared[:30], "b": shared[30:], "c": torch.ones(3, 7).t(), "d": torch.tensor(2.0)}
    for zipped in (True, False):  # as torch writes since 1.6, and before
        path = tmp_path / f"weights-{zipped}.ckpt"
        content = {"state_dict": {f"module.{name}": tensor for name, tensor in tensors.items()}}
        torch.save(content, path, _use_new_zipfile_serialization=zipped)
        read = read_weights(path)
        assert read.keys() == tensors.keys()
        assert all(torch.equal(read[name], tensor) for name, tensor in tensors.items())
    assert not list((tmp_path / "cache").rglob("*.safetensors"))
