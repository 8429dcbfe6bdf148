"""Files of every kind, cut, edited, and put where they don't belong: read, or refused in words, in bounded memory."""

import json
import random
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import save_file

from pipelines.engine.base_models.files import locate_base
from pipelines.engine.base_models.parts import check_base, load_base
from pipelines.engine.base_models.vae_files import load_vae, locate_vae
from pipelines.engine.lora.files import read_lora
from pipelines.engine.motion.files import inspect_motion
from pipelines.engine.steering.adapter_files import locate_adapter, read_adapter
from pipelines.engine.steering.control.files import load_control_net, locate_control
from pipelines.engine.steering.control.sparse_ctrl import load_sparse_ctrl
from pipelines.plan import catalog
from pipelines.plan.architecture import Architecture
from pipelines.plan.catalog_entries import ControlNet, Entry, IPAdapter, Vae
from pipelines.plan.errors import UserError
from tests.pipeline import tiny
from tests.pipeline.lora import formats

_EACH = 24  # damaged files of each kind
_MEMORY = 1 << 28  # bytes that reading a file of 1 MB may take
_WORDS_OF_LIBRARIES = ("Traceback", "Error(", "Error:", "Exception", "torch.Size", "<class", "object at 0x", "Tensor(")


def entry(kind: type[Entry], path: Path) -> Entry:
    return kind(id=path.name, label="", description="", source="local", repo=str(path), licence="")


def load_base_file(path: Path) -> None:
    files = locate_base(catalog.find_base_model(path.name))
    check_base(files)
    load_base(files, "cpu", torch.float32)


def load_vae_file(path: Path) -> None:
    vae = entry(Vae, path)
    load_vae(vae, locate_vae(vae, Architecture.SD15), Architecture.SD15, device="cpu", dtype=torch.float32)


def load_control_file(path: Path) -> None:
    files = locate_control(entry(ControlNet, path))
    load_control_net(files, tiny.TinyBase().configs["unet"], device="cpu", dtype=torch.float32)


def load_adapter_file(path: Path) -> None:
    read_adapter(locate_adapter(entry(IPAdapter, path)), device="cpu", dtype=torch.float32)


LOADERS: dict[str, Callable[[Path], object]] = {
    "base_models": load_base_file,
    "vaes": load_vae_file,
    "motion_modules": lambda path: inspect_motion(path).read(torch.float32),
    "loras": read_lora,
    "controlnets": load_control_file,
    "ip_adapters": load_adapter_file,
}


LISTS: dict[str, Callable[[], Sequence[Entry]]] = {
    "base_models": catalog.base_models,
    "vaes": catalog.vaes,
    "motion_modules": catalog.motion_modules,
    "loras": catalog.loras,
    "controlnets": catalog.controlnets,
    "ip_adapters": catalog.ip_adapters,
}


@pytest.fixture(scope="module")
def weights() -> dict[str, dict[str, torch.Tensor]]:
    """A small file of each kind, under the true names, by the folder it belongs in."""
    base, adapter = tiny.TinyBase(1), tiny.motion_adapter(2)
    unets = formats.lora_factors(base.unet, r"attn\d\.to_(q|k|v|out\.0)$")
    return {
        "base_models": base.checkpoint(),
        "vaes": tiny.vae_checkpoint(base),
        "motion_modules": tiny.original_names(adapter),
        "loras": formats.kohya_lora(unets),
        "controlnets": tiny.published_control(tiny.control_net(base.unet)),
        "ip_adapters": tiny.ip_adapter([(16, 32)] * 16, "base"),
    }


DTYPES = ["F64", "F16", "I64", "U16", "F8_E4M3", "F8_E8M0", "F4", "C64", "what", None]
SHAPES = [[], [0], [-1], [1 << 62, 4], ["4"], None, [7, 7], [1] * 99]
PLACES = [[0, 0], [0, 1 << 62], [-4, 4], [8, 4], ["a", "b"], None, [0]]
NAMES = ["", "\0", "/../x", "\ud800", ".weight", "x" * 4096]
NOTES = [None, 4, {"a": 1}, {"format": "pt", "x": "[" * 10000}]
#: What may be done to a header, at the name of one of its tensors.
EDITS: list[Callable[[dict, str, random.Random], object]] = [
    lambda header, name, rng: header[name].update(dtype=rng.choice(DTYPES)),
    lambda header, name, rng: header[name].update(shape=rng.choice(SHAPES)),
    lambda header, name, rng: header[name].update(data_offsets=rng.choice(PLACES)),
    lambda header, name, _: header.pop(name),
    lambda header, name, rng: header.update({name + rng.choice(NAMES): header.pop(name)}),
    lambda header, name, rng: header.update({name: rng.choice([None, 4, "x", [], {}])}),
    lambda header, _, rng: header.update(__metadata__=rng.choice(NOTES)),
    lambda header, name, _: header[name].update(extra="x"),
]
TEXTS = [b"[" * 100_000 + b"]" * 100_000, b"{}", b"null", b'{"a":1', b'{"a":' * 50_000]


