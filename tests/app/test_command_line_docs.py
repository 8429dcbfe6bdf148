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
from media.write import open_clip
from tests.app.fake_engine import FakeEngine
from tests.clips import moving_square

TEXT = (Path(__file__).resolve().parents[2] / "docs/command-line.md").read_text("utf-8")
COMMANDS = [
    line.removeprefix("python -m api ")
    for block in re.findall(r"```sh\n(.*?)```", TEXT, re.S)
    for line in block.splitlines()
]
BLOCKS = re.findall(r"```json\n(.*?)```", TEXT, re.S)
