"""Translate ZeroGPU's errors into messages that visitors can act on.

`spaces` raises errors of Gradio's for it, with a title; what it says in seconds are those of the quota, of which a card
takes more than one for a second. Source: `zero/client.py` and `zero/wrappers.py` of spaces 0.51.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import gradio as gr
import httpx

from pipelines.plan.errors import UserError
from studio.device_leases import CutOffError, RefusedError
from studio.faults import OUR_FAULT

_LESS = "lower 'Steps' or 'Frames', make a draft"
_LOGIN = "log in to huggingface.co (a program sends its token)"
_BY_BEGINNING = {
    "You have too many ZeroGPU credits": "Too many seconds of your ZeroGPU quota are set aside for clips at work. "
    "Wait until one of them is finished.",
    "You have exceeded your ZeroGPU runs": f"You have used up your runs on ZeroGPU for now. To go on, {_LOGIN}, or "
    "come back later.",
    "Space app has reached": "ZeroGPU could not tell whose quota counts, and this Space's own is used up. To go on, "
    f"{_LOGIN}, and load the page again.",
    "No GPU was available": "No GPU was free in time. Try again in a few minutes. To come earlier in ZeroGPU's "
    f"line, {_LESS}, or {_LOGIN}.",
    "Expired ZeroGPU proxy token": "ZeroGPU's pass for this page has run out. Load it again, then press Generate.",
}
_QUOTA = re.compile(r"\((?P<requested>\d+)s requested vs\. (?P<left>-?\d+)s left\)(?:\. Try again in (?P<wait>[^.]+))?")
_TOO_LONG = re.compile(r"The requested GPU duration \((?P<requested>\d+)s\) is larger")
_OUT_OF_REACH = ("ZeroGPU API", "Unexpected end of stream", "Error while re-trying")
_CUT_OFF = "GPU task aborted"


@contextmanager
def lending_in_words(requested_s: int) -> Iterator[None]:
    """Translate the errors of a lent call.

    Args:
        requested_s: Seconds that it requests.

    Raises:
        CutOffError: The call was ended from outside.
        RefusedError: The platform lends nothing, or not for so long.
        UserError: What the function raised itself, as `faults_in_words` told it.
    """
    try:
        yield
    except gr.Error as err:
        raise _translate(str(err.message), err.title, requested_s) from err
    except httpx.HTTPError as err:
        raise _unreachable() from err
    except RuntimeError as err:
        if str(err).startswith(_OUT_OF_REACH):
            raise _unreachable() from err
        raise


def _translate(text: str, title: str, requested_s: int) -> Exception:
    if not title.startswith("ZeroGPU"):  # the function's own
        return gr.Error(OUR_FAULT, print_exception=False) if text == OUR_FAULT else UserError(text)
    if text == _CUT_OFF:
        return CutOffError(
            "The GPU was taken away before the clip was finished. To make it fit, lower 'Steps' or 'Frames'."
        )
    if quota := _QUOTA.search(text):
        return _too_little_left(quota, requested_s)
    if too_long := _TOO_LONG.search(text):
        requested = too_long["requested"]
        words = f"ZeroGPU lends no GPU for {requested} s of your quota at once. To go on, {_LESS}, or {_LOGIN}."
        return RefusedError(words, may_ask_s=requested_s // 2)  # the longest that is allowed is not told
    for beginning, words in _BY_BEGINNING.items():
        if text.startswith(beginning):
            return RefusedError(words)
    return RuntimeError(f"{title}: {text}")


def _too_little_left(quota: re.Match[str], requested_s: int) -> RefusedError:
    requested, left, wait = int(quota["requested"]), max(0, int(quota["left"])), quota["wait"]
    back = f"come back in {wait} (hours, minutes, seconds)" if wait else "come back tomorrow"
    return RefusedError(
        f"This asks for {requested} s of your ZeroGPU quota, of which {left} s are left. To go on, {_LESS}, "
        f"{_LOGIN}, or {back}.",
        may_ask_s=left * requested_s // requested if requested else None,
    )


def _unreachable() -> RefusedError:
    return RefusedError("ZeroGPU can't be reached. Try again in a few minutes.")
