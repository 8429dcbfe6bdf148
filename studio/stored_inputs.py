"""Store of input images and clips, by hash."""

import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from media.image_and_mask import brings_masks
from media.input_files import InputKind, sniff
from media.input_store import InputStore
from media.inputs import naming_field
from media.picture_folder import pictures_in
from media.picture_zip import PictureZip
from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.faults import Fault
from pipelines.plan.settings import settings


def input_store() -> InputStore:
    """Open the store of the current settings' inputs."""
    return _store_in(inputs_folder() / "inputs")


def inputs_folder() -> Path:
    """Locate inputs: the settings' folder, or the process's temporary one."""
    return settings().inputs_dir or Path(_temporary().name)


@cache
def _store_in(folder: Path) -> InputStore:
    return InputStore(folder)


@cache
def _temporary() -> "tempfile.TemporaryDirectory[str]":
    return tempfile.TemporaryDirectory(prefix="inputs-")  # goes with the process


def keep(paths: Sequence[Path], *, field: str) -> str:
    """Store a file, or several images ordered by name as one clip.

    Args:
        paths: Uploaded files, or such as the caller vouches for; none of them is changed.
        field: The field of the request they are for.

    Returns:
        The hash, empty for no files.

    Raises:
        InvalidRequestError: A file is of no kind that is read, damaged or too large; or it brings masks, which only a
            source clip may.
    """
    if not paths:
        return ""
    store = input_store()
    if len(paths) > 1:
        return store.add_frames(paths, field=field)
    _refuse_masks(paths[0], field)
    return store.add(paths[0], field=field)


def keep_source(paths: Sequence[Path], *, field: str = "source_video") -> tuple[str, str]:
    """Store a source clip, splitting a zip of `image` and `mask`.

    Returns:
        The hash of the source, and that of the mask; empty where there is none.

    Raises:
        InvalidRequestError: As `keep`; or a zip has not as many masks as pictures.
    """
    if len(paths) == 1 and _brings_masks(paths[0], field):
        return input_store().add_image_and_mask(paths[0], field=field)
    return keep(paths, field=field), ""


def keep_local(path: Path, *, field: str) -> str:
    """Store a file or image folder that the operator names.

    Raises:
        InvalidRequestError: As `keep`; or the folder has no pictures.
    """
    if not path.is_dir():
        return keep([path], field=field)
    _refuse_masks(path, field)
    return input_store().add_folder(path, field=field)


def keep_local_source(path: Path, *, field: str = "source_video") -> tuple[str, str]:
    """Store an operator's source, splitting folders or zips of `image` and `mask`.

    Returns:
        The hash of the source, and that of the mask; empty where there is none.

    Raises:
        InvalidRequestError: As `keep_local`; or there are not as many masks as pictures.
    """
    if not path.is_dir():
        return keep_source([path], field=field)
    if _brings_masks(path, field):
        return input_store().add_image_and_mask(path, field=field)
    return keep_local(path, field=field), ""


def _brings_masks(path: Path, field: str) -> bool:
    with naming_field(field):
        if path.is_dir():
            return brings_masks(pictures_in(path))
        if sniff(path) is not InputKind.ZIP:
            return False
        with PictureZip(path) as pictures:
            return brings_masks(pictures.names)


def _refuse_masks(path: Path, field: str) -> None:
    if _brings_masks(path, field):
        rule, fix = "be pictures of one kind", "Name one of the two folders, or use them as the source clip"
        raise InvalidRequestError(Fault("folder.image_and_mask", field, rule, "folders image and mask", fix))


def is_here(sha256: str) -> bool:
    """Whether the store still has an input; counts as use."""
    try:
        input_store().path(sha256)
    except InvalidRequestError:
        return False
    return True
