"""Closing of endpoints' generators away from the server's event loop."""

import threading
from collections.abc import Callable, Generator, Iterator
from contextvars import copy_context
from functools import wraps
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")


def closes_in_thread(function: Callable[_P, Generator[_T, None, None]]) -> Callable[_P, Iterator[_T]]:
    """Have a generator function's generators closed in a thread.

    Gradio closes what is cancelled on its event loop, and a generator of ours ends with the layer that a network is
    at: every page would stand still until then.
    """

    @wraps(function)
    def generate(*args: _P.args, **kwargs: _P.kwargs) -> Iterator[_T]:
        generator = function(*args, **kwargs)
        try:
            for value in generator:  # noqa: UP028 - `yield from` would close it here
                yield value
        except GeneratorExit:
            threading.Thread(target=copy_context().run, args=(generator.close,), name="closing").start()
            raise

    return generate
