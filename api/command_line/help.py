"""Help texts: the usual options first, all others by topic."""

import shutil
import textwrap
from argparse import SUPPRESS, ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Mapping, Sequence
from functools import partial

from api.command_line.options import HELP, OWN_GROUPS, Option, option_groups
from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.faults import Fault

PROGRAM = "python -m api"
ALL = "all"
_USUAL = ("Clip", *OWN_GROUPS)
_USAGE = f"{PROGRAM} [PROMPT] -o FILE [-o FILE …] [OPTION …]"
_ABOUT = f"""Make a clip from words, pictures and clips.

  {PROGRAM} "a red circle moving right on a blue background" -o clip.mp4
  {PROGRAM} --recipe clip.mp4 -o again.gif --seed 8
  {PROGRAM} --batch clips.jsonl -o clips/ --skip-done

More is in docs/command-line.md."""
_NAMES_COLUMN = 26
_MOST_COLUMNS = 120


def add_options(parser: ArgumentParser, groups: Mapping[str, Sequence[Option]]) -> None:
    """Add options to a parser, under their headings."""
    for heading, options in groups.items():
        group = parser.add_argument_group(heading)
        for option in options:
            group.add_argument(*option.names, help=option.help.replace("%", "%%"), **option.settings)


def help_text(topic: str | None = None) -> str:
    """Format the help about a topic, as wide as the terminal.

    Args:
        topic: A heading, an option's name, or "all"; None for the usual options and the names of the others.

    Raises:
        InvalidRequestError: There is no such topic.
    """
    groups = option_groups()
    if topic is None:
        usual = {heading: groups[heading] for heading in _USUAL}
        return _format_help(usual | {"Help": (_help_option(),)}, about=_ABOUT, epilog=_index(groups))
    if topic == ALL:
        return _format_help(groups | {"Help": (_help_option(),)}, about=_ABOUT)
    topics = topic_names(groups)
    query = topic.lstrip("-").replace("_", "-").lower()
    if query in topics:
        heading = topics[query]
        return _format_help({heading: groups[heading]})
    for heading, options in groups.items():
        matches = [option for option in options if query in (name.lstrip("-") for name in option.names)]
        if matches:
            return _format_help({heading: matches})
    raise InvalidRequestError(
        Fault(
            code="help.unknown_topic",
            field="help",
            rule="be about a topic or an option",
            got=topic[:60],
            fix="Topics: {topics:s}",
            limit=(*topics, ALL),
            values={"topics": ", ".join((*topics, ALL))},
        )
    )


def topic_names(groups: Mapping[str, Sequence[Option]]) -> dict[str, str]:
    """Map the words for `--help` to headings.

    Example:
        >>> topic_names({"Larger and smoother": ()})
        {'larger-and-smoother': 'Larger and smoother'}
    """
    return {heading.lower().replace(" ", "-"): heading for heading in groups}


def _format_help(groups: Mapping[str, Sequence[Option]], *, about: str | None = None, epilog: str | None = None) -> str:
    parser = ArgumentParser(
        prog=PROGRAM,
        usage=_USAGE if about else SUPPRESS,
        description=about,
        epilog=epilog,
        add_help=False,
        formatter_class=partial(RawDescriptionHelpFormatter, max_help_position=_NAMES_COLUMN, width=_columns()),
    )
    add_options(parser, groups)
    return parser.format_help()


def _help_option() -> Option:
    return HELP._replace(settings={"nargs": "?", "metavar": "TOPIC"})


def _index(groups: Mapping[str, Sequence[Option]]) -> str:
    """List the options that the usual help leaves out."""
    lines = [f"More options, told by --help TOPIC, by --help OPTION and by --help {ALL}:"]
    for topic, heading in topic_names(groups).items():
        if heading not in _USUAL:
            names = " ".join(option.names[0].removeprefix("--") for option in groups[heading])
            lead = f"  {topic:<{_NAMES_COLUMN - 4}}  "
            lines += textwrap.wrap(
                names, _columns(), initial_indent=lead, subsequent_indent=" " * _NAMES_COLUMN, break_on_hyphens=False
            )
    return "\n".join(lines)


def _columns() -> int:
    return min(shutil.get_terminal_size().columns, _MOST_COLUMNS) - 2
