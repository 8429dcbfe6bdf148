"""What all tests share: property tests that a busy machine does not fail, and that repeat where nobody looks on."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from hypothesis import settings

from pipelines.plan import settings as operator

settings.register_profile("studio", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("studio")

HEAVIEST_FIRST = (
    "test_extend",
    "test_zero_gpu",
    "test_denoise",
    "test_demo_motion",
    "test_real_engine",
    "test_library",
)
"""Files that take minutes: begun last, one of them would keep one process busy while the other has nothing to do."""


@pytest.fixture
def configure() -> Iterator[Callable[..., None]]:
    """Sets the operator's settings, by the names of their fields, for the rest of the test."""
    with ExitStack() as stack:

        def change(**values: object) -> None:
            stack.enter_context(operator.use_settings(operator.settings().model_copy(update=values)))

        yield change


@pytest.fixture
def environment() -> Iterator[Callable[..., None]]:
    """Sets variables, or with None takes them away; they are read as in a new process."""
    with pytest.MonkeyPatch.context() as patch:

        def change(**variables: str | None) -> None:
            for name, value in variables.items():
                patch.delenv(name, raising=False) if value is None else patch.setenv(name, value)
            operator.process_settings.cache_clear()

        yield change
    operator.process_settings.cache_clear()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: (*HEAVIEST_FIRST, item.path.stem).index(item.path.stem))
