"""Endpoints are closed without the server's loop waiting for a network."""

import inspect
import threading
from collections.abc import Generator

from api.web.closing import closes_in_thread


def test_closing_returns_at_once_and_the_generator_is_closed_behind_it():
    may_end, has_ended = threading.Event(), threading.Event()

    @closes_in_thread
    def slow(first: int) -> Generator[int, None, None]:
        try:
            yield first
            yield first + 1
        finally:
            may_end.wait(20)
            has_ended.set()

    assert inspect.isgeneratorfunction(slow), "as Gradio asks"
    assert list(inspect.signature(slow).parameters) == ["first"]
    generator = slow(1)
    assert next(generator) == 1
    generator.close()
    assert not has_ended.is_set()
    may_end.set()
    assert has_ended.wait(20)


def test_what_runs_to_its_end_is_handed_on_whole():
    @closes_in_thread
    def count() -> Generator[int, None, None]:
        yield from range(3)

    assert list(count()) == [0, 1, 2]
