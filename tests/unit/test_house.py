"""Rules of the house: pins that must agree, arrows that point one way, docs made from the code."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.settings_table import with_settings

ROOT = Path(__file__).resolve().parents[2]
ROOMS = {
    "pipelines": {"pipelines"},
    "controlnet": {"controlnet", "pipelines"},
    "media": {"media", "pipelines"},
    "finishing": {"finishing", "pipelines"},
    "api": {"api", "controlnet", "finishing", "media", "pipelines"},
    "ui": {"ui", "api", "controlnet", "media", "pipelines"},
}
EVERY_ROOM = {"app", "ui", "api", "controlnet", "finishing", "pipelines", "media", "scripts", "tests"}


def test_the_space_runs_the_gradio_we_pin():
    pin = re.search(r"^gradio\[mcp\]==(\S+)$", (ROOT / "requirements.txt").read_text(), re.M)[1]
    sdk = re.search(r"^sdk_version: (\S+)$", (ROOT / "README.md").read_text(), re.M)[1]
    assert pin == sdk


def test_readme_lists_the_operator_s_settings_as_they_are():
    text = (ROOT / "README.md").read_text()
    assert with_settings(text) == text, "run `make docs`"


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


def imported_rooms(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names & EVERY_ROOM


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_stands_below_it(room: str):
    for path in (ROOT / room).rglob("*.py"):
        assert imported_rooms(path) <= ROOMS[room], path


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
