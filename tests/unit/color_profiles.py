"""ICC profiles as cameras and programs embed them: the published primaries of each colour space, adapted to D50."""

import struct
from collections.abc import Mapping

from PIL import ImageCms


def _number(value: float) -> bytes:
    return struct.pack(">i", round(value * 65536))


def _xyz(*values: float) -> bytes:
    return b"XYZ \0\0\0\0" + b"".join(map(_number, values))


def _curve(gamma: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))


def _profile(space: bytes, tags: Mapping[bytes, bytes], *, kind: bytes = b"mntr", connection: bytes = b"XYZ ") -> bytes:
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + b"\0" * 78,
        b"cprt": b"text\0\0\0\0none\0",
        b"wtpt": _xyz(0.9642, 1, 0.8249),
        **tags,
    }
    table, data, offset = b"", b"", 132 + 12 * len(tags)
    for name, value in tags.items():
        value += b"\0" * (-len(value) % 4)
        table += name + struct.pack(">II", offset + len(data), len(value))
        data += value
    body = struct.pack(">I", len(tags)) + table + data
    head = struct.pack(">I4sI4s4s4s", 128 + len(body), b"test", 0x02400000, kind, space, connection)
    white = _number(0.9642) + _number(1) + _number(0.8249)
    return head + b"\0" * 12 + b"acsp" + b"\0" * 28 + white + b"\0" * 48 + body


def _rgb(red: tuple[float, ...], green: tuple[float, ...], blue: tuple[float, ...], gamma: float) -> bytes:
    curves = dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), _curve(gamma))
    return _profile(b"RGB ", {b"rXYZ": _xyz(*red), b"gXYZ": _xyz(*green), b"bXYZ": _xyz(*blue), **curves})


def _printer() -> bytes:
    """CMYK by a table of two points a channel: each ink takes its share of light, and black half of it."""
    identity = struct.pack(">9i", *(round(value * 65536) for value in (1, 0, 0, 0, 1, 0, 0, 0, 1)))
    head = b"mft1\0\0\0\0" + struct.pack(">BBBB", 4, 3, 2, 0) + identity
    ramp = bytes(range(256))
    grid = bytearray()
    for cyan in (0, 1):
        for magenta in (0, 1):
            for yellow in (0, 1):
                for black in (0, 1):
                    light = (1 - 0.2 * cyan - 0.3 * magenta - 0.1 * yellow) * (1 - 0.7 * black)
                    a = 128 - 60 * cyan + 80 * magenta
                    b = 128 - 30 * cyan - 20 * magenta + 90 * yellow
                    grid += bytes((round(255 * light), min(255, max(0, a)), min(255, max(0, b))))
    table = head + ramp * 4 + bytes(grid) + ramp * 3
    return _profile(b"CMYK", {b"A2B0": table}, kind=b"prtr", connection=b"Lab ")


DISPLAY_P3 = _rgb((0.51512, 0.2412, -0.00105), (0.29198, 0.69225, 0.04189), (0.1571, 0.06657, 0.78407), 2.2)
ADOBE_RGB = _rgb((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457), 2.19921875)
PROPHOTO = _rgb((0.79767, 0.28804, 0.0), (0.13519, 0.71188, 0.0), (0.03134, 0.00009, 0.82491), 1.8)
GREY_GAMMA_1_8 = _profile(b"GRAY", {b"kTRC": _curve(1.8)})
PRINTER = _printer()
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
BY_NAME = {"Display P3": DISPLAY_P3, "Adobe RGB": ADOBE_RGB, "ProPhoto": PROPHOTO}
"""Those of colour pictures that change something."""
