"""The gallery on the page: every finished clip is kept for its visitor, and only for that one."""

from pathlib import Path

import gradio as gr
import pytest

from pipelines.plan.request import GenerationRequest
from studio.gallery import Gallery, new_visitor
from tests.app.conftest import page_of
from tests.app.fake_engine import FakeEngine
from tests.app.test_wiring import extend_event, generate_event, on_the_page, updates


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> Gallery:
    return Gallery(tmp_path_factory.mktemp("gallery"), 10**9, 3600)


@pytest.fixture(scope="module")
def page(kept) -> gr.Blocks:
    return page_of(FakeEngine(step_s=0).make_clip, gallery=kept)


def last(page: gr.Blocks, event, *values) -> dict:
    """What the page shows with the last clip."""
    return [shown for shown in updates(page, event, *values) if "recipe" in shown][-1]


def event_named(page: gr.Blocks, name: str):
    (found,) = (event for event in page.fns.values() if event.name == name)
    return found


def test_clips_of_a_batch_and_extensions_are_kept_for_their_visitor_alone(page, kept):
    visitor = new_visitor()
    event = generate_event(page)
    shown = last(page, event, *on_the_page(event, prompt="x", batch_count=2, num_inference_steps=1, visitor=visitor))
    last(page, extend_event(page), kept.entries(visitor)[0].recipe, 8, visitor)
    lengths = [GenerationRequest.from_json(entry.recipe).num_frames for entry in kept.entries(visitor)]
    assert lengths == [24, 16, 16]
    assert kept.entries(new_visitor()) == []
    (first, caption), (second, _) = shown["gallery"]["value"]
    assert caption.startswith("x · ")
    assert Path(first).parent != Path(second).parent
    assert visitor not in first + second
    assert Path(first).read_bytes()[4:8] == b"ftyp"


def test_a_clip_is_shown_though_it_could_not_be_kept(page, kept, monkeypatch):
    def full(*_) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(kept, "add", full)
    event = generate_event(page)
    shown = last(page, event, *on_the_page(event, prompt="x", num_inference_steps=1, visitor=new_visitor()))
    assert "Done: 16 frames" in shown["status"]
    assert "could not be kept" in shown["status"]
    assert Path(shown["video"]["value"]).name.endswith(".mp4")


def test_what_has_no_picture_has_a_place_all_the_same(page):
    visitor = new_visitor()
    event = generate_event(page)
    shown = last(page, event, *on_the_page(event, prompt="x", num_inference_steps=1, visitor=visitor, formats=["PNG"]))
    ((picture, _),) = shown["gallery"]["value"]
    assert Path(picture).name == "no-picture.png"


def test_deleting_takes_away_what_was_served_too(page, kept):
    visitor = new_visitor()
    event = generate_event(page)
    shown = last(page, event, *on_the_page(event, prompt="x", num_inference_steps=1, visitor=visitor))
    ((served, _),) = shown["gallery"]["value"]
    delete = event_named(page, "delete")
    delete.fn(new_visitor(), kept.entries(visitor)[0].id)
    assert Path(served).exists()
    left = delete.fn(visitor, kept.entries(visitor)[0].id)
    assert kept.entries(visitor) == []
    assert not Path(served).exists()
    assert not next(value for control, value in left.items() if control.elem_id == "your_clips")["visible"]


def test_all_are_deleted_only_if_that_was_confirmed_and_come_as_one_file(page, kept, tmp_path):
    visitor = new_visitor()
    made = tmp_path / "7.mp4"
    made.write_bytes(b"x")
    kept.add(visitor, [made], '{"seed": 7}')
    ((_, pack),) = event_named(page, "download_all").fn(visitor).items()
    assert Path(pack["value"]).name == "clips.zip"
    assert visitor not in pack["value"]
    delete_all = event_named(page, "delete_all")
    delete_all.fn(visitor, False)
    assert len(kept.entries(visitor)) == 1
    delete_all.fn(visitor, True)
    assert kept.entries(visitor) == []
    with pytest.raises(gr.Error, match="clips must be kept before"):
        event_named(page, "download_all").fn(visitor)


def test_choosing_a_clip_that_another_window_deleted_shows_the_list_anew(page):
    choose = event_named(page, "choose")
    event = gr.SelectData(None, {"index": 0, "value": None})
    shown = {control.elem_id: value for control, value in choose.fn(new_visitor(), ["gone"], event).items()}
    assert shown["gallery"]["value"] == []


def test_a_browser_without_an_id_is_given_one(page):
    opened = event_named(page, "opened")
    for unknown in ("", "../../etc", None):
        (given,) = (value for control, value in opened.fn(unknown).items() if control.elem_id == "visitor")
        assert len(given) == 32
    assert given in opened.fn(given).values()
