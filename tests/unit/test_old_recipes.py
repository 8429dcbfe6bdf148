"""Recipes of earlier versions: each restores to the request that was written."""

import json
from pathlib import Path

import pytest

from api.recipes.read import input_hashes, read_request
from pipelines.plan.request import GenerationRequest
from studio.modes import Mode
from studio.stored_inputs import keep

FOLDER = Path(__file__).resolve().parents[1] / "museum/recipes/0.7.0"
REQUESTS = json.loads((FOLDER / "requests.json").read_text(encoding="utf-8"))
"""The requests of 0.7.0 in its own words, all fields of them, by the names of the files that carry them."""
CARRIERS = [FOLDER / name for name in ("frames/recipe.json", "frames/00000.png")]
CARRIERS += sorted(path for path in FOLDER.glob("*.*") if path.stem in REQUESTS)
NOTES = {"hub": ("Choose again: Control unit 1 (6dfbadcf64a5…), Image prompt 1, frame 0 (393939393939…).",)}
MODES = {"pictures": Mode.IMG2VID, "hub": Mode.IMG2VID, "source": Mode.VID2VID}


def name_of(path: Path) -> str:
    return "frames" if path.parent.name == "frames" else path.stem


@pytest.fixture
def _inputs_and_models(tmp_path, monkeypatch, configure):
    """Store the input files, and put the model of an image prompt into the models folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    configure(models_dir=tmp_path)
    (tmp_path / "ip_adapters").mkdir()
    (tmp_path / "ip_adapters/plus.safetensors").write_bytes(bytes(8))
    for path in (FOLDER / "inputs").iterdir():
        keep([path], field="first_frame")


@pytest.mark.usefixtures("_inputs_and_models")
@pytest.mark.parametrize("path", CARRIERS, ids=lambda path: path.relative_to(FOLDER).as_posix())
def test_a_recipe_of_0_7_0_restores_to_the_identical_request(path):
    written = REQUESTS[name_of(path)]
    restored = read_request(path)
    new = {name: field.default for name, field in GenerationRequest.model_fields.items() if name not in written}
    assert restored.values == written | new
    assert GenerationRequest.build(**written) == restored.request
    assert restored.mode is MODES.get(name_of(path), Mode.TXT2VID)
    assert restored.notes == NOTES.get(name_of(path), ())


def test_every_field_differs_from_its_default_in_one_of_them():
    defaults = {name: field.default for name, field in GenerationRequest.model_fields.items()}
    plain = GenerationRequest(**{name: value for name, value in defaults.items() if name != "seed"}, seed=8).model_dump(
        mode="json"
    )
    assert {
        name for name in REQUESTS["words"] if all(entry[name] == plain[name] for entry in REQUESTS.values())
    } == set()


def test_every_format_and_every_kind_of_input_is_among_them():
    suffixes = {name: {path.suffix for path in CARRIERS if name_of(path) == name} for name in REQUESTS}
    everything = {".mp4", ".gif", ".webp", ".webm", ".png", ".zip", ".txt"}
    assert suffixes["words"] == suffixes["pictures"] == suffixes["source"] == everything
    labels = {label for written in REQUESTS.values() for label, _ in input_hashes(GenerationRequest.build(**written))}
    assert labels == {
        *("First frame", "Last frame", "Source clip", "Mask"),
        *("Control unit 1", "Control unit 2", "Image prompt 1, frame 0", "Image prompt 1, frame 2"),
    }
