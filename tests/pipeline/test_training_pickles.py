"""Pickles as training programs leave them: read where only records of training are beside the tensors, never run."""

import pickle
import sys
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from pipelines.engine.weights.reading import read_weights
from pipelines.plan.errors import WeightsError

TENSORS = {"a.weight": torch.arange(6.0).view(2, 3), "b": torch.ones(2, dtype=torch.float16)}


@pytest.fixture
def lightning(monkeypatch) -> types.ModuleType:
    """The names of Lightning's that its checkpoints hold; gone again when the file is read."""
    name = "pytorch_lightning.callbacks.model_checkpoint"
    module = types.ModuleType(name)
    module.ModelCheckpoint = type("ModelCheckpoint", (), {"__module__": name})
    module.State = type("State", (), {"__module__": name})
    for part in ("pytorch_lightning", "pytorch_lightning.callbacks"):
        monkeypatch.setitem(sys.modules, part, types.ModuleType(part))
    monkeypatch.setitem(sys.modules, name, module)
    return module


def trained(lightning: types.ModuleType) -> dict[object, object]:
    """A checkpoint of Stable Diffusion 1's training: callbacks by their class, counters as numpy's numbers."""
    state = lightning.State()
    state.settings = {"every_n_train_steps": np.int64(5000)}
    return {
        "epoch": 0,
        "global_step": np.int64(470_000),
        "pytorch-lightning_version": "1.4.2",
        "callbacks": {
            lightning.ModelCheckpoint: {"monitor": None, "best_model_score": np.float64(0.1), "best_model_path": ""},
            "state": state,
        },
        "lr_schedulers": [{"last_epoch": 1, "base_lrs": [np.float32(1e-4)], "rates": np.ones(3)}],
        "state_dict": TENSORS,
    }


def test_a_checkpoint_of_lightning_is_read(tmp_path, lightning, monkeypatch):
    path = tmp_path / "sd-v1-4.ckpt"
    torch.save(trained(lightning), path)
    for name in [name for name in sys.modules if name.startswith("pytorch_lightning")]:
        monkeypatch.delitem(sys.modules, name)
    weights = read_weights(path)
    assert weights.keys() == TENSORS.keys()
    assert all(torch.equal(weights[name], tensor) for name, tensor in TENSORS.items())
    assert not any(name.startswith("pytorch_lightning") for name in sys.modules)


class _Call:
    """Calls what it is given when it is unpickled."""

    def __init__(self, what: object, *args: object) -> None:
        self.call = (what, args)

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.call


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("what", ["touch", "eval", "import"])
def test_what_would_run_code_is_refused_and_said_how_to_convert(what, protocol, tmp_path):
    witness = tmp_path / "it ran"
    call = {
        "touch": _Call(Path.touch, witness),
        "eval": _Call(eval, f"open({str(witness)!r}, 'w')"),
        "import": _Call(__import__, "this"),
    }[what]
    path = tmp_path / "hostile.ckpt"
    torch.save({"state_dict": TENSORS, "callbacks": call}, path, pickle_protocol=protocol)
    with pytest.raises(WeightsError, match=r"got 'hostile.ckpt', which asks to run code\. .*not opened\. .*convert it"):
        read_weights(path)
    assert not witness.exists()
    assert "this" not in sys.modules


def test_a_training_program_s_record_is_never_made_by_its_own_class(tmp_path, lightning):
    """Even where the class is there, it is not the one that is made."""
    ran = []
    lightning.State.__setstate__ = lambda self, state: ran.append((self, state))
    path = tmp_path / "trained.ckpt"
    torch.save(trained(lightning), path)
    assert read_weights(path).keys() == TENSORS.keys()
    assert ran == []


def test_files_from_before_torch_1_6_are_read_and_refused_alike(tmp_path):
    good, bad = tmp_path / "old.ckpt", tmp_path / "bad.ckpt"
    torch.save({"state_dict": TENSORS}, good, _use_new_zipfile_serialization=False)
    torch.save({"state_dict": TENSORS, "x": _Call(print, 1)}, bad, _use_new_zipfile_serialization=False)
    assert read_weights(good).keys() == TENSORS.keys()
    with pytest.raises(WeightsError, match="which asks to run code"):
        read_weights(bad)


def test_archives_that_are_not_torch_s_are_told(tmp_path):
    def archive(name: str, files: dict[str, bytes], how: int = zipfile.ZIP_STORED) -> Path:
        with zipfile.ZipFile(tmp_path / name, "w", how) as packed:
            for file, content in files.items():
                packed.writestr(file, content)
        return tmp_path / name

    bomb = pickle.dumps({}) + bytes(1 << 22)
    for path, words in (
        (archive("zip.ckpt", {"model.safetensors": b"x"}), r"an archive \(zip\) of other files"),
        (archive("script.pt", {"m/data.pkl": b"x", "m/code/a.py": b"x"}), "a TorchScript program"),
        (archive("bomb.ckpt", {"m/data.pkl": bomb}, zipfile.ZIP_DEFLATED), "packed in another way than torch's"),
    ):
        with pytest.raises(WeightsError, match=words):
            read_weights(path)


def test_tensors_larger_than_the_file_are_refused(tmp_path):
    path = tmp_path / "wide.ckpt"
    torch.save({"a": torch.zeros(1).expand(1 << 40)}, path)
    with pytest.raises(WeightsError, match="whose tensors are larger than the file"):
        read_weights(path)


def test_the_name_s_ending_does_not_decide_what_a_file_is(tmp_path):
    save_file(TENSORS, tmp_path / "really.ckpt")
    assert read_weights(tmp_path / "really.ckpt").keys() == TENSORS.keys()
    torch.save(TENSORS, tmp_path / "not.safetensors")
    with pytest.raises(WeightsError, match=r"a pickle or an archive under another name\. Rename it to \.ckpt"):
        read_weights(tmp_path / "not.safetensors")


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_python_s_own_pickles_are_told_by_what_they_ask_for(protocol, tmp_path):
    """They are not torch's, but nobody should download one again that asks to run code."""
    witness = tmp_path / "it ran"
    bad, plain = tmp_path / "bad.pt", tmp_path / "plain.pt"
    bad.write_bytes(pickle.dumps({"a": _Call(Path.touch, witness)}, protocol))
    plain.write_bytes(pickle.dumps({"a": [1.0, 2.0]}, protocol))
    with pytest.raises(WeightsError, match=r"got 'bad\.pt', which asks to run code"):
        read_weights(bad)
    with pytest.raises(WeightsError, match=r"got 'plain\.pt', which is cut off or not one at all"):
        read_weights(plain)
    assert not witness.exists()


@pytest.mark.parametrize("wrapper", ["state_dict", "string_to_param", "params_ema"])
def test_a_dict_that_holds_itself_comes_to_an_end(wrapper, tmp_path):
    path, ring = tmp_path / "ring.pt", dict[str, object](TENSORS)
    ring[wrapper] = {"model": ring}
    torch.save(ring, path)
    assert read_weights(path).keys() == TENSORS.keys()
