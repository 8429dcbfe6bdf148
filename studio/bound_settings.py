"""Functions that run with the settings of one studio, whoever calls them."""

import inspect
from collections.abc import AsyncIterator, Callable, Generator
from functools import wraps
from typing import Any

from pipelines.plan.settings import Settings, use_settings


def bind_settings(function: Callable[..., Any], config: Settings) -> Callable[..., Any]:
    """Wrap a function so that it runs with these settings.

    Of a generator every step does: gradio takes each in a context of its own, and between two steps the settings of
    whoever takes them hold. The wrapper is of the function's own kind, since gradio looks whether it is a generator.

    Args:
        function: A plain one, a generator or an asynchronous generator.
        config: The settings.
    """
    if inspect.isasyncgenfunction(function):

        @wraps(function)
        async def stream(*args: object, **kwargs: object) -> AsyncIterator[object]:
            with use_settings(config):
                events = function(*args, **kwargs)
            try:
                while True:
                    with use_settings(config):
                        try:
                            event = await anext(events)
                        except StopAsyncIteration:
                            return
                    yield event
            finally:
                with use_settings(config):
                    await events.aclose()

        return stream

    if inspect.isgeneratorfunction(function):

        @wraps(function)
        def generate(*args: object, **kwargs: object) -> Generator[object, None, object]:
            events = function(*args, **kwargs)
            try:
                while True:
                    with use_settings(config):
                        try:
                            event = next(events)
                        except StopIteration as end:
                            return end.value
                    yield event
            finally:
                with use_settings(config):
                    events.close()

        return generate

    @wraps(function)
    def call(*args: object, **kwargs: object) -> object:
        with use_settings(config):
            return function(*args, **kwargs)

    return call
