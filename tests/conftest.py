"""What all tests share: property tests that a busy machine does not fail, and that repeat where nobody looks on."""

import os

import pytest
from hypothesis import settings

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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: (*HEAVIEST_FIRST, item.path.stem).index(item.path.stem))
