"""Import the engine once per process; other threads wait for it."""

import importlib
import logging
import threading
from dataclasses import dataclass

from pipelines.plan.notes import Note
from studio.library_environment import set_for_engine

set_for_engine()


@dataclass
class EngineState:
    """Start-up state of this process's engine, for `/health` and the page.

    Args:
        status: "starting", "ready", or "broken" if it can't be imported.
        device: What computes, in words; "starting" until that is known.
        trouble: Why no model could be placed while the app started, in words; empty if one was, or none was to be.
    """

    status: str = "starting"
    device: str = Note("facts.starting", "starting")
    trouble: str = ""


STATE = EngineState()
_log = logging.getLogger(__name__)
_importing = threading.Lock()


def import_engine() -> None:
    """Import the engine, or wait until another thread has.

    diffusers puts a lazy module in its own place while it is imported. A thread that asks for it meanwhile gets the
    one before, which has nothing in it: "cannot import name 'SchedulerMixin'", for as long as the process lives.
    """
    with _importing:
        importlib.import_module("pipelines.engine.generate")


def warm() -> threading.Thread:
    """Import the engine in a background thread, ahead of the first click."""

    def work() -> None:
        try:
            import_engine()
            STATE.device = importlib.import_module("pipelines.engine.device").device_name()
            STATE.status = "ready"
        except Exception:
            STATE.status = STATE.device = "broken"
            _log.exception("The engine could not be imported; clips will fail until this is put right.")

    thread = threading.Thread(target=work, name="warm-engine", daemon=True)
    thread.start()
    return thread
