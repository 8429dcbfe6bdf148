"""The version of the app, which every recipe names; `pyproject.toml` has the same (a test compares)."""

VERSION = "0.7.0"
