"""Values of a diffusers configuration that networks are compared by."""

from collections.abc import Mapping

from pipelines.plan.errors import WeightsError
from pipelines.plan.faults import Fault

UNET_CONFIG = "unet/config.json"


def block_channels(
    config: Mapping[str, object], *, name: str, field: str = "base_model", file: str = UNET_CONFIG
) -> tuple[int, ...]:
    """Return the channels of a network's blocks, outermost first.

    Args:
        name: What to call the network's owner.
        field: The request's field it was chosen by.
        file: The configuration.

    Raises:
        WeightsError: They are no list of whole numbers.
    """
    channels = config.get("block_out_channels")
    if isinstance(channels, (list, tuple)) and channels and all(type(count) is int for count in channels):
        return tuple(channels)
    rule = "have a list of whole numbers as block_out_channels in its {config:s}"
    raise _no_number("weights.no_block_channels", rule, channels, name=name, field=field, file=file)


def text_width(unet: Mapping[str, object], *, name: str) -> int:
    """Return the width of the text that a base model's UNet reads.

    Raises:
        WeightsError: It is no whole number.
    """
    width = unet.get("cross_attention_dim")
    if type(width) is int:
        return width
    rule = "have one whole number as cross_attention_dim in its {config:s}"
    raise _no_number("weights.no_text_width", rule, width, name=name, field="base_model", file=UNET_CONFIG)


def _no_number(code: str, rule: str, value: object, *, name: str, field: str, file: str) -> WeightsError:
    values = {"config": file, "value": str(value)[:60]}
    seen, fix = "'{got:s}', which has {value:s} there", "Install it again or choose another"
    return WeightsError(Fault(code, field, rule, name, fix, seen=seen, values=values))
