"""Resolve uploaded files: the only values from outside that become paths."""

import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.faults import Fault


def uploaded_path(value: object, field: str) -> Path:
    """Resolve an upload to a file in Gradio's upload folder.

    Gradio describes uploads as `{"path": …}`. A plain text is refused: it would let anybody name any file of this
    computer. So is a link that leads out.

    Args:
        value: What the caller sent.
        field: What the error calls it.

    Returns:
        The plain file, every link followed.

    Raises:
        InvalidRequestError: It is nothing that was uploaded here, or not here any more.

    Example:
        >>> uploaded_path("/etc/passwd", "mask")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        pipelines.plan.errors.InvalidRequestError: mask must be an uploaded file, got something else...
    """
    from gradio.utils import get_upload_folder  # costs seconds that the command line must not wait for

    upload_path = value.get("path") if isinstance(value, Mapping) else None
    if isinstance(upload_path, str) and upload_path:
        try:
            path = Path(upload_path).resolve(strict=True)
            if path.is_relative_to(Path(get_upload_folder()).resolve()) and stat.S_ISREG(path.stat().st_mode):
                return path
        except (OSError, ValueError, RuntimeError):
            pass  # gone, a name with a null byte, links in a circle: refused in the same words, which tell nothing
    rule, fix = "be an uploaded file", "Choose the file again"
    raise InvalidRequestError(Fault("upload.none", field, rule, "something else", fix))


def uploaded_paths(value: object, field: str) -> Sequence[Path]:
    """Resolve none, one or several uploads to files.

    Raises:
        InvalidRequestError: One of them is nothing that was uploaded here, or not here any more.

    Example:
        >>> uploaded_paths(None, "mask")
        []
    """
    if value in (None, "", []):
        return []
    return [uploaded_path(upload, field) for upload in (value if isinstance(value, list) else [value])]
