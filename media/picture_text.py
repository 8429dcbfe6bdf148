"""The text inside a picture that says how it was made, where image programs put it. Pictures may come from anybody."""

from pathlib import Path

from PIL.ExifTags import IFD, Base
from PIL.Image import Image

from media.pictures import opened_picture

_KEYS = ("parameters", "Comment", "comment", "Description")
_CHARSET_BYTES = 8


def read_picture_text(path: Path) -> str | None:
    """The text `parameters` of a PNG, else the comment a user put into the EXIF of a PNG, WebP or JPEG.

    Returns:
        None where there is none.

    Raises:
        BadInputError: It is no whole picture.
    """
    with opened_picture(path) as picture:
        for key in _KEYS:
            value = picture.info.get(key)
            if isinstance(value, bytes):
                value = value.decode(errors="replace")
            if isinstance(value, str) and value:
                return value
        return _user_comment(picture)


def _user_comment(picture: Image) -> str | None:
    """EXIF's comment, whose first 8 bytes name its character set; UTF-16 without a mark is read big end first."""
    data = picture.getexif().get_ifd(IFD.Exif).get(Base.UserComment)
    if isinstance(data, str):
        return data or None
    if not isinstance(data, bytes):
        return None
    charset, text = data[:_CHARSET_BYTES], data[_CHARSET_BYTES:]
    if charset.startswith(b"UNICODE"):
        has_mark = text[:2] in (b"\xff\xfe", b"\xfe\xff")
        return text.decode("utf-16" if has_mark else "utf-16-be", errors="replace") or None
    return text.decode(errors="replace").rstrip("\0") or None
