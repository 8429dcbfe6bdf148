"""Names that sd-webui-animatediff uses for our choices. They exist here alone."""

from pipelines.choices import ClosedLoop

CLOSED_LOOPS: dict[str, ClosedLoop] = {
    "N": ClosedLoop.OFF,
    "R-P": ClosedLoop.WINDOWS,
    "R+P": ClosedLoop.PROMPTS,
    "A": ClosedLoop.FULL,
}
"""Its letters: no loop, reduced without and with prompts, aggressive."""
