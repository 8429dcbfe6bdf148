"""Clips on macOS and Windows: without what only Linux has, and with files that can't be removed while they are open."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from media.read import read_frames
from tests.app.laptop import FORBIDDEN, LACKING

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("api", "controlnet", "finishing", "media", "pipelines", "studio", "ui")
PRODUCT = [ROOT / "app.py", *(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))]
"""All that runs on a user's computer."""


def on_a_laptop(folder: Path, *arguments: str) -> str:
    """Run the command line there, in a cache of its own; what it says."""
    environment = os.environ | {"XDG_CACHE_HOME": str(folder / "cache"), "CHECKPOINT_DIR": str(folder / "runs")}
    done = subprocess.run(
        [sys.executable, "-m", "tests.app.laptop", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


SMALL = (
    "--base-model",
    "demo",
    "--num-frames",
    "4",
    "--num-inference-steps",
    "2",
    "--width",
    "64",
    "--height",
    "64",
    "--seed",
    "7",
)


def test_clips_of_all_formats_are_made_on_a_laptop_from_words_and_from_a_clip(tmp_path):
    clip = tmp_path / "clip.mp4"
    names = ("clip.mp4", "clip.gif", "clip.webp", "clip.webm")
    outputs = [word for name in names for word in ("-o", str(tmp_path / name))]
    on_a_laptop(tmp_path, "a red circle", *SMALL, *outputs, "-o", f"{tmp_path / 'frames'}/", "--max-file-mb", "1")
    assert all((tmp_path / name).stat().st_size for name in names)
    assert len(list((tmp_path / "frames").glob("*.png"))) == 4
    assert read_frames(clip).shape == (4, 64, 64, 3)
    assert (tmp_path / "cache" / "animatediff-studio" / "device.json").is_file()
    target = tmp_path / "steered.mp4"
    steered = ("--source-video", str(clip), "--control", "model=demo-canny preprocessor=canny")
    on_a_laptop(tmp_path, "a blue star", *SMALL, *steered, "--strength", "1", "-o", str(target))
    assert read_frames(target).shape == (4, 64, 64, 3)


def test_nothing_that_only_linux_has_is_imported():
    only_posix = {"fcntl", "resource", "pwd", "grp", "termios", "pty", "tty", "posix", "syslog", "nis", "spwd"}
    for path in PRODUCT:
        tree = ast.parse(path.read_text("utf-8"))
        does_without = {
            node
            for block in ast.walk(tree)
            if isinstance(block, ast.Try)
            and "ImportError" in [ast.unparse(on.type) for on in block.handlers if on.type]
            for node in ast.walk(block)
        }
        for node in set(ast.walk(tree)) - does_without:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            assert not only_posix & set(names), path


def test_calls_that_only_some_systems_have_stand_behind_a_question():
    """Each is named once where `hasattr` or `os.name` asks, and nowhere else."""
    named = {
        (path.relative_to(ROOT).as_posix(), node.attr)
        for path in PRODUCT
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "os"
        and node.attr in LACKING
    }
    assert named == {("pipelines/engine/device.py", "sched_getaffinity")}


@pytest.mark.parametrize("name", ["a:b", "what?", "NUL", "con.mp4", "x.", "x ", "a|b", "COM1.txt"])
def test_the_stand_in_refuses_what_windows_refuses(name):
    assert FORBIDDEN.search(name)
    assert not FORBIDDEN.search(f"fine-{name.strip('. ?')}".replace(":", "").replace("|", ""))
