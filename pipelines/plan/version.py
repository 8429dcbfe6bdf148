"""The app's version, the same as in `pyproject.toml` (tested)."""

VERSION = "0.7.0"
