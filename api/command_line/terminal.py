"""What the command line says: results on stdout, so that they can be piped, and everything else on stderr."""

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from tqdm import tqdm

from pipelines.plan.events import Progress


def say(text: str) -> None:
    """Write a result, at once: another program may be reading along."""
    print(text, flush=True)  # noqa: T201 - a terminal is what this talks to


def warn(text: str) -> None:
    """Write what is no result, above a bar if there is one."""
    tqdm.write(text, file=sys.stderr)


def quiet_when_piped() -> None:
    """Without a terminal, silence the bars of the libraries too; they read this when they are imported."""
    if not sys.stderr.isatty():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")


@dataclass(frozen=True)
class Results:
    """Tells of finished files, a line each.

    Args:
        as_json: As JSON objects, else in words.
    """

    as_json: bool = False

    def made(
        self, path: Path, *, seed: int | None = None, seconds: float | None = None, line: int | None = None
    ) -> None:
        """Tell of a file that was written.

        Args:
            seed: Of its clip; None for a grid, which has many.
            seconds: How long the clip took.
            line: Of the batch file, from 1; None for a clip that the options alone describe.
        """
        if self.as_json:
            self._say(line=line, output=str(path), seed=seed, seconds=None if seconds is None else round(seconds, 3))
        else:
            say(f"{path}" if seed is None else f"{path}  seed {seed}")

    def skipped(self, path: Path, *, seed: int, line: int | None) -> None:
        """Tell of a file that was there before."""
        if self.as_json:
            self._say(line=line, output=str(path), seed=seed, skipped=True)
        else:
            say(f"{path}  seed {seed}  was there")

    def failed(self, error: str, *, line: int | None) -> None:
        """Tell of a clip that could not be made: on stderr, and as JSON on stdout too."""
        warn(error if line is None else f"line {line}: {error}")
        if self.as_json:
            self._say(line=line, error=error)

    def facts(self, text: str, **values: object) -> None:
        """Tell something else: in words, or its values as JSON."""
        if self.as_json:
            self._say(**values)
        else:
            say(text)

    def _say(self, **values: object) -> None:
        say(json.dumps({name: value for name, value in values.items() if value is not None}, ensure_ascii=False))


class Bar:
    """One progress bar a stage, on a terminal; silent when the output is piped.

    Args:
        part: Which of several clips it is about, in words; empty for the only one.
    """

    def __init__(self, part: str = "") -> None:
        self._part = part
        self._stage = ""
        self._bar: tqdm[NoReturn] | None = None

    def show(self, progress: Progress) -> None:
        """Draw how far the engine is."""
        if self._bar is None or progress.stage != self._stage:
            self.close()
            self._stage = progress.stage
            name = ", ".join(filter(None, (self._part, progress.stage)))
            self._bar = tqdm(total=progress.total, desc=name, disable=None, leave=False)
        self._bar.total = progress.total
        self._bar.set_postfix_str(progress.note, refresh=False)
        self._bar.update(progress.step - self._bar.n)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
