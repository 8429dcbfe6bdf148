"""The one exception a visitor may see."""

from pipelines.plan.faults import ENGLISH, Fault, Words


class UserError(ValueError):
    """An error the user can correct; its text says what and how.

    Every face of the app (page, API, command line) puts the fault into its own words and shows no traceback. Anything
    else that is raised is our fault.

    Args:
        fault: The broken rule, or a text where another program's words are all there is.
    """

    fault: Fault | None = None

    def __init__(self, fault: Fault | str) -> None:
        if isinstance(fault, Fault):
            self.fault = fault
        super().__init__(ENGLISH.sentence(fault) if isinstance(fault, Fault) else fault)

    def in_words(self, words: Words) -> str:
        """Render the refusal in a face's own words."""
        return words.sentence(self.fault) if self.fault else words.text(str(self))


class InvalidRequestError(UserError):
    """A field of a request breaks a rule, before models are touched."""


class WeightsError(UserError):
    """A weights file is missing, damaged, unsafe, or made for another architecture."""


class GenerationError(UserError):
    """Values of a clip became NaN or infinite."""


class CancelledError(UserError):
    """The person who asked has stopped the generation."""
