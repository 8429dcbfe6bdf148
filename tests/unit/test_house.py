"""Rules of the house: pins that must agree, arrows that point one way, docs made from the code."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from pipelines.plan.settings import variables
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


def writes_environment(tree: ast.AST) -> bool:
    """Whether code sets a variable of this process, in any of the ways that `os` has."""
    for node in ast.walk(tree):
        targets = node.targets if isinstance(node, ast.Assign | ast.Delete) else [getattr(node, "target", None)]
        if any(
            isinstance(target, ast.Subscript) and ast.unparse(target.value).endswith("environ") for target in targets
        ):
            return True
        if isinstance(node, ast.Call) and re.search(
            r"environ\.(setdefault|update|pop|popitem|clear|__setitem__)$|\b(put|unset)env$", ast.unparse(node.func)
        ):
            return True
        if isinstance(node, ast.AugAssign) and ast.unparse(node.target).endswith("environ"):
            return True
    return False


@pytest.mark.parametrize(
    ("line", "writes"),
    [
        ("os.environ['A'] = '1'", True),
        ("environ['A']: str = '1'", True),
        ("del os.environ['A']", True),
        ("os.environ |= {'A': '1'}", True),
        ("os.environ.setdefault('A', '1')", True),
        ("os.putenv('A', '1')", True),
        ("a = os.environ['A'] or os.environ.get('B')", False),
    ],
)
def test_each_way_to_set_a_variable_is_known(line: str, writes: bool):
    assert writes_environment(ast.parse(line)) is writes


def test_one_module_sets_variables_and_none_of_ours():
    files = [ROOT / "app.py", *product_files()]
    writers = [path for path in files if writes_environment(ast.parse(path.read_text()))]
    assert writers == [ROOT / "studio/library_environment.py"]
    names = set(re.findall(r'"([A-Z][A-Z_]+)"', writers[0].read_text()))
    assert len(names) > 5
    assert not names & set(variables())


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


PRIVATE = {
    "api/web/gradio_internals.py": {"_queue"},
    "pipelines/engine/diffusers_internals.py": {"_step_index"},
    "pipelines/engine/weights/hub_internals.py": {"_http", "_tree_cache"},
    "pipelines/plan/gpu.py": {"_initializing"},
}
"""Private names of libraries, by the one module that may use them, which says why; the last one is Python's own."""
NAMED_TUPLE = {"_asdict", "_fields", "_make", "_replace"}
"""What Python documents of named tuples."""
BY_NAME = {"getattr", "setattr", "hasattr", "delattr"}


def is_private(name: object) -> bool:
    return isinstance(name, str) and re.match("_[^_]", name) is not None and name not in NAMED_TUPLE


def is_self(node: ast.expr) -> bool:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return node.func.id in ("super", "type") and all(is_self(arg) for arg in node.args)
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


def private_names(tree: ast.AST, *, is_adapter: bool = False) -> Iterator[str]:
    """Private attributes of others than `self`, private parts of imports, and such names in texts that name attributes.

    In an adapter every text may be one.
    """
    for node in ast.walk(tree):
        names: list[object] = []
        if isinstance(node, ast.Attribute) and not is_self(node.value):
            names = [node.attr]
        elif isinstance(node, ast.ImportFrom):
            names = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [part for alias in node.names for part in alias.name.split(".")]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in BY_NAME:
            names = [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
        elif isinstance(node, ast.Constant) and is_adapter:
            names = [node.value]
        yield from (name for name in names if is_private(name))


def replaced_parts(tree: ast.AST) -> Iterator[str]:
    """Classes swapped on objects, and attributes of others than `self` that become functions of ours."""
    functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    for node in ast.walk(tree):
        for target in node.targets if isinstance(node, ast.Assign) else ():
            if isinstance(target, ast.Attribute):
                is_function = isinstance(node.value, ast.Name) and node.value.id in functions
                if target.attr == "__class__" or (is_function and not is_self(target.value)):
                    yield ast.unparse(target)


@pytest.mark.parametrize(
    "path", [*product_files(), ROOT / "app.py"], ids=lambda path: path.relative_to(ROOT).as_posix()
)
def test_private_names_of_libraries_stand_in_their_adapter(path: Path):
    tree, name = ast.parse(path.read_text()), path.relative_to(ROOT).as_posix()
    assert set(private_names(tree, is_adapter=name in PRIVATE)) == PRIVATE.get(name, set())
    assert [*replaced_parts(tree)] == []


def test_private_names_are_seen_in_every_form():
    forms = (
        "page._queue.push()",
        "from a._b import c",
        "import a._b",
        "getattr(scheduler, '_step_index')",
        "a.b()._c = 1",
    )
    assert [len([*private_names(ast.parse(form))]) for form in forms] == [1] * len(forms)
    allowed = "self._a = super()._b + type(self)._c + cls._d + row._replace(a=1) + a.__doc__"
    assert [*private_names(ast.parse(allowed))] == []
    swaps = "def push(): ...\nline.push = push\nlayer.__class__ = Ours\nself.push = push\nbar.total = total"
    assert [*replaced_parts(ast.parse(swaps))] == ["line.push", "layer.__class__"]
