"""Types of what handlers give to Gradio, which has none."""

from collections.abc import Sequence
from typing import Any, TypeGuard

from gradio.blocks import Block

Update = object
"""A component's new value, or what `gr.update` or `gr.skip` makes in its place."""

Updates = dict[Block, Update]
"""Of some of an event's outputs, by component."""

UpdatesById = dict[str, Update]
"""Of components, by `elem_id`."""

Choices = Sequence[tuple[str, str]]
"""Labels and values of a list."""


def is_update(update: Update) -> TypeGuard[dict[str, Any]]:
    """Tell whether `gr.update` or `gr.skip` made it."""
    return isinstance(update, dict) and update.get("__type__") == "update"
