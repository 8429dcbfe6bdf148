"""The rooms of the code, what each may import, and their table in ARCHITECTURE.md.

python -m scripts.rooms_table ARCHITECTURE.md
"""

import sys
from pathlib import Path
from typing import NamedTuple

_BEGIN, _END = "<!-- rooms: made by scripts/rooms_table.py -->\n", "<!-- end of rooms -->\n"


class Room(NamedTuple):
    """A package, and the packages it may import beside itself.

    Args:
        holds: What stands there, a line of Markdown.
        below: Of `pipelines.plan` the whole room; of `pipelines` all of its floors.
    """

    holds: str
    below: tuple[str, ...] = ()


_FACE = ("pipelines.plan", "controlnet", "media", "studio", "api.recipes")

ROOMS = {
    "pipelines.plan": Room(
        "the contract, without torch: request, prompt text, context windows, catalog, presets, estimate (`planner/`), "
        "faults, notes, settings"
    ),
    "pipelines.engine": Room(
        "the machine: `generate.py` and its denoising loop, base models, motion modules, LoRAs, steering, weights",
        ("pipelines.plan",),
    ),
    "controlnet": Room("a clip → what a ControlNet follows: edges, depth, poses, in one registry", ("pipelines",)),
    "media": Room("files → frames and back, a writer a format, recipes inside them", ("pipelines.plan",)),
    "finishing": Room("finished frames → more, larger, of other colours, stage after stage", ("pipelines",)),
    "studio": Room(
        "the service: joins engine and writers, lends the device, keeps jobs, uploads and the gallery, holds limits",
        ("pipelines", "controlnet", "finishing", "media"),
    ),
    "api.recipes": Room(
        "any file or text → the request in it: ours, infotext, names of other programs",
        ("pipelines.plan", "media", "studio"),
    ),
    "api.web": Room(
        "endpoints of `gradio_client`, agents' tools, health, limits at the door", ("pipelines.plan", "studio")
    ),
    "api.sdapi": Room("the REST API in the dialect of AUTOMATIC1111's web UI", _FACE),
    "api.command_line": Room("options → requests → files", _FACE),
    "ui.words": Room("all the page says, a table a language", ("pipelines.plan", "controlnet", "studio")),
    "ui.parts": Room("controls made from fields, progress, events", ("pipelines.plan", "studio", "ui.words")),
    "ui.charts": Room(
        "drawings: windows, prompt timeline, falloff of a picture", ("pipelines.plan", "studio", "ui.words", "ui.parts")
    ),
    "ui.inputs": Room(
        "what a clip is made from: tabs' inputs, control units, models, presets",
        ("pipelines.plan", "controlnet", "media", "studio", "ui.words", "ui.parts", "ui.charts"),
    ),
    "ui.results": Room(
        "what comes of it: jobs, results, gallery, grid, estimate, restoring",
        ("pipelines.plan", "studio", "api.recipes", "api.web", "ui.words", "ui.parts", "ui.inputs"),
    ),
    "ui": Room("composes the page of all that", ("pipelines.plan", "studio", "api.web")),
}
"""Lowest first. A room's own package may be imported by its rooms' composer: `ui` stands above `ui.words`."""


def rooms_table() -> str:
    """The table in Markdown."""
    rows = [f"| `{name.replace('.', '/')}/` | {room.holds} | {_listed(room.below)} |" for name, room in ROOMS.items()]
    return "\n".join(("| room | holds | may import |", "|---|---|---|", *rows, ""))


def with_rooms(page: str) -> str:
    """A page with the table as the rooms are now."""
    before, rest = page.split(_BEGIN)
    _, after = rest.split(_END)
    return f"{before}{_BEGIN}\n{rooms_table()}\n{_END}{after}"


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name.replace('.', '/')}`" for name in names) or "–"


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(with_rooms(path.read_text()))
