"""Rules of the house: pins that must agree, arrows that point one way, docs made from the code."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from scripts.rooms_table import ROOMS, with_rooms
from scripts.settings_table import with_settings

ROOT = Path(__file__).resolve().parents[2]
BELOW = {name: room.below for name, room in ROOMS.items()}
HEAVY = {"torch", "diffusers", "transformers", "safetensors", "accelerate", "peft"}
TORCH_IN_PLAN = {"pipelines/plan/gpu.py"}
"""Asks torch whether it can use a GPU, inside a function: what a clip will take, depends on it."""
PRODUCT = {room.split(".")[0] for room in BELOW}


def test_the_space_runs_the_gradio_we_pin():
    pin = re.search(r"^gradio\[mcp\]==(\S+)$", (ROOT / "requirements.txt").read_text(), re.M)[1]
    sdk = re.search(r"^sdk_version: (\S+)$", (ROOT / "README.md").read_text(), re.M)[1]
    assert pin == sdk


def test_readme_lists_the_operator_s_settings_as_they_are():
    text = (ROOT / "README.md").read_text()
    assert with_settings(text) == text, "run `make docs`"


def test_architecture_names_rooms_and_files_that_are_there():
    text = (ROOT / "ARCHITECTURE.md").read_text()
    assert with_rooms(text) == text, "run `make docs`"
    folders = [ROOT / name for name in ("assets", "docs", "scripts", "tests", *PRODUCT)]
    paths = [*ROOT.glob("*.*"), *folders, *(path for folder in folders for path in folder.rglob("*"))]
    files = {path.relative_to(ROOT).as_posix() for path in paths}
    for name in re.findall(r"[\w/]+\.(?:py|toml|md)\b|\b[\w/]+/(?=[`\s,])", text):
        assert any(f"/{file}".endswith(f"/{name}") or f"/{file}/".endswith(f"/{name}") for file in files), name


def anchors(page: Path) -> set[str]:
    """The links that a page's headings can be reached by."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", page.read_text(), flags=re.S), re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "assets/demo/README.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path):
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?:", target):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), target
        assert not anchor or anchor in anchors(path), target


@cache
def tree_of(path: Path) -> ast.Module:
    """A file's tree, parsed once for all rules."""
    return ast.parse(path.read_text())


@cache
def imported(path: Path) -> set[str]:
    """Modules that a file imports anywhere, functions included; of `from a import b` both `a` and `a.b`."""
    names: set[str] = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def is_in(module: str, room: str) -> bool:
    return module == room or module.startswith(f"{room}.")


def files_of(room: str) -> list[Path]:
    """A room's files, without those of rooms inside it."""
    inside = [ROOT / other.replace(".", "/") for other in BELOW if other.startswith(f"{room}.")]
    folder = ROOT / room.replace(".", "/")
    return [path for path in folder.rglob("*.py") if not any(path.is_relative_to(other) for other in inside)]


@pytest.mark.parametrize("room", BELOW)
def test_a_room_imports_only_what_stands_below_it(room: str):
    assert files_of(room)
    for path in files_of(room):
        modules = {name for name in imported(path) if name.split(".")[0] in PRODUCT | {"app", "scripts", "tests"}}
        strangers = {name for name in modules if not any(is_in(name, below) for below in (room, *BELOW[room]))}
        assert strangers - {room.split(".")[0]} == set(), path


def test_every_file_stands_in_a_room():
    files = {path for top in PRODUCT for path in (ROOT / top).rglob("*.py")}
    held = {path for room in BELOW for path in files_of(room)}
    outside = {ROOT / "api/__init__.py", ROOT / "api/__main__.py", ROOT / "pipelines/__init__.py"}
    assert files - held == outside


def test_the_plan_imports_no_torch():
    with_torch = {
        path.relative_to(ROOT).as_posix()
        for path in files_of("pipelines.plan")
        if {name.split(".")[0] for name in imported(path)} & HEAVY
    }
    assert with_torch == TORCH_IN_PLAN


def test_only_the_page_and_the_endpoint_know_gradio():
    for room in ("pipelines", "controlnet", "finishing", "media"):
        for path in (ROOT / room).rglob("*.py"):
            assert "gradio" not in path.read_text(), path


def test_the_page_is_composed_without_loading_torch():
    code = (
        "import sys, app, media.write, pipelines.plan.catalog, pipelines.plan.context, controlnet.control_clip;"
        "heavy = {'torch', 'diffusers', 'transformers', 'onnxruntime'} & set(sys.modules);"
        "print(heavy); sys.exit(bool(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


STORY = {
    *("found", "told", "one", "made", "given"),
    *("kept", "known", "own", "more", "chosen"),
    *("wanted", "shown", "others", "here", "named"),
    *("said", "taken", "asked", "begun", "drawn"),
}
"""Roles in a story. A name says the thing: entry, event, mask, path."""
IN_CHECKPOINTS = {"begun", "known", "made"}
"""Fields of `DenoiseState`, which files of interrupted runs have."""
READ_BY_CALLERS = {"api/web/facts.py", "api/web/tools.py"}
"""Endpoints and agents' tools, whose docstrings are published and written for who calls them."""
MOST_WORDS = 12


def product_files() -> list[Path]:
    return [path for top in sorted(PRODUCT) for path in sorted((ROOT / top).rglob("*.py"))]


def names_bound(tree: ast.AST) -> Iterator[str]:
    """Variables, parameters, attributes of classes, and the words of classes' names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.ClassDef):
            yield node.name.strip("_").lower()


@pytest.mark.parametrize("path", product_files(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_names_say_things_and_docstrings_begin_shortly(path: Path):
    tree, name = tree_of(path), path.relative_to(ROOT).as_posix()
    roles = set(names_bound(tree)) & STORY
    assert roles <= (IN_CHECKPOINTS if name == "pipelines/engine/denoise.py" else set())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first, *_ = (ast.get_docstring(node) or "Nothing.").splitlines()
            assert not first.startswith("What "), first
            assert name in READ_BY_CALLERS or len(first.split()) <= MOST_WORDS, first
