"""The folder for what can always be made again: measurements of the machine, digests of files. No torch."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """`animatediff-studio` in `XDG_CACHE_HOME`, or in `.cache` of the user's home; it may not exist yet."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "animatediff-studio"
