"""The one exception a visitor may see."""


class UserError(ValueError):
    """Something the person who asked can put right; its text says what and how.

    Written as "`<field> must <rule>, got <value>. <What to do>.`" Every face of the app (page, API,
    command line) shows the text as it is and no traceback. Anything else that is raised is our fault.
    """


class InvalidRequestError(UserError):
    """A field of a request breaks a rule; raised before any model is touched."""


class WeightsError(UserError):
    """A weights file is missing, damaged, unsafe, or made for another architecture."""


class GenerationError(UserError):
    """The numbers of a clip left the range of what can be computed or drawn."""


class CancelledError(UserError):
    """The person who asked has stopped the generation."""
