"""Names of LoRA files in tags: the name that is recommended for a file means that file, whatever it is called."""

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.plan import catalog
from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.prompt.tags import read_tags

STRANGE = [
    "tune ",
    " tune",
    "style v1.5",
    "style v1.5 (final) [fp16]",
    "style, v2",
    "a:b:0.5",
    "a_b_0.5",
    "<lora:x:1>",
    "0.8",
    "-1",
    "Tune",
    "TUNE",
    "Cafe\u0301",
    "日本語：スタイル",
    "two  spaces",
    "two spaces",
    "tab\there",
    "line\nbreak",
    "seen\u200b\ufeff",
    "👩\u200d🎨",
    " ",
    ".hidden",
    "ends.with.dot.",
    "{a|b}",
    "__x__",
    "\ue000",
    "\udcff",
    "sub/tune",
    "sub/deeper/tune",
    "sub/style v1.5",
]
file_names = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=40)


def put(folder: Path, names: list[str]) -> None:
    for name in names:
        path = folder / "loras" / f"{name}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def assert_each_is_meant_by_its_tag(count: int) -> None:
    local = [entry for entry in catalog.loras() if entry.source == "local"]
    assert len(local) == count
    for entry in local:
        for name in entry.names:
            (tag,) = read_tags(f"0: a fox, <lora:{name}:0.5> (running:1.2)")
            assert tag.weight == 0.5
            assert catalog.find_lora(tag.name).folder == entry.folder, name
    assert len({entry.folder for entry in local}) == count


def test_whatever_a_file_is_called_its_tag_means_it(tmp_path, configure):
    configure(models_dir=tmp_path)
    put(tmp_path, STRANGE)
    (tmp_path / "embeddings").mkdir()
    (tmp_path / "embeddings" / "tune .safetensors").touch()
    assert_each_is_meant_by_its_tag(len(STRANGE) + 1)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(file_names.filter(lambda name: len(name.encode()) < 200), min_size=1, max_size=6, unique=True))
def test_any_name_a_disk_takes_can_be_named(names, tmp_path_factory, configure):
    folder = tmp_path_factory.mktemp("models")
    configure(models_dir=folder)
    put(folder, names)
    assert_each_is_meant_by_its_tag(len(names))


@pytest.mark.parametrize("name", [name for name in STRANGE if "/" not in name and "\udcff" not in name])
def test_the_name_of_the_file_as_it_is_means_it_where_a_tag_can_have_it(name, tmp_path, configure):
    configure(models_dir=tmp_path)
    put(tmp_path, [name])
    expected = tmp_path / "loras" / f"{name}.safetensors"
    if not re.search("[<>:]", name):
        (tag,) = read_tags(f"<lora:{name}.safetensors>")
        assert catalog.find_lora(tag.name).folder == expected


def test_of_two_spellings_the_exact_one_is_meant(tmp_path, configure):
    configure(models_dir=tmp_path)
    put(tmp_path, ["a:b", "a_b"])
    assert catalog.find_lora("a_b").folder.name == "a_b.safetensors"


def test_what_a_refusal_suggests_works(tmp_path, configure):
    configure(models_dir=tmp_path)
    put(tmp_path, ["Gute Farbe: v2 "])
    with pytest.raises(InvalidRequestError) as error:
        catalog.find_lora("gute farbe v2")
    (suggested,) = re.findall(r"Choose '(.*?)'", str(error.value))
    (tag,) = read_tags(f"<lora:{suggested}:1>")
    assert catalog.find_lora(tag.name).folder == tmp_path / "loras" / "Gute Farbe: v2 .safetensors"
