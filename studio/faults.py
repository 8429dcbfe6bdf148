"""What a visitor of the page or the endpoint is told when something goes wrong."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import gradio as gr

from pipelines.plan.errors import UserError
from pipelines.plan.faults import ENGLISH, Words

OUR_FAULT = "Something went wrong on our side. Try again; if it happens again, tell the owner of this page."
_log = logging.getLogger(__name__)


@contextmanager
def faults_in_words(words: Words = ENGLISH) -> Iterator[None]:
    """Pass a `UserError` on; log anything else in full and show only a general sentence.

    Args:
        words: Of whoever is told; programs, who are told in English, get the fault's code as the error's title.
    """
    try:
        yield
    except gr.Error:
        raise
    except Exception as err:
        told = told_of(err)
        title = told.fault.code if told.fault and words is ENGLISH else "Error"
        raise gr.Error(told.in_words(words), title=title, print_exception=False) from err


def told_of(err: Exception) -> UserError:
    """What is told of an error: a `UserError` itself, ZeroGPU's text, else a general sentence and a log in full.

    Args:
        err: What was raised; call it while it is handled.
    """
    if isinstance(err, UserError):
        return err
    if isinstance(err, gr.Error):
        return UserError(str(err.message))
    _log.exception("A generation failed.")
    return UserError(OUR_FAULT)
