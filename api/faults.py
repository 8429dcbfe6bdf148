"""What a visitor of the page or the endpoint is told when something goes wrong."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import gradio as gr

from pipelines.errors import UserError

OUR_FAULT = "Something went wrong on our side. Try again; if it happens again, tell the owner of this page."
_log = logging.getLogger(__name__)


@contextmanager
def faults_in_words(in_words: Callable[[str], str] = str) -> Iterator[None]:
    """Pass a `UserError` on word for word; log anything else in full and show only a general sentence.

    Args:
        in_words: Puts its text into the words of whoever is told.
    """
    try:
        yield
    except gr.Error:
        raise
    except Exception as err:
        raise gr.Error(fault_text(err, in_words), print_exception=False) from err


def fault_text(err: Exception, in_words: Callable[[str], str] = str) -> str:
    """What is told of an error: a `UserError`'s own text or ZeroGPU's, else a general sentence and a log in full.

    Args:
        err: What was raised; call it while it is handled.
        in_words: Puts a `UserError`'s text into the words of whoever is told.
    """
    if isinstance(err, UserError):
        return in_words(str(err))
    if isinstance(err, gr.Error):
        return str(err.message)
    _log.exception("A generation failed.")
    return OUR_FAULT
