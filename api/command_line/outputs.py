"""Output files of the command line: names, formats, placement."""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, Self

from pipelines.plan.choices import OutputFormat
from pipelines.plan.errors import InvalidRequestError, UserError
from pipelines.plan.faults import Fault

SUFFIX_FORMATS: dict[str, OutputFormat] = {
    ".mp4": OutputFormat.MP4,
    ".gif": OutputFormat.GIF,
    ".zip": OutputFormat.PNG,
    ".webp": OutputFormat.WEBP,
    ".webm": OutputFormat.WEBM,
    ".png": OutputFormat.APNG,
    ".apng": OutputFormat.APNG,
    ".txt": OutputFormat.TXT,
}
LINE, SEED = "{line}", "{seed}"
"""What stands in names for the number of a batch's line, in four digits, and for the clip's seed."""

_SLASHES = ("/", os.sep)


class Output(NamedTuple):
    """Destination of a clip's file, or folder of its PNG frames."""

    path: Path
    is_folder: bool

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a name given on the command line.

        Raises:
            InvalidRequestError: No file can have it.
        """
        if not text:
            raise InvalidRequestError(
                Fault(code="output.empty", field="output", rule="be a name", got="none", fix="Write -o clip.mp4")
            )
        path = Path(text)
        try:
            path.resolve()
            is_folder = path.is_dir() or text.endswith(_SLASHES)
        except (OSError, ValueError):  # too long, a null byte
            raise InvalidRequestError(
                Fault(
                    code="output.no_file_name",
                    field="output",
                    rule="be a name that a file can have",
                    got=text,
                    fix="Choose another",
                )
            ) from None
        return cls(path.resolve() if is_folder and path.name in ("", "..") else path, is_folder)

    @property
    def recipe_file(self) -> Path:
        """The file that carries the recipe once the clip is made."""
        return self.path / "recipe.json" if self.is_folder else self.path

    def with_seed(self, seed: int, *, is_one_of_several: bool = False) -> Self:
        """Insert the seed into the name.

        At its placeholder, or else, for one clip of several, behind the stem.

        Example:
            >>> [str(Output.parse(name).with_seed(7, is_one_of_several=True).path) for name in ("a.mp4", "{seed}a.mp4")]
            ['a-7.mp4', '7a.mp4']
        """
        if SEED in str(self.path):
            return self._replace(path=Path(str(self.path).replace(SEED, str(seed))))
        return self._replace(path=self.path.with_stem(f"{self.path.stem}-{seed}")) if is_one_of_several else self

    @property
    def format(self) -> OutputFormat:
        """The format that its name asks for.

        Raises:
            InvalidRequestError: It has no ending that says a format.
        """
        if self.is_folder:
            return OutputFormat.PNG
        try:
            return SUFFIX_FORMATS[self.path.suffix.lower()]
        except KeyError:
            raise InvalidRequestError(
                Fault(
                    code="output.unknown_ending",
                    field="output",
                    rule="end in one of {known:s} or be a folder",
                    got=str(self.path),
                    fix="Rename it",
                    limit=tuple(SUFFIX_FORMATS),
                    values={"known": ", ".join(SUFFIX_FORMATS)},
                    seen="{got:s}",
                )
            ) from None

    def take(self, source: Path, *, is_reused: bool = False) -> None:
        """Move a finished file there; all of it or nothing.

        Args:
            source: The file.
            is_reused: Whether the file must stay for another output.
        """
        if not self.is_folder:
            if is_reused:
                source = Path(shutil.copy2(source, source.with_name(f"{source.stem}-copy{source.suffix}")))
            source.replace(self.path)
            return
        from media.png import unpack_frames  # brings Pillow, which most commands can do without

        unpacked = source.with_name(f"{source.stem}-frames")
        unpack_frames(source, unpacked)
        target = self.path.resolve()  # a link to a folder stays one
        with suppress(FileNotFoundError):
            target.rmdir()
        unpacked.rename(target)


def line_pattern(text: str) -> str:
    """Build a name for all lines of a batch, with a placeholder.

    Args:
        text: As it stands behind `-o`; of a folder the clips are put in it.

    Example:
        >>> [line_pattern(text) for text in ("clips/", "clip.gif", "{seed}.webm")]
        ['clips/{line}.mp4', 'clip-{line}.gif', '{seed}.webm']
    """
    if LINE in text or SEED in text:
        return text
    if Output.parse(text).is_folder:
        return f"{text.rstrip(''.join(_SLASHES))}/{LINE}.mp4"
    path = Path(text)
    return str(path.with_name(f"{path.stem}-{LINE}{path.suffix}"))


def formats_of(outputs: Sequence[Output]) -> tuple[OutputFormat, ...]:
    """List the formats that the names ask for, each once.

    Raises:
        InvalidRequestError: A name has no ending that says a format.
    """
    return tuple(dict.fromkeys(output.format for output in outputs))


def take_all(sources: Sequence[Path], outputs: Sequence[Output]) -> None:
    """Move finished files into their places.

    Args:
        sources: One of each of the outputs' formats, in the order of `formats_of`.
        outputs: Several may be of one format, as a zip of frames and a folder of them.
    """
    files = dict(zip(formats_of(outputs), sources, strict=True))
    for place, output in enumerate(outputs):
        later = [other.format for other in outputs[place + 1 :]]
        output.take(files[output.format], is_reused=output.format in later)


def check_places(outputs: Sequence[Output]) -> None:
    """Check that finished files can be moved to their places.

    Raises:
        InvalidRequestError: The folder is not there, or not the same for all; two have one place; or frames would get
            among other files.
    """
    first = outputs[0].path
    places = [output.path.resolve() for output in outputs]
    if twice := next((path for path in places if places.count(path) > 1), None):
        raise InvalidRequestError(
            Fault(
                code="output.named_twice",
                field="output",
                rule="name each place once",
                got=twice.name,
                fix="Leave one out",
                seen="{got:s} twice",
            )
        )
    for output, is_folder in outputs:
        if is_folder and output.exists() and (not output.is_dir() or any(output.iterdir())):
            raise InvalidRequestError(
                Fault(
                    code="output.folder_not_empty",
                    field="output",
                    rule="be a new or an empty folder for frames",
                    got=str(output),
                    fix="Name another",
                    seen="{got:s}",
                )
            )
        if not output.parent.is_dir():
            raise InvalidRequestError(
                Fault(
                    code="output.no_folder",
                    field="output",
                    rule="be a file in an existing folder",
                    got=str(output),
                    fix="Make the folder first",
                    seen="{got:s}",
                )
            )
        if output.parent.resolve() != first.parent.resolve():
            raise InvalidRequestError(
                Fault(
                    code="output.other_folder",
                    field="output",
                    rule="be in the folder of the first one ({limit:s})",
                    got=str(output),
                    fix="Choose one folder",
                    limit=str(first.parent),
                    seen="{got:s}",
                )
            )


@contextmanager
def ensure_folder(folder: Path) -> Iterator[None]:
    """Create a folder for several clips; remove it if unused.

    Raises:
        UserError: It can't be made.
    """
    was_there = folder.is_dir()
    try:
        folder.mkdir(exist_ok=True)
    except OSError as err:
        raise UserError(
            Fault(
                code="output.no_room_for_folder",
                field="output",
                rule="leave room for a folder {folder:s}",
                got=str(err.strerror),
                fix="Choose another name",
                values={"folder": str(folder)},
                seen="{got:s}",
            )
        ) from err
    try:
        yield
    finally:
        if not was_there:
            with suppress(OSError):  # not empty
                folder.rmdir()
