"""Commands that make no clip: control preview, self-test, lists of names."""

import sys
from contextlib import closing
from pathlib import Path

from api.command_line.clips import EXIT_FAILED
from api.command_line.lists import LISTS
from api.command_line.outputs import Output
from api.command_line.terminal import Bar, Results, quiet_when_piped
from pipelines.plan.errors import UserError
from pipelines.plan.events import Clip
from pipelines.plan.gpu import find_gpu
from pipelines.plan.request import GenerationRequest
from studio.control_preview import MakePreview
from studio.engine import MakeClip, run_folder
from studio.engine_start import warm
from studio.self_test import demo_request, studio_facts


def make_preview(request: GenerationRequest, output: Output, preview: MakePreview, results: Results) -> int:
    """Write the first control unit's preview; return the exit code."""
    quiet_when_piped()
    try:
        with (
            run_folder(output.path.parent, prefix=".clip-") as folder,
            closing(preview(request, folder)) as events,
            closing(Bar()) as bar,
        ):
            for event in events:
                if isinstance(event, Path):
                    output.take(event)
                    results.written(output.path, seed=request.seed)
                else:
                    bar.show(event)
    except UserError as err:
        results.failed(str(err), line=None)
        return EXIT_FAILED
    return 0


def make_test_clip(engine: MakeClip, results: Results) -> int:
    """Generate the test clip, report facts; return the exit code."""
    quiet_when_piped()
    seconds = 0.0
    try:
        with run_folder() as folder, closing(engine(demo_request(), folder)) as events, closing(Bar()) as bar:
            for event in events:
                if isinstance(event, Clip):
                    seconds = event.seconds
                else:
                    bar.show(event)
    except UserError as err:
        results.failed(str(err), line=None)
        return EXIT_FAILED
    if "pipelines.engine.generate" in sys.modules:
        warm().join()  # finds out what computed
    text = find_gpu().text
    facts = {"Test clip": f"made in {seconds:.1f} s"} | studio_facts() | ({"GPU": text} if text else {})
    width = max(map(len, facts))
    results.facts("\n".join(f"{name:<{width}}  {text}" for name, text in facts.items()), **facts)
    return 0


def report_names(kind: str, results: Results) -> int:
    """Report a list's names and meanings; return the exit code."""
    entries = LISTS[kind]()
    width = max((len(name) for name, _ in entries), default=0)
    for name, description in entries:
        results.facts(f"{name:<{width}}  {description}", name=name, description=description)
    return 0
