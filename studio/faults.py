"""Turn exceptions into messages for visitors of the page or endpoint."""

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
    """Raise `gr.Error` for any exception; log unexpected ones in full.

    Args:
        words: Of the reader; programs, which get English, get the fault's code as the error's title.
    """
    try:
        yield
    except gr.Error:
        raise
    except Exception as err:
        error = to_user_error(err)
        title = error.fault.code if error.fault and words is ENGLISH else "Error"
        raise gr.Error(error.in_words(words), title=title, print_exception=False) from err


def to_user_error(err: Exception) -> UserError:
    """Convert any exception to a `UserError`.

    A `UserError` stays, ZeroGPU's errors keep their text, and all others are logged in full and become a general
    sentence.

    Args:
        err: What was raised; call it while it is handled.
    """
    if isinstance(err, UserError):
        return err
    if isinstance(err, gr.Error):
        return UserError(str(err.message))
    _log.exception("A generation failed.")
    return UserError(OUR_FAULT)
