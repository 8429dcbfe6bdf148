"""The commands of docs/command-line.md are run as they stand there, around a stand-in engine."""

import io
import json
import re
import shlex
import sys
from pathlib import Path

import pytest
from PIL import Image

from api.command_line.main import main
from api.command_line.options import option_groups
from tests.app.fake_engine import FakeEngine

TEXT = (Path(__file__).resolve().parents[2] / "docs/command-line.md").read_text("utf-8")
COMMANDS = [
    line.removeprefix("python -m api ")
    for block in re.findall(r"```sh\n(.*?)```", TEXT, re.S)
    for line in block.splitlines()
]
BLOCKS = re.findall(r"```json\n(.*?)```", TEXT, re.S)


def test_every_command_works_as_it_stands_there(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    engine = FakeEngine(step_s=0)
    Image.new("RGB", (64, 64), "red").save("first.png")
    assert main(["x", "-o", "hand.mp4", "--num-frames", "6"], engine=engine.make_clip) == 0
    Path("clips.jsonl").write_text(BLOCKS[0], "utf-8")
    assert len(COMMANDS) > 25
    for command in COMMANDS:
        words, _, source = command.partition(" < ")
        if source:
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(Path(source).read_bytes())))
        try:
            code = main(shlex.split(words, comments=True), engine=engine.make_clip)
        except SystemExit as left:  # of help
            code = left.code
        told = capsys.readouterr()
        assert code == 0, f"{command}: {told.err}"
        assert told.out
    made = {path.name for path in Path("clips").iterdir()}
    assert made == {"0001.mp4", "0003.mp4", "0004.mp4"}
    assert {"star.webm", "heart-42.mp4", "grid.png", "edges.mp4", "0001-7.gif"} <= {
        path.name for path in tmp_path.iterdir()
    }


def test_results_are_told_by_the_names_that_results_have():
    named = {name for line in BLOCKS[1].splitlines() for name in json.loads(line)}
    assert named == {"line", "output", "seed", "seconds", "error", "skipped"}


@pytest.mark.parametrize("mention", re.findall(r"`(--[a-z-]+)[ `]", TEXT))
def test_every_option_that_is_mentioned_is_one(mention):
    assert mention.lstrip("-") in {
        name.lstrip("-") for group in option_groups().values() for one in group for name in one.names
    }
