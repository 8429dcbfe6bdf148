"""What is known of files on the Hub: `repositories.toml`, as records."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class KnownFile:
    """A file on the Hub.

    Attributes:
        bytes, sha256: None where no public source states them.
    """

    bytes: int | None = None
    sha256: str | None = None


@cache
def repositories() -> Mapping[str, Mapping[str, KnownFile]]:
    """Read all repositories: their files by name, those that are only known to be there too."""
    tables: Mapping[str, Any] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
    return {
        repo: {name: KnownFile() for name in table.get("seen", ())}
        | {name: KnownFile(**facts) for name, facts in table.get("files", {}).items()}
        for repo, table in tables.items()
    }