def edited(content: bytes, rng: random.Random) -> bytes:
    """A .safetensors file with its header changed, or replaced, or of another length than it says."""
    length = struct.unpack("<Q", content[:8])[0]
    header, body = json.loads(content[8 : 8 + length]), content[8 + length :]
    rng.choice(EDITS)(header, rng.choice([name for name in header if name != "__metadata__"]), rng)
    text = rng.choice(TEXTS) if rng.random() < 0.2 else json.dumps(header).encode("utf-8", "replace")
    number = rng.choice([len(text)] * 6 + [0, 1, 1 << 24, 1 << 40, (1 << 64) - 1])
    return struct.pack("<Q", number) + text + body


def damaged(content: bytes, rng: random.Random, *, mapped: bool) -> bytes:
    way = rng.randrange(4)
    if way == 0:
        return content[: rng.randrange(len(content))]
    if way == 1:
        spoiled = bytearray(content)
        for _ in range(rng.choice([1, 8, 64])):
            spoiled[rng.randrange(min(len(content), rng.choice([64, 4096, len(content)])))] = rng.randrange(256)
        return bytes(spoiled)
    if way == 2 and not mapped:
        return content + bytes(rng.randrange(1000))
    return edited(content, rng) if mapped else content[rng.randrange(64) :]


def require_words(load: Callable[[Path], object], path: Path) -> str | None:
    """Load a file; anything but success or a refusal in words fails."""
    before = psutil.Process().memory_info().rss
    try:
        load(path)
        text = None
    except UserError as refused:
        text = str(refused)
    assert psutil.Process().memory_info().rss - before < _MEMORY, path.name
    if text is not None:
        assert path.name in text, text
        assert str(path.parent) not in text, text
        assert not [word for word in _WORDS_OF_LIBRARIES if word in text], text
        assert " must " in text, text
        assert text.endswith("."), text
    return text


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("mapped", [True, False], ids=["safetensors", "pickle"])
@pytest.mark.parametrize("kind", LOADERS)
def test_damaged_files_are_read_or_refused_in_words(kind, mapped, weights, models_dir):
    folder = models_dir / kind
    folder.mkdir(exist_ok=True)
    if kind == "ip_adapters":
        tiny.image_encoder().save_pretrained(folder / "image_encoder")
    path = folder / ("file.safetensors" if mapped else "file.ckpt")
    if mapped:
        save_file({name: tensor.contiguous() for name, tensor in weights[kind].items()}, path, {"format": "pt"})
    else:
        torch.save({"state_dict": weights[kind]}, path)
    whole = path.read_bytes()
    assert require_words(LOADERS[kind], path) is None
    rng, refused = random.Random(f"{kind} {mapped}"), 0
    for number in range(_EACH):
        spoiled = folder / f"{number}{path.suffix}"
        spoiled.write_bytes(damaged(whole, rng, mapped=mapped))
        refused += require_words(LOADERS[kind], spoiled) is not None
        spoiled.unlink()
    assert refused > _EACH // 3
    assert {path_left.name for path_left in folder.iterdir()} <= {path.name, "image_encoder"}


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("kind", LOADERS)
def test_every_kind_in_every_other_folder_is_told_what_it_is(kind, weights, models_dir):
    folder = models_dir / kind
    folder.mkdir(exist_ok=True)
    for other in weights.keys() - {kind}:
        path = folder / f"{other}.safetensors"
        save_file({name: tensor.contiguous() for name, tensor in weights[other].items()}, path)
        text = require_words(LOADERS[kind], path)
        assert text is not None, other
        assert f"'{other}'" in text, text  # the folder where it belongs


