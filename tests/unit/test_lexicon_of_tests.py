"""Names in tests, by the lexicon of the house: things, not roles in a story."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.unit.test_house import STORY, names_bound, tree_of

TESTS = Path(__file__).resolve().parents[1]
HELD = ("unit", "pipeline", "museum")
TO_RENAME = {
    *("unit/clips.py", "unit/test_affects.py", "unit/test_audio.py", "unit/test_catalog.py"),
    *("unit/test_costs.py", "unit/test_estimate.py", "unit/test_faults.py"),
    *("unit/test_input_store.py", "unit/test_input_videos.py", "unit/test_media_read.py"),
    *("unit/test_media_write.py", "unit/test_opened_inputs.py", "unit/test_pace.py"),
    *("unit/test_settings.py", "unit/test_stopwatch.py", "unit/test_tasks.py"),
    *("pipeline/loading.py", "pipeline/original.py", "pipeline/test_combinations.py"),
    *("pipeline/test_controls.py", "pipeline/test_device.py"),
    *("pipeline/test_finishing.py", "pipeline/test_image_prompts.py"),
    *("pipeline/test_motion_museum.py", "pipeline/test_motion_places.py"),
    *("pipeline/test_sparse_controls.py", "pipeline/test_xl_adapters.py", "pipeline/tiny.py"),
    "museum/motion.py",
}
"""Files of these folders with names to change; none is added."""


def names(tree: ast.Module) -> Iterator[str]:
    """Variables, parameters and classes, and also functions: fixtures are called by theirs."""
    yield from names_bound(tree)
    yield from (node.name.strip("_") for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def test_tests_name_things():
    files = {path.relative_to(TESTS).as_posix(): path for top in HELD for path in (TESTS / top).rglob("*.py")}
    assert {name for name, path in files.items() if STORY.intersection(names(tree_of(path)))} <= TO_RENAME
