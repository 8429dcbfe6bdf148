"""Print results to stdout, for pipes, and all else to stderr."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from tqdm import tqdm

from pipelines.plan.events import Progress
from studio.library_environment import hide_download_bars


def say(text: str) -> None:
    """Print a result and flush, as another program may read along."""
    print(text, flush=True)  # noqa: T201 - a terminal is what this talks to


def warn(text: str) -> None:
    """Print a message to stderr, above a bar if there is one."""
    tqdm.write(text, file=sys.stderr)


def quiet_when_piped() -> None:
    """Silence the libraries' bars without a terminal, before they are imported."""
    if not sys.stderr.isatty():
        hide_download_bars()


@dataclass(frozen=True)
class Results:
    """Reports finished files, one line each.

    Args:
        as_json: As JSON objects, else in words.
    """

    as_json: bool = False

    def written(
        self, path: Path, *, seed: int | None = None, seconds: float | None = None, line: int | None = None
    ) -> None:
        """Report a file that was written.

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
        """Report a file that was there before."""
        if self.as_json:
            self._say(line=line, output=str(path), seed=seed, skipped=True)
        else:
            say(f"{path}  seed {seed}  was there")

    def failed(self, error: str, *, line: int | None) -> None:
        """Report a failed clip, on stderr and as JSON on stdout."""
        warn(error if line is None else f"line {line}: {error}")
        if self.as_json:
            self._say(line=line, error=error)

    def facts(self, text: str, **values: object) -> None:
        """Report anything else: in words, or its values as JSON."""
        if self.as_json:
            self._say(**values)
        else:
            say(text)

    def _say(self, **values: object) -> None:
        say(json.dumps({name: value for name, value in values.items() if value is not None}, ensure_ascii=False))


class Bar:
    """Progress bars, one a stage; silent when stderr is piped.

    Args:
        part: Which of several clips it is about, in words; empty for the only one.
    """

    def __init__(self, part: str = "") -> None:
        self._part = part
        self._stage = ""
        self._bar: tqdm[NoReturn] | None = None

    def show(self, progress: Progress) -> None:
        """Draw the engine's progress."""
        if self._bar is None or progress.stage != self._stage:
            self.close()
            self._stage = progress.stage
            name = ", ".join(filter(None, (self._part, progress.stage)))
            self._bar = tqdm(total=progress.total, desc=name, disable=None, leave=False)
        self._bar.total = progress.total
        self._bar.set_postfix_str(progress.note, refresh=False)
        self._bar.update(round(progress.units, 2) - self._bar.n)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
