"""A prompt parsed once: when each text is shown, and its tags."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from pipelines.plan.prompt.tags import Tag, read_tags, split_tags
from pipelines.plan.prompt.travel import PromptTravel, plan_travel


@dataclass(frozen=True)
class ParsedPrompt:
    """One prompt of a request; tags are read when first used.

    Args:
        field: Its name in the request.
        written: The prompt.
        travel: Which of its texts each frame shows, with their tags.
    """

    field: str
    written: str
    travel: PromptTravel

    @cached_property
    def tags(self) -> tuple[Tag, ...]:
        """The tags as written, with their places, repeated ones too.

        Raises:
            InvalidRequestError: As `split_tags`.
        """
        return tuple(read_tags(self.written, field=self.field))

    @property
    def tags_by_text(self) -> list[list[Tag]]:
        """Tags of each text of the travel, shared lines' included."""
        parts = self.travel.parts or [(text,) for text in self.travel.texts]
        return [[piece for part in text for piece in self._pieces[part] if isinstance(piece, Tag)] for text in parts]

    def with_tags_replaced(self, replacement: Callable[[Tag], str]) -> PromptTravel:
        """Replace every tag in the texts; their times stay."""
        return self.travel.edited(
            lambda part: "".join(
                piece if isinstance(piece, str) else replacement(piece) for piece in self._pieces[part]
            )
        )

    @cached_property
    def _pieces(self) -> dict[str, list[str | Tag]]:
        """Tags of every part of the texts, and the text between."""
        parts = [part for text in self.travel.parts for part in text] or self.travel.texts
        return {part: split_tags(part, field=self.field) for part in parts}


def parse_prompt(
    written: str, *, num_frames: int, field: str = "prompt", hold: float = 0.0, closed: bool = False
) -> ParsedPrompt:
    """Parse a prompt; arguments as `plan_travel`.

    Raises:
        InvalidRequestError: A line is wrong; the text names line and column.

    Example:
        >>> parsed = parse_prompt("a fox <lora:mine>\\n0: by day\\n4: by night <lora:dark:0.5>", num_frames=8)
        >>> [[tag.name for tag in tags] for tags in parsed.tags_by_text]
        [['mine'], ['mine', 'dark']]
        >>> parsed.with_tags_replaced(lambda _: "").texts
        ('a fox, by day', 'a fox, by night')
    """
    travel = plan_travel(written, num_frames=num_frames, field=field, hold=hold, closed=closed)
    return ParsedPrompt(field, written, travel)
