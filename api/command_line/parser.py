"""Parse the command line's words into a `Command`."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import NoReturn

from api.command_line.help import PROGRAM, add_options, help_text
from api.command_line.options import HELP, option_groups
from api.command_line.terminal import say
from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.faults import Fault
from pipelines.plan.version import VERSION

EXIT_USAGE = 2
_AT_MOST_ONE = (
    ("list", "self_test", "estimate", "preprocess"),
    ("batch", "grid", "preprocess", "count"),
    ("batch", "grid", "preprocess", "seeds"),
    ("grid", "preprocess", "skip_done"),
)


@dataclass(frozen=True)
class Command:
    """The parsed command line.

    Args:
        clip: What describes a clip, by name, as far as it was said: fields of the request, files as paths, and
            `recipe`, `extend`, `frames` and `preset`.
        others: As the options of these names; False, None or empty where they were not given.
    """

    clip: Mapping[str, object] = field(default_factory=dict)
    output: Sequence[str] = ()
    count: str | None = None
    seeds: str | None = None
    grid: Sequence[str] = ()
    batch: str | None = None
    skip_done: bool = False
    json: bool = False
    checkpoints: str | None = None
    estimate: bool = False
    preprocess: bool = False
    list: str | None = None
    self_test: bool = False


def parse(words: Sequence[str] | None = None) -> Command:
    """Parse the words behind the program's name; `sys.argv` if not given.

    Raises:
        InvalidRequestError: Options that leave each other out.
        SystemExit: There is no such option, or help or the version was printed.
    """
    parser = _OneLineParser(prog=PROGRAM, argument_default=argparse.SUPPRESS, allow_abbrev=False, add_help=False)
    add_options(parser, option_groups())
    parser.add_argument(*HELP.names, action=_Help, nargs="?")
    values = vars(parser.parse_args(words))
    if values.pop("version", False):
        say(VERSION)
        parser.exit()
    options = {option.name: values.pop(option.name) for option in fields(Command) if option.name in values}
    command = Command(values, **options)
    _check(command)
    return command


def _check(command: Command) -> None:
    """Refuse options that exclude each other."""
    for names in _AT_MOST_ONE:
        present = [name.replace("_", "-") for name in names if getattr(command, name)]
        if len(present) > 1:
            raise InvalidRequestError(
                Fault(
                    code="options.exclude_each_other",
                    field=present[1],
                    rule="come without --{other}",
                    got="both",
                    fix="Leave one out",
                    values={"other": present[0]},
                )
            )


class _OneLineParser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        if message.endswith("expected one argument"):
            option = message.removeprefix("argument ").split(":")[0].split("/")[-1]
            message += f", got none. Where a value begins with -, write {option}=-value"
        self.exit(EXIT_USAGE, f"{message}. See '{self.prog} --help'.\n")


class _Help(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, _space: object, topic: object, _option: object = None) -> None:
        try:
            say(help_text(str(topic) if topic else None).strip())
        except InvalidRequestError as err:
            parser.exit(EXIT_USAGE, f"{err}\n")
        parser.exit()
