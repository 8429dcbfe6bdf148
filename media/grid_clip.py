"""Write clips side by side, with labels, as clip and picture."""

from collections.abc import Generator, Sequence
from contextlib import ExitStack, closing
from fractions import Fraction
from functools import cache
from io import BytesIO
from math import ceil
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from media.ffmpeg import Frames
from media.read import iter_frames, probe
from media.write import open_clip
from pipelines.plan.choices import OutputFormat

MAX_GRID_SIDE = 4096
"""The longest side that H.264 and browsers agree on, pixels; cells are made smaller where they need more."""

GAP = 4
_PAD, _TEXT_SIZE, _LINE = 6, 14, 18
_MOST_LINES, _SIDE_WIDTH = 3, 140
_MAX_RATE_PART = 1001
_PAPER, _INK = (255, 255, 255), (20, 20, 20)


class GridSheet:
    """Sheet that holds the cells of a grid.

    Args:
        columns: Words above each column, all empty for none.
        rows: Words beside each row, all empty for none.
        width, height: Of the largest cell, pixels.

    Attributes:
        size: Width and height of it all, pixels.
        cell: Width and height of a cell, pixels.
    """

    def __init__(self, columns: Sequence[str], rows: Sequence[str], width: int, height: int) -> None:
        self._columns, self._rows = columns, rows
        self._left = min(_SIDE_WIDTH, ceil(max(map(_font().getlength, rows))) + 2 * _PAD) if any(rows) else 0
        room_above = MAX_GRID_SIDE - _MOST_LINES * _LINE - _PAD
        wide = (MAX_GRID_SIDE - self._left) / len(columns) - GAP
        high = room_above / len(rows) - GAP
        scale = min(1, wide / width, high / height)
        self.cell = max(1, int(width * scale)), max(1, int(height * scale))
        above = [_wrapped(text, self.cell[0] - GAP) for text in columns]
        self._top = max(len(lines) for lines in above) * _LINE + _PAD if any(columns) else 0
        self.size = self._left + len(columns) * (self.cell[0] + GAP), self._top + len(rows) * (self.cell[1] + GAP)

    def corner(self, number: int) -> tuple[int, int]:
        """Compute x and y of a cell's upper left pixel.

        Cells are counted along the rows, from 0.
        """
        row, column = divmod(number, len(self._columns))
        return self._left + column * (self.cell[0] + GAP), self._top + row * (self.cell[1] + GAP)

    def blank(self) -> Frames:
        """Draw the sheet without clips, uint8 [H, W, 3]."""
        picture = Image.new("RGB", self.size, _PAPER)
        draw = ImageDraw.Draw(picture)
        for number, text in enumerate(self._columns):
            _write(draw, (self.corner(number)[0] + GAP // 2, _PAD // 2), _wrapped(text, self.cell[0] - GAP))
        for number, text in enumerate(self._rows):
            y = self.corner(number * len(self._columns))[1]
            _write(draw, (_PAD, y), _wrapped(text, self._left - 2 * _PAD, max(1, self.cell[1] // _LINE)))
        return np.array(picture)

    def put(self, sheet: Frames, number: int, frame: Frames) -> None:
        """Fit a frame, uint8 [h, w, 3], centred into its cell."""
        picture = Image.fromarray(frame)
        width, height = self.cell
        scale = min(width / picture.width, height / picture.height)
        if scale != 1:
            size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
            picture = picture.resize(size, Image.Resampling.LANCZOS)
        x, y = self.corner(number)
        x, y = x + (width - picture.width) // 2, y + (height - picture.height) // 2
        sheet[y : y + picture.height, x : x + picture.width] = np.asarray(picture)


def write_grid(
    clips: Sequence[Path],
    folder: Path,
    *,
    columns: Sequence[str],
    rows: Sequence[str],
    stem: str,
    formats: Sequence[OutputFormat],
    recipe: str,
) -> Generator[tuple[int, int], None, tuple[Path, ...]]:
    """Write clips side by side, and a PNG of the middle moment.

    One frame of every clip is in memory, however long they are, and for every video a process decodes. All play at
    the highest of their rates; a clip that ends before the others holds its last frame.

    Args:
        clips: Of this app, row by row: as many as columns times rows.
        folder: Where the files go. Nothing is left there if it is closed or fails.
        columns, rows: What is written at each.
        stem: Name of the files without ending.
        formats: Of the clip.
        recipe: What all files carry.

    Yields:
        Frames written so far, and how many there will be.

    Returns:
        The clip's files, then the picture.

    Raises:
        UserError: A clip can't be read, or the formats can't hold the rate.
    """
    infos = [probe(path) for path in clips]
    rates = [info.fps for info in infos if info.fps]  # all of them
    fps = max(rates).limit_denominator(_MAX_RATE_PART)
    total = max(ceil(info.num_frames * fps / rate) for info, rate in zip(infos, rates, strict=True))
    paper = GridSheet(columns, rows, max(info.width for info in infos), max(info.height for info in infos))
    sheet, picture = paper.blank(), BytesIO()
    width, height = paper.size
    with (
        ExitStack() as opened,
        open_clip(folder, stem=stem, formats=formats, fps=fps, width=width, height=height, recipe=recipe) as clip,
    ):
        cells = [
            opened.enter_context(closing(_resampled(iter_frames(path), rate / fps)))
            for path, rate in zip(clips, rates, strict=True)
        ]
        for done in range(total):
            for number, cell in enumerate(cells):
                if (frame := next(cell, None)) is not None:
                    paper.put(sheet, number, frame)
            clip.write(sheet[None])
            if done == total // 2:
                _save_picture(sheet, picture, recipe)
            yield done + 1, total
    target = folder / f"{stem}-picture.png"
    target.write_bytes(picture.getvalue())
    return (*clip.files, target)


def _resampled(frames: Generator[Frames, None, None], step: Fraction) -> Generator[Frames | None, None, None]:
    """Yield the frame of each moment, None where it is unchanged.

    Between two moments `step` <= 1 frames go by.
    """
    place, last_number = Fraction(0), -1
    with closing(frames):
        for number, frame in enumerate(frames):
            while int(place) == number:
                yield frame if last_number != number else None
                last_number = number
                place += step


def _save_picture(sheet: Frames, target: BytesIO, recipe: str) -> None:
    text = PngInfo()
    text.add_itxt("parameters", recipe)
    Image.fromarray(sheet).save(target, "PNG", pnginfo=text)


@cache
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(_TEXT_SIZE)  # Pillow's own, so that every machine draws the same


def _wrapped(text: str, width: int, most: int = _MOST_LINES) -> list[str]:
    """Wrap text into lines that fit.

    Words break only where they must; the last line may end with an ellipsis.
    """
    lines: list[str] = []
    for letter in " ".join(text.split()):
        if lines and _font().getlength(lines[-1] + letter) <= width:
            lines[-1] += letter
        elif len(lines) < most:
            words, space, word = lines[-1].rpartition(" ") if lines and letter != " " else ("", "", "")
            if space:
                lines[-1] = words
            lines.append((word if space else "") + letter.strip())
        else:
            while lines[-1] and _font().getlength(f"{lines[-1]}…") > width:
                lines[-1] = lines[-1][:-1]
            lines[-1] += "…"
            break
    return lines or [""]


def _write(draw: ImageDraw.ImageDraw, corner: tuple[int, int], lines: Sequence[str]) -> None:
    for number, line in enumerate(lines):
        draw.text((corner[0], corner[1] + number * _LINE), line, _INK, _font())
