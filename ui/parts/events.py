"""What the page's own events have in common."""

from typing import Any

QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
"""An event that is no endpoint, and puts no veil over what it writes to: the page itself says what it does."""
