"""Common arguments of the page's own events."""

QUIET: dict[str, object] = {"api_visibility": "private", "show_progress": "hidden"}
"""An event that is no endpoint, and puts no veil over what it writes to: the page itself says what it does."""
