"""Refusals as values: what a fault tells, and how each face puts it into words."""

import ast
import pickle
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from string import Formatter

import pytest

from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.faults import Fault
from pipelines.plan.request import GenerationRequest
from pipelines.plan.request_fields.units import ControlUnit
from ui.words.refusals import PageWords, renumber_unit

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("api", "controlnet", "finishing", "media", "pipelines", "studio", "ui")
ENGLISH_ALONE = ("api/command_line/", "api/web/tools.py", "api/recipes/webui_args.py", "api/sdapi/")
"""Where programs and operators are told, who have no page."""

TABLES = sorted((ROOT / "ui" / "words" / "by_code").glob("*.de.toml"))
FAULT = Fault(
    "windows.overlap_too_long",
    "context_overlap",
    "be below {context_length:name} ({limit})",
    40,
    "Lower {field:label} or raise {context_length:label}",
    limit=16,
)


def german() -> dict[str, str]:
    found = [tomllib.loads(path.read_text(encoding="utf-8")).get("faults", {}) for path in TABLES]
    assert sum(map(len, found)) == len({code for table in found for code in table}), "a code has two sentences"
    return {code: text for table in found for code, text in table.items()}


def calls() -> Iterator[tuple[str, ast.Call]]:
    for path in (path for room in ROOMS for path in (ROOT / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                yield f"{path.relative_to(ROOT)}:{node.lineno}", node


def codes() -> dict[str, str]:
    """The code of every fault that is made, and where."""
    found = {}
    for where, call in calls():
        if isinstance(call.func, ast.Name) and call.func.id in ("Fault", "Finding", "RuleError", "_broken"):
            first = [*call.args[:1], *(keyword.value for keyword in call.keywords if keyword.arg == "code")][0]
            if isinstance(first, ast.Constant):
                found[str(first.value)] = where
    assert len(found) > 200
    return found


def test_a_fault_is_told_by_each_face_in_its_own_words():
    assert str(InvalidRequestError(FAULT)) == (
        "context_overlap must be below context_length (16), got 40. Lower 'Shared frames' or raise 'Window length'."
    )
    assert InvalidRequestError(FAULT).in_words(PageWords("de")) == (
        "„Gemeinsame Bilder“ muss unter „Fensterlänge“ (16) liegen, ist aber 40. "
        "„Gemeinsame Bilder“ senken oder „Fensterlänge“ erhöhen."
    )
    assert InvalidRequestError(FAULT).in_words(PageWords("en")) == str(InvalidRequestError(FAULT))


def test_a_fault_outlives_a_process():
    found = pickle.loads(pickle.dumps(InvalidRequestError(FAULT)))
    assert (found.fault, str(found)) == (FAULT, str(InvalidRequestError(FAULT)))


def test_texts_of_users_are_never_templates():
    fault = Fault("value.int_parsing", "num_frames", "be a number", "{seed:label} {0} {", "Change {field:label}")
    assert str(InvalidRequestError(fault)) == "num_frames must be a number, got {seed:label} {0} {. Change 'Frames'."
    assert "{seed:label} {0} {" in InvalidRequestError(fault).in_words(PageWords("de"))


@pytest.mark.parametrize(
    ("values", "code", "place", "limit"),
    [
        ({"num_frames": 0}, "value.greater_than_equal", (), 1),
        ({"formats": ["MP4", "MP4"]}, "formats.repeated", (), None),
        (
            {"controls": [{"model": "a"}, {"model": "a", "weight": 9}]},
            "value.schedule_out_of_range",
            (2, "weight"),
            None,
        ),
        ({"controls": [{"model": "a", "start": 0.5, "end": 0.25}]}, "unit.end_before_start", (1, "end"), 0.5),
        ({"prompt": "0: a\n99: b"}, "travel.beyond_the_clip", (), 15),
        ({"fps": "fast"}, "value.no_rate", (), None),
        ({"scheduler": "best"}, "value.enum", (), ["ddim", "euler", "euler_a", "dpmpp_2m", "lcm"]),
        ({"nothing": 1}, "field.unknown", (), None),
    ],
)
def test_a_request_s_fault_says_field_place_code_and_limit(values, code, place, limit):
    with pytest.raises(InvalidRequestError) as caught:
        GenerationRequest.build(**values)
    fault = caught.value.fault
    assert (fault.code, fault.field, fault.place, fault.limit) == (code, next(iter(values)), place, limit)


def test_units_have_their_numbers_on_the_page():
    fault = Fault("unit.so", "controls", "be so", "that", "Change it", place=(2, "weight"))
    assert PageWords("en", [1, 3]).sentence(fault) == "Unit 3 weight must be so, got that. Change it."
    assert renumber_unit(fault, [1]).place == (2, "weight")


def test_every_rule_that_visitors_may_break_has_a_german_sentence():
    missing = {code: where for code, where in codes().items() if code not in german()}
    assert {code: where for code, where in missing.items() if not where.startswith(ENGLISH_ALONE)} == {}


def values_by_code() -> dict[str, set[str]]:
    """The names of the values that faults have, where they are written out."""
    found: dict[str, set[str]] = {}
    for _, call in calls():
        if isinstance(call.func, ast.Name) and call.func.id == "Fault":
            keywords = {keyword.arg: keyword.value for keyword in call.keywords}
            code, values = keywords.get("code", call.args[0] if call.args else None), keywords.get("values")
            names = values.keys if isinstance(values, ast.Dict) else []
            if isinstance(code, ast.Constant) and (values is None or (names and all(names))):
                found.setdefault(code.value, set()).update(name.value for name in names)
    return found


def test_german_sentences_fill_in_what_the_faults_have():
    known = values_by_code()
    assert len(known) > 150
    for code, text in german().items():
        named = {name for _, name, spec, _ in Formatter().parse(text) if name and spec not in ("name", "label")}
        if code in known:
            place = {"line", "column"} if code.startswith("travel.") else set()
            assert named <= known[code] | {"subject", "got", "limit", "fix", "field"} | place, code


def test_a_value_that_a_fault_has_not_is_no_field():
    with pytest.raises(KeyError):
        str(InvalidRequestError(Fault("x.y", "seed", "be below {most}", 1, "Lower it")))


def test_german_sentences_name_what_a_fault_has():
    labels = {"field", *GenerationRequest.model_fields, *ControlUnit.model_fields}
    for code, text in german().items():
        for _, name, spec, _ in Formatter().parse(text):
            assert name is None or re.fullmatch(r"\w+", name), code
            assert spec != "label" or name in labels, code
