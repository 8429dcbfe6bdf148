"""Cache folder for measurements and digests, which can be recomputed."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return `animatediff-studio` in the user's cache folder; it may not exist."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "animatediff-studio"
