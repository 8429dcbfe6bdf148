"""Store pictures of a body, and files below the operator's folder."""

import binascii
import re
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import unquote

from api.sdapi.faults import KeyFaultError, name_of, refuse
from media.input_files import BadInputError, InputKind, sniff
from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.faults import Place
from pipelines.plan.settings import settings
from studio.request_inputs import source_facts
from studio.stored_inputs import keep, keep_local, keep_local_source

MAX_PICTURE_BYTES = 32 << 20
"""Of one picture, as a file."""

_MAX_CHARACTERS = MAX_PICTURE_BYTES // 3 * 4 + 4
_LONGEST_HEAD = 300
_WORD = re.compile(r"[\s\ufeff]*(?:(?:data:)?[\w/.+-]*;)?base64[:;]|[\s\ufeff]*b(?=['\"])", re.IGNORECASE)
_SIGNS = str.maketrans("-_", "+/", "\t\r\n\v\f'\"=\ufeff")


def keep_picture(value: object, place: Place) -> str:
    """Store a base64 picture, with or without `data:…;base64,`.

    Returns its hash. Padding may lack, and the alphabet may be that of URLs. Addresses are refused: nothing is fetched
    for a caller.

    Raises:
        KeyFaultError: It is no picture or too large; the text is decoded only if it is short enough.
    """
    if not isinstance(value, str) or not value:
        raise refuse(place, "be a picture in base64", value or "none", fix="Send one.")
    if len(value) > _MAX_CHARACTERS:
        size = f"{len(value):,} characters"
        raise refuse(place, f"have at most {MAX_PICTURE_BYTES >> 20} MiB", size, fix="Make the picture smaller.")
    text = value[value.rfind(",", 0, _LONGEST_HEAD) + 1 :]  # no base64 has a comma
    text = text[match.end() :].strip() if (match := _WORD.match(text)) else text.strip()
    try:
        plain = (unquote(text) if "%" in text else text).translate(_SIGNS)
        # In a form that was sent without escapes, + became a space.
        plain = plain.replace(" ", "" if "\n" in text else "+")
        data = b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise refuse(place, "be a picture in base64", value, fix="Encode the file's bytes.") from None
    with TemporaryDirectory(prefix="sdapi-") as folder:
        path = Path(folder) / "picture"
        path.write_bytes(data)
        try:
            kind = sniff(path)
        except BadInputError:
            kind = None
        if kind is not InputKind.PICTURE:
            raise refuse(place, "be a picture", "a file of another kind", fix="Send a PNG, JPEG or WebP.")
        return _store_checked(lambda: keep([path], field=name_of(place)), place)


def keep_path(value: object, place: Place) -> str:
    """Store a clip or picture folder from the operator's folder.

    Raises:
        KeyFaultError: There is no such folder, or nothing there that can be used; both in the same words for a path
            that leads out, so that nothing is revealed of what is outside.
    """
    path = _below_operators_folder(value, place)
    return _store_checked(lambda: keep_local(path, field=name_of(place)), place)


def keep_source_path(value: object, place: Place) -> tuple[str, str]:
    """Store a source from the operator's folder, splitting off masks.

    It may be a folder or zip with `image` and `mask` in it. Returns its hash and that of its masks.

    Raises:
        KeyFaultError: As `keep_path`.
    """
    path = _below_operators_folder(value, place)
    masks = ""

    def store() -> str:
        nonlocal masks
        source, masks = keep_local_source(path, field=name_of(place))
        return source

    return _store_checked(store, place), masks


def _below_operators_folder(value: object, place: Place) -> Path:
    configured = settings().sdapi_files_dir
    if not configured:
        raise refuse(place, "be empty on this server", value, fix="Its operator has not set SDAPI_FILES_DIR.")
    folder = configured.resolve()
    try:
        path = (folder / str(value)).resolve(strict=True)
    except (OSError, ValueError, RuntimeError):
        path = folder  # gone, a null byte, links in a circle
    if path == folder or not path.is_relative_to(folder):
        raise refuse(place, "be a path below the operator's folder", value, fix="Put the files there.")
    return path


def _store_checked(store: Callable[[], str], place: Place) -> str:
    """Store an input and check that its header can be read."""
    try:
        sha256 = store()
        source_facts(sha256, field=name_of(place))
    except InvalidRequestError as err:
        raise KeyFaultError(place, err.fault or str(err)) from err
    return sha256
