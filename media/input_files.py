"""Files from anybody: what kind they are by their first bytes, and what is refused before anything reads on."""

import re
import stat
from enum import StrEnum
from pathlib import Path

CHOOSE_ANOTHER = "Choose another file"
KINDS_READ = "a picture, a clip or a zip of pictures"

_SNIFFED_BYTES = 64
_STARTS = {
    rb"\x89PNG\r\n\x1a\n|\xff\xd8\xff|GIF8[79]a|BM|II\*\0|MM\0\*|RIFF....WEBP": "picture",
    # MP4 and QuickTime; files from before `ftyp` was thought of begin with another box.
    rb"....(ftyp|moov|mdat|wide|free|skip)|\x1a\x45\xdf\xa3|RIFF....AVI ": "video",
    rb"PK\x03\x04": "zip",
}
# Playlists name other files, which would be read as well; the rest is refused by name because people try it.
_REFUSED = {
    rb"....ftyp(hei|hev|mif1|msf1|avi[fs])": "a HEIC or AVIF picture, which this app does not read",
    rb"\s*(#EXTM3U|ffconcat|\[playlist\])": "a playlist, which is no clip itself",
    rb"\s*<": "a web page, a drawing or a playlist",
    rb"%PDF": "a PDF",
    rb"PK\x05\x06": "an empty zip",
}


class InputKind(StrEnum):
    """What a file holds."""

    PICTURE = "picture"
    VIDEO = "video"
    ZIP = "zip"


class BadInputError(RuntimeError):
    """A file cannot be used. Its text is `must <rule>, got <value>. <What to do>.`

    Whoever knows the field it was given for puts that before it and raises a `UserError`.
    """


def sniff(path: Path) -> InputKind:
    """The kind of a file by its first bytes; names say nothing about files from outside.

    Raises:
        BadInputError: It is no plain file, empty, or of a kind that is not read.
    """
    check_plain_file(path)
    with path.open("rb") as file:
        start = file.read(_SNIFFED_BYTES)
    for pattern, got in _REFUSED.items():
        if re.match(pattern, start.removeprefix(b"\xef\xbb\xbf"), re.DOTALL):
            raise BadInputError(f"must be {KINDS_READ}, got {got}. {CHOOSE_ANOTHER}.")
    for pattern, kind in _STARTS.items():
        if re.match(pattern, start, re.DOTALL):
            return InputKind(kind)
    raise BadInputError(f"must be {KINDS_READ}, got a file of another kind. {CHOOSE_ANOTHER}.")


def check_plain_file(path: Path) -> int:
    """Refuse what is no file with something in it; links are not followed, and pipes would never end.

    Returns:
        Its size in bytes.

    Raises:
        BadInputError: It is missing, empty, a folder, a link, a pipe or a device.
    """
    try:
        found = path.lstat()
    except OSError as err:
        raise BadInputError(f"must be a file, got nothing. {CHOOSE_ANOTHER}.") from err
    if not stat.S_ISREG(found.st_mode):
        what = "a folder" if stat.S_ISDIR(found.st_mode) else "a link, a pipe or a device"
        raise BadInputError(f"must be a file, got {what}. {CHOOSE_ANOTHER}.")
    if found.st_size == 0:
        raise BadInputError(f"must be {KINDS_READ}, got an empty file. {CHOOSE_ANOTHER}.")
    return found.st_size


def natural_order(name: str) -> list[tuple[str, int, str]]:
    """Sorts names as people count.

    Example:
        >>> sorted(["frame10.png", "Frame2.png", "frame1.png"], key=natural_order)
        ['frame1.png', 'Frame2.png', 'frame10.png']
    """
    # Numbers are compared by length, then letter by letter: a name may have more digits than int() takes.
    parts = re.findall(r"(\D*)(\d*)", name.lower())
    return [(text, len(digits.lstrip("0")), digits.lstrip("0")) for text, digits in parts]
