"""Decode bytes as text in whatever character set was used."""

import re

_UNSEEN = re.compile("[\0-\x08\x0e-\x1f\x7f]")
_MARKS = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe\0\0", "utf-32"),
    (b"\0\0\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
_COMMENT_HEAD = 8
_SHARE_OF_NULS = 0.2
_LOOKED_AT = 1 << 16


def decode_text(data: bytes) -> tuple[str | None, bool]:
    """Decode a file's bytes as UTF-8, UTF-16 or Windows-1252.

    Returns:
        The text, None where these are no text's bytes; and whether its character set is certain.
    """
    for mark, charset in _MARKS:
        if data.startswith(mark):
            return data.decode(charset, errors="replace"), True
    if b"\0" in data:
        order = _order_of(data[:_LOOKED_AT])
        return (data[: len(data) // 2 * 2].decode(order, errors="replace"), True) if order else (None, True)
    try:
        return data.decode(), True
    except UnicodeDecodeError as err:
        if err.end >= len(data) - 3 and err.reason == "unexpected end of data":
            return data[: err.start].decode(), True
    text = data.decode("cp1252", errors="replace")
    return (None, False) if _UNSEEN.search(text) else (text, False)


def decode_comment(data: bytes) -> str:
    """Decode EXIF's user comment, whose head names the character set.

    UTF-16 comes in both orders whatever the header says, and some programs write UTF-8 behind the name of UTF-16, or no
    name at all: what gives the most ASCII is meant.
    """
    head, text = data[:_COMMENT_HEAD], data[_COMMENT_HEAD:]
    if head.upper().startswith(b"UNICODE"):
        return _likeliest(text).rstrip("\0")
    if head.startswith(b"JIS") and b"\x1b$" in text:
        return text.decode("iso2022_jp", errors="replace").rstrip("\0")
    if head.startswith((b"ASCII", b"JIS", b"\0\0\0\0")):
        return decode_tag(text)
    return decode_tag(data)


def decode_tag(data: bytes) -> str:
    """Decode a text without a named character set.

    UTF-8 if it can be that, UTF-16 by its zeros, else Windows-1252.
    """
    plain = data.rstrip(b"\0")
    try:
        if b"\0" not in plain:
            return plain.decode()
    except UnicodeDecodeError:
        pass
    text, _ = decode_text(data)
    return (_likeliest(data) if text is None else text).rstrip("\0")


def _likeliest(data: bytes) -> str:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", errors="replace")
    readings = [data.decode(order, errors="replace") for order in ("utf-16-be", "utf-16-le", "utf-8")]
    return max(readings, key=lambda text: sum(" " <= sign <= "~" or sign == "\n" for sign in text) / (len(text) or 1))


def _order_of(data: bytes) -> str | None:
    """Detect the byte order of UTF-16 text by its zeros."""
    half = max(1, len(data) // 2)
    first, second = data[0::2].count(0) / half, data[1::2].count(0) / half
    if second > _SHARE_OF_NULS and first < second / 8:
        return "utf-16-le"
    if first > _SHARE_OF_NULS and second < first / 8:
        return "utf-16-be"
    return None
