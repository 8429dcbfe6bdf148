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
    except UserError as err:
        raise gr.Error(in_words(str(err)), print_exception=False) from err
    except gr.Error:
        raise
    except Exception as err:
        _log.exception("A generation failed.")
        raise gr.Error(OUR_FAULT, print_exception=False) from err
