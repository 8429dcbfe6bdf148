"""Only what was uploaded here becomes a path."""

import os

import pytest

from pipelines.plan.errors import InvalidRequestError
from studio.uploads import uploaded_path, uploaded_paths


@pytest.fixture
def uploads(tmp_path, monkeypatch):
    folder = tmp_path / "uploads"
    folder.mkdir()
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(folder))
    (tmp_path / "secret.png").write_bytes(b"secret")
    (folder / "picture.png").write_bytes(b"picture")
    return folder


def test_an_uploaded_file_is_found_by_its_path(uploads):
    found = uploaded_path({"path": str(uploads / "picture.png"), "orig_name": "x.png"}, "mask")
    assert found.read_bytes() == b"picture"


@pytest.mark.parametrize(
    "told",
    [
        "{uploads}/picture.png",
        ["{uploads}/picture.png"],
        {"path": "{uploads}/../secret.png"},
        {"path": "{uploads}/link.png"},
        {"path": "{uploads}/circle.png"},
        {"path": "{uploads}/pipe"},
        {"path": "{uploads}/gone.png"},
        {"path": "{uploads}\0.png"},
        {"path": "{uploads}"},
        {"path": "/etc/passwd"},
        {"path": ["{uploads}/picture.png"]},
        {"path": ""},
        {"url": "http://127.0.0.1/x.png"},
        {},
        7,
        None,
    ],
    ids=repr,
)
def test_anything_else_is_refused_in_words_that_name_the_field_and_no_path(uploads, told):
    (uploads / "link.png").symlink_to(uploads.parent / "secret.png")
    (uploads / "circle.png").symlink_to(uploads / "circle.png")
    os.mkfifo(uploads / "pipe")

    def filled(value):
        if isinstance(value, str):
            return value.replace("{uploads}", str(uploads))
        if isinstance(value, list):
            return [filled(one) for one in value]
        return {key: filled(one) for key, one in value.items()} if isinstance(value, dict) else value

    with pytest.raises(InvalidRequestError) as refused:
        uploaded_path(filled(told), "mask")
    assert str(refused.value) == "mask must be an uploaded file, got something else. Choose the file again."


def test_none_one_or_several_files(uploads):
    one = {"path": str(uploads / "picture.png")}
    assert [list(uploaded_paths(value, "mask")) for value in (None, [], "")] == [[], [], []]
    assert len(uploaded_paths(one, "mask")) == 1
    assert len(uploaded_paths([one, one], "mask")) == 2
    with pytest.raises(InvalidRequestError, match=r"^mask must be an uploaded file"):
        uploaded_paths([one, "/etc/passwd"], "mask")