#: What may stand in the place of a tensor in a file that is well-formed all the same.
ODD: list[Callable[[torch.Tensor], torch.Tensor | None]] = [
    lambda _: None,
    lambda _: torch.ones(()),
    lambda tensor: tensor.flatten(),
    lambda tensor: tensor[None],
    lambda _: torch.zeros(0, 4),
    lambda tensor: torch.ones(tensor.shape, dtype=torch.int64),
    lambda tensor: tensor.to(torch.bool),
]
_ODD_EACH = 2


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("kind", [*LOADERS, "sparse_ctrls"])
def test_odd_tensors_in_well_formed_files_are_read_or_refused_in_words(kind, weights, models_dir):
    load = LOADERS.get(kind, load_sparse_ctrl)
    folder = folder_for("controlnets" if kind == "sparse_ctrls" else kind, models_dir)
    path, rng = folder / "odd.safetensors", random.Random(kind)
    encoder = tiny.sparse_control(tiny.TinyBase(1).unet, "scribble")
    tensors = tiny.published_encoder(encoder) if kind == "sparse_ctrls" else weights[kind]
    layers = [name for name in tensors if not name.startswith("ip_adapter.")]  # told by `refuse_other_unet`
    for change in ODD:
        for name in rng.sample(layers, _ODD_EACH):
            odd = change(tensors[name])
            remaining = {other: tensor for other, tensor in tensors.items() if other != name}
            changed = remaining if odd is None else remaining | {name: odd}
            save_file({name: tensor.contiguous() for name, tensor in changed.items()}, path)
            require_words(load, path)
            assert path.name in [listed.id for listed in LISTS[folder.name]()], name


NOTES_OF_MOTION = [
    {"motion_family": "pia"},
    {"motion_num_attention_heads": "many"},
    {"motion_num_attention_heads": "9" * 5000},
    {"motion_num_attention_heads": "-8"},
    {"motion_norm_num_groups": "0"},
]


@pytest.mark.parametrize("notes", NOTES_OF_MOTION, ids=[" ".join(notes) for notes in NOTES_OF_MOTION])
def test_a_motion_module_s_notes_that_make_no_module_are_refused_in_words(notes, weights, models_dir):
    path = folder_for("motion_modules", models_dir) / "noted.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in weights["motion_modules"].items()}, path, notes)
    text = require_words(LOADERS["motion_modules"], path)
    assert text is not None
    assert "must be a whole motion module" in text


@pytest.mark.parametrize(
    "changed", [{"shape": ["4"]}, {"shape": [1e400]}, {"shape": [None]}, {"note": []}, {"note": 4}]
)
def test_one_damaged_header_leaves_the_lists_as_they_are(changed, models_dir):
    """A glance for the list's sake fails for nobody else's models."""
    entry = {"dtype": "F32", "shape": changed.get("shape", []), "data_offsets": [0, 4]}
    name = "down_blocks.0.motion_modules.0.temporal_transformer.transformer_blocks.0.attention_blocks.0.pos_encoder.pe"
    header = json.dumps({name: entry, "__metadata__": {"motion_family": changed.get("note", "")}}).encode()
    path = folder_for("motion_modules", models_dir) / "damaged.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    assert path.name in [listed.id for listed in catalog.motion_modules()]


