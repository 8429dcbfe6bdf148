"""LoRAs on the page: what the list offers, and what becomes of a dropped file."""

import errno
import html
from pathlib import Path

import gradio as gr
import pytest
import torch
from gradio.blocks import Block
from safetensors.torch import save_file

from pipelines.plan import catalog
from pipelines.plan.errors import WeightsError
from pipelines.plan.prompt.tags import read_tags
from studio import dropped_loras as dropped
from studio.dropped_loras import keep_dropped
from tests.app.conftest import page_of
from tests.app.fake_engine import WARNING, FakeEngine
from tests.app.test_wiring import updates
from ui.inputs.loras import lora_tags

LORA = {"lora_unet_x.lora_down.weight": torch.ones(1, 2), "lora_unet_x.lora_up.weight": torch.ones(2, 1)}


@pytest.fixture
def folder(tmp_path, configure) -> Path:
    root = tmp_path / "dropped"
    configure(dropped_dir=root)
    return root


def by_id(page: gr.Blocks, elem_id: str) -> list[Block]:
    return [block for block in page.blocks.values() if block.elem_id == elem_id]


def test_the_page_shows_a_clip_s_warnings_beside_it():
    page = page_of(FakeEngine(step_s=0).make_clip)
    (event,) = (e for e in page.fns.values() if e.name == "generate")
    values = ["warn me" if control.elem_id == "prompt" else control.value for control in event.inputs]
    told = next(shown["status"] for shown in updates(page, event, *values) if "used_seed" in shown)
    assert "Done: 16 frames" in told
    assert html.escape(WARNING) in told


def test_the_list_offers_what_fits_the_base_model_as_tags_that_can_be_read():
    tags = dict(lora_tags(catalog.STABLE_DIFFUSION))
    assert tags["Camera: zoom in"] == "<lora:v2_lora_ZoomIn:0.8>"
    demo = dict(lora_tags("demo"))
    assert demo["Demo camera: pan left"] == "<lora:demo-pan-left:1>"
    assert len(tags) + len(demo) == len(catalog.loras())
    for tag in (*tags.values(), *demo.values()):
        assert catalog.find_lora(read_tags(tag)[0].name)


def test_a_dropped_lora_can_be_asked_for_by_the_name_it_gets(folder, tmp_path):
    path = tmp_path / "my <best>: lora.safetensors"
    save_file(LORA, path)
    name = keep_dropped(path, folder)
    assert keep_dropped(path, folder) == name
    assert [file.stem for file in folder.iterdir()] == [name]
    assert read_tags(f"<lora:{name}:1>")[0].name == name
    assert catalog.find_lora(name).folder.read_bytes() == path.read_bytes()


def test_dropping_a_file_appends_its_tag_to_the_prompt(folder, tmp_path):
    save_file(LORA, tmp_path / "mine.safetensors")
    page = page_of(FakeEngine().make_clip)
    (drop,) = by_id(page, "lora_file")
    (event,) = (event for event in page.fns.values() if (drop._id, "upload") in event.targets)
    for prompt, expected in (("a fox ", "a fox <lora:"), ("", "<lora:"), ("0: a fox", "0: a fox\n<lora:")):
        left, tagged = event.fn(str(tmp_path / "mine.safetensors"), prompt)
        assert left is None
        assert tagged == f"{expected}{next(folder.iterdir()).stem}:1>"


def test_a_dropped_file_of_another_kind_is_refused_and_not_kept(folder, tmp_path):
    save_file({"model.diffusion_model.out.2.bias": torch.ones(4)}, tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match=r"got 'model\.safetensors', which is a base model"):
        keep_dropped(tmp_path / "model.safetensors", folder)
    assert not folder.exists()


def test_of_a_dropped_file_that_can_not_be_kept_whole_nothing_stays(folder, tmp_path, monkeypatch):
    def half(source: Path, target: Path) -> None:
        target.write_bytes(source.read_bytes()[:9])
        raise OSError(errno.ENOSPC, "full")

    save_file(LORA, tmp_path / "mine.safetensors")
    monkeypatch.setattr(dropped.shutil, "copyfile", half)
    with pytest.raises(OSError, match="full"):
        keep_dropped(tmp_path / "mine.safetensors", folder)
    assert list(folder.iterdir()) == []


def test_the_oldest_dropped_files_give_way(folder, tmp_path, monkeypatch):
    names = []
    for value in range(3):
        save_file({name: tensor * value for name, tensor in LORA.items()}, tmp_path / "x.safetensors")
        monkeypatch.setattr(dropped, "_MOST_BYTES", 2 * (tmp_path / "x.safetensors").stat().st_size)
        names.append(keep_dropped(tmp_path / "x.safetensors", folder))
    assert {file.stem for file in folder.iterdir()} == set(names[1:])
