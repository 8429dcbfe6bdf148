"""The pictures and clips this process was given, by their hash."""

import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from media.input_files import InputKind, sniff
from media.input_store import InputStore, pictures_in
from media.inputs import named
from media.picture_zip import has_image_and_mask
from pipelines.errors import InvalidRequestError
from pipelines.settings import settings


@cache
def input_store() -> InputStore:
    """Where this process keeps what it is given."""
    return InputStore(inputs_folder() / "inputs")


@cache
def inputs_folder() -> Path:
    """Where they lie: the operator's folder, or one that goes with the process."""
    return settings().inputs_dir or Path(_temporary().name)


@cache
def _temporary() -> "tempfile.TemporaryDirectory[str]":
    return tempfile.TemporaryDirectory(prefix="inputs-")  # goes with the process


def keep(paths: Sequence[Path], *, field: str) -> str:
    """Keep a file, or several pictures as one clip in the order of their names; what a request calls them.

    Args:
        paths: Uploaded files, or such as the caller vouches for; none of them is changed.
        field: The field of the request they are for.

    Returns:
        The hash, empty for no files.

    Raises:
        InvalidRequestError: A file is of no kind that is read, damaged or too large.
    """
    if not paths:
        return ""
    store = input_store()
    return store.add(paths[0], field=field) if len(paths) == 1 else store.add_frames(paths, field=field)


def keep_source(paths: Sequence[Path], *, field: str = "source_video") -> tuple[str, str]:
    """Keep a source clip as `keep` does; a zip with folders `image` and `mask` is taken apart.

    Returns:
        The hash of the source, and that of the mask; empty where there is none.

    Raises:
        InvalidRequestError: As `keep`; or a zip has not as many masks as pictures.
    """
    with named(field):
        if len(paths) == 1 and sniff(paths[0]) is InputKind.ZIP and has_image_and_mask(paths[0]):
            return input_store().add_image_and_mask(paths[0], field=field)
    return keep(paths, field=field), ""


def is_here(sha256: str) -> bool:
    """Whether this process still has an input; it counts as used."""
    try:
        input_store().path(sha256)
    except InvalidRequestError:
        return False
    return True


def keep_own(path: Path, *, field: str) -> str:
    """Keep a file, or the pictures of a folder, that the operator names on the command line."""
    return keep(pictures_in(path) if path.is_dir() else [path], field=field)