NO_WEIGHTS = {
    "empty": (b"", "empty"),
    "page": (b"\n<!DOCTYPE html><html><body>Log in</body></html>", "a web page"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 4265146304\n", "Git LFS"),
    "gguf": (b"GGUF\x03\0\0\0" + bytes(100), "a GGUF file"),
    "zip": (b"PK\x05\x06" + bytes(18), None),
    "gzip": (b"\x1f\x8b\x08" + bytes(100), "an archive"),
    "picture": (b"\x89PNG\r\n\x1a\n" + bytes(100), "a picture"),
    "text": (b"no weights " * 100, "cut off or not one at all"),
    "zeros": (bytes(4096), None),
}


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("ending", [".safetensors", ".ckpt", ".bin"])
@pytest.mark.parametrize("kind", LOADERS)
def test_files_that_hold_no_weights_are_told_what_they_are(kind, ending, models_dir):
    folder = models_dir / kind
    folder.mkdir(exist_ok=True)
    for name, (content, words) in NO_WEIGHTS.items():
        path = folder / f"{name}{ending}"
        path.write_bytes(content)
        text = require_words(LOADERS[kind], path)
        assert text is not None, name
        assert words is None or words in text, text


def each_matrix(
    tensors: dict[str, torch.Tensor], change: Callable[[str, torch.Tensor], dict[str, torch.Tensor]]
) -> dict[str, torch.Tensor]:
    """The tensors with others in the place of every matrix."""
    changed: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        changed |= change(name, tensor) if name.endswith(".weight") and tensor.ndim == 2 else {name: tensor}
    return {name: tensor.contiguous() for name, tensor in changed.items()}


def whole_numbers(tensor: torch.Tensor) -> torch.Tensor:
    return torch.zeros(tensor.shape, dtype=torch.int8)


def folder_for(kind: str, models_dir: Path) -> Path:
    """A folder of the models folder, with what files of its kind need beside them."""
    folder = models_dir / kind
    folder.mkdir(exist_ok=True)
    if kind == "ip_adapters":
        tiny.image_encoder().save_pretrained(folder / "image_encoder")
    return folder


QUANTISED: dict[str, Callable[[str, torch.Tensor], dict[str, torch.Tensor]]] = {
    "plain": lambda name, tensor: {name: whole_numbers(tensor)},
    "int8": lambda name, tensor: {name: whole_numbers(tensor), name.replace("weight", "SCB"): torch.ones(len(tensor))},
    "nf4": lambda name, tensor: {
        name: torch.zeros((tensor.numel() + 1) // 2, 1, dtype=torch.uint8),
        f"{name}.absmax": torch.ones(4),
        f"{name}.quant_map": torch.ones(16),
        f"{name}.quant_state.bitsandbytes__nf4": torch.zeros(70, dtype=torch.uint8),
    },
    "quanto": lambda name, tensor: {f"{name}._data": whole_numbers(tensor), f"{name}._scale": torch.ones(1)},
}
MATRICES = [kind for kind in LOADERS if kind != "vaes"]


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("ending", [".safetensors", ".ckpt"])
@pytest.mark.parametrize("kind", MATRICES)
def test_quantised_files_of_every_kind_are_told_so(kind, ending, weights, models_dir):
    folder = folder_for(kind, models_dir)
    for name, change in QUANTISED.items():
        path, tensors = folder / f"{name}{ending}", each_matrix(weights[kind], change)
        save_file(tensors, path) if ending == ".safetensors" else torch.save({"state_dict": tensors}, path)
        text = require_words(LOADERS[kind], path)
        assert text is not None, name
        assert "quantised" in text, text
        assert "Choose the same model in float16." in text, text


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("factor", ["scale_weight", "weight_scale"])
@pytest.mark.parametrize("kind", MATRICES)
def test_float8_with_factors_is_read_in_files_of_every_kind(kind, factor, weights, models_dir):
    path = folder_for(kind, models_dir) / "scaled.safetensors"
    scaled = each_matrix(
        weights[kind],
        lambda name, tensor: {
            name: tensor.to(torch.float8_e4m3fn),
            name.replace("weight", factor): torch.ones(()),
            name.replace("weight", "input_scale"): torch.ones(()),
        },
    )
    save_file(scaled | {"scaled_fp8": torch.zeros(2).to(torch.float8_e4m3fn)}, path)
    assert require_words(LOADERS[kind], path) is None


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("name", ["Mine.SAFETENSORS", "MINE.CKPT", "mine.sft"])
@pytest.mark.parametrize("kind", LOADERS)
def test_files_are_read_however_their_names_end(kind, name, weights, models_dir):
    path = folder_for(kind, models_dir) / name
    tensors = {name: tensor.contiguous() for name, tensor in weights[kind].items()}
    torch.save({"state_dict": tensors}, path) if name.endswith("CKPT") else save_file(tensors, path)
    assert require_words(LOADERS[kind], path) is None


def test_a_file_that_claims_to_be_one_disk_of_several_is_refused_in_words(tmp_path):
    path = tmp_path / "spanning.pt"
    locator, end = b"PK\x06\x07" + struct.pack("<LQL", 1, 0, 3), b"PK\x05\x06" + bytes(18)
    path.write_bytes(b"PK\x03\x04" + bytes(200) + locator + end)
    with pytest.raises(UserError, match=r"got 'spanning\.pt'"):
        read_lora(path)
