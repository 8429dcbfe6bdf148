"""The page's words: every language says the same things, and what other rooms tell has its sentence in each."""

import ast
import pickle
import re
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from string import Formatter

import pytest

from controlnet.preprocessors import PREPROCESSORS
from pipelines.plan.motion_families import FAMILIES
from pipelines.plan.notes import Note, listed
from pipelines.plan.planner.estimate import advice
from pipelines.plan.request import GenerationRequest
from pipelines.plan.request_fields.units import ControlUnit
from studio.job_runs import clip_of
from ui.words.speech import language_of, say, say_note, with_own_labels, word
from ui.words.tables import ENGLISH, by_code, languages, option_key, table, translations

UI = Path(__file__).resolve().parents[2] / "ui"
OTHERS = [language for language in languages() if language != ENGLISH]


def places(text: str) -> set[tuple[str, str]]:
    """The values a text has places for, and how they are written."""
    return {(name, str(spec)) for _, name, spec, _ in Formatter().parse(text) if name}


@pytest.mark.parametrize("language", OTHERS)
def test_a_language_says_all_that_english_says_and_nothing_else(language: str):
    assert table(language).keys() == table(ENGLISH).keys()


@pytest.mark.parametrize("language", languages())
def test_every_text_is_one_and_has_the_places_that_english_has(language: str):
    for key, text in table(language).items():
        assert isinstance(text, str), key
        assert text == text.strip(), key
        assert text, key
        assert places(text) == places(table(ENGLISH)[key]), key


@pytest.mark.parametrize("language", languages())
def test_browsers_get_texts_without_open_places(language: str):
    texts = translations()[language]
    assert len(texts) > 250
    assert not [key for key, text in texts.items() if "{" in text or "__" in text]
    assert not [key for key in texts if key.startswith(("told.", "more."))]


def test_there_is_german_and_english_is_the_request_s_own():
    assert "de" in OTHERS
    for record, room in ((GenerationRequest, "field"), (ControlUnit, "unit")):
        for name, field in record.model_fields.items():
            texts = [table(ENGLISH)[f"{room}.{name}.{part}"] for part in ("label", "help")]
            assert texts == [field.json_schema_extra["label"], field.description]


def test_options_that_share_their_words_say_the_same_everywhere():
    for preprocessor in PREPROCESSORS.values():
        for option in preprocessor.options:
            key = option_key(preprocessor.id, option.name)
            texts = asdict(option)
            assert [table(ENGLISH)[f"{key}.{part}"] for part in ("label", "help")] == [texts["label"], texts["help"]]


def keys_in_the_code() -> Iterator[str]:
    for path in UI.rglob("*.py"):
        yield from re.findall(r'(?:word\(|say\([\w().]+, )"([\w.]+)"', path.read_text(encoding="utf-8"))


def test_every_key_that_the_page_names_is_there():
    keys = set(keys_in_the_code())
    assert len(keys) > 80
    assert keys <= table(ENGLISH).keys()
    with pytest.raises(KeyError):
        word("button.unheard_of")


def test_limits_of_the_server_stand_in_the_words(configure):
    configure(max_frames=3000, max_clips=3)
    english, german = translations()[ENGLISH], translations()["de"]
    assert english["field.num_frames.help"].endswith(" 1 to 3,000.")
    assert german["field.num_frames.help"].endswith(" 1 bis 3.000.")
    assert german["label.clips_help"].endswith(" 1 bis 3.")
    assert GenerationRequest.model_fields["seed"].description in english["field.seed.help"]


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("de-DE,de;q=0.9,en;q=0.8", "de"),
        ("de", "de"),
        ("en-US,en;q=0.9,de;q=0.8", "en"),
        ("fr-FR,de;q=0.9", "en"),
        ("den", "en"),
        ("*", "en"),
        ("", "en"),
        ("../../de", "en"),
    ],
)
def test_the_first_language_that_a_browser_asks_for_decides(accepted: str, language: str):
    assert language_of(accepted) == language


STEP = Note("progress.step", "step {step} of {steps}", step=3, steps=25)
ROUND = Note("progress.round", "round {number} of {count}", number=1, count=3)
MASK = Note("progress.reading_mask", "Reading the mask, frame {done:,} of {total:,}", done=10, total=2000)


@pytest.mark.parametrize(
    ("note", "german"),
    [
        (STEP.capitalized(), "Schritt 3 von 25"),
        (listed([clip_of(2, 3), ROUND, STEP]), "Clip 2 von 3, Runde 1 von 3, Schritt 3 von 25"),
        (MASK, "Maske lesen, Bild 10 von 2.000"),
        ("'x' has no middle block, or none that fits.", "'x' has no middle block, or none that fits."),
    ],
)
def test_what_is_told_while_a_clip_is_made_is_told_in_german(note: str, german: str):
    assert say_note("de", note) == german
    assert say_note(ENGLISH, note) == note
    assert say_note("de", pickle.loads(pickle.dumps(note))) == german


def test_every_note_has_a_german_sentence_of_its_values():
    assert len(notes()) > 40
    german = by_code("de", "notes")
    assert notes().keys() <= german.keys()
    for code, template in notes().items():
        assert {name for name, _ in places(german[code])} <= {name for name, _ in places(template)} | {"line"}, code


def notes() -> dict[str, str]:
    """The code and template of every note, where both are written out."""
    codes = {}
    for room in ("api", "controlnet", "finishing", "media", "pipelines", "studio"):
        for path in (UI.parent / room).rglob("*.py"):
            for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "Note":
                    code, template = call.args
                    if isinstance(code, ast.Constant) and isinstance(template, ast.Constant):
                        codes[code.value] = template.value
    return codes


@pytest.mark.parametrize(
    ("changes", "german"),
    [
        ({}, "Ein kleineres Modell hilft oder mehr Speicher."),
        ({"hires_scale": 1}, "Zweiten Durchgang weglassen."),
        (
            {"hires_scale": 1.5, "context_length": 12},
            "„Zweiter Durchgang“ auf 1,5 senken und Fenster auf 12 Bilder kürzen.",
        ),
        ({"width": 384, "height": 256}, "Größe auf 384×256 senken."),
    ],
)
def test_what_helps_a_clip_to_fit_is_told_again(changes: dict, german: str):
    assert say_note("de", advice(changes)) == german


def test_a_refusal_names_controls_as_the_page_does():
    sentence = (
        "context_overlap must be below context_length (8), got 8. Lower 'Shared frames' or raise 'Window length'."
    )
    german = "Lower 'Gemeinsame Bilder' or raise 'Fensterlänge'."
    assert with_own_labels("de", sentence) == sentence.replace(
        "Lower 'Shared frames' or raise 'Window length'.", german
    )
    assert with_own_labels(ENGLISH, sentence) == sentence
    assert with_own_labels("de", "image_fit must be one of 'crop', got 'x'. Change 'Fit'.").endswith(
        "'x'. Change 'Einpassen'."
    )


def test_numbers_are_written_as_the_language_does():
    assert say("de", "told.estimate.about", time="6 s", gb=1.25) == "Etwa 6 s, 1,2 GB."
    assert say(ENGLISH, "told.estimate.about", time="6 s", gb=1.25) == "About 6 s, 1.2 GB."
    assert say("de", "told.source.size", width=1280, height=720) == "1280 × 720 Pixel"


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_what_is_known_of_every_motion_family_is_told_again_to_its_last_word(family):
    text = say_note("de", family.in_words)
    assert text.startswith("Fenster ")
    assert not re.search(r"\b(window|frames|steps?|authors|takes?|runs|without|picture|guidance of)\b", text)
