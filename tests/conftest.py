"""What all tests share: property tests that a busy machine does not fail, and that repeat where nobody looks on."""

import os

from hypothesis import settings

settings.register_profile("studio", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("studio")
