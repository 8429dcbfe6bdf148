"""Build networks without memory from a configuration, check and fill them."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import CLIPTextConfig, PreTrainedModel

from pipelines.engine.interruptible import watch
from pipelines.engine.weights.reading import missing, not_whole, require_layout
from pipelines.engine.weights.scaled import refuse_whole_numbers
from pipelines.plan.findings import Finding

#: More layers, or entries in a list, than any published configuration has: beyond it one is damaged or hostile.
_MOST_LAYERS = 128
Renamer = Callable[[Mapping[str, Tensor], nn.Module], dict[str, Tensor]]


class Words(NamedTuple):
    """Names for a network in error messages: kind, request field, model."""

    what: str
    field: str
    name: str


def empty_network(kind: Any, config: Mapping[str, object], words: Words) -> nn.Module:
    """Build a network without memory.

    Args:
        kind: Its class, diffusers' or transformers'.
        config: Its configuration, as published.

    Raises:
        WeightsError: The configuration makes none.
    """
    if not _is_plausible(config):
        why = "its configuration has more layers than any such model"
        raise not_whole(Finding("weights.too_many_layers", why), **words._asdict())
    try:
        with torch.device("meta"):
            if issubclass(kind, PreTrainedModel):
                return kind(CLIPTextConfig.from_dict(dict(config)))
            return kind.from_config(dict(config))
    except Exception as err:  # the libraries' own checks raise whatever they meet; nothing was read yet
        why = "its configuration makes no such network"
        raise not_whole(Finding("weights.makes_no_network", why), **words._asdict()) from err


def fit_tensors(network: nn.Module, stored: Mapping[str, Tensor], rename: Renamer, words: Words) -> dict[str, Tensor]:
    """Select a network's tensors from a file's, under the network's names.

    Args:
        stored: A file's tensors, or as many without memory to see whether they fit.
        named: Renames them.

    Raises:
        WeightsError: Some are missing or misshapen.
    """
    try:
        tensors = rename(stored, network)
    except KeyError as err:  # a converter's, of the name it looked for
        raise not_whole(missing(err), **words._asdict()) from err
    except (IndexError, AttributeError, RuntimeError, ValueError, TypeError) as err:
        why = "its tensors are not laid out as one's"
        raise not_whole(Finding("weights.laid_out_otherwise", why), **words._asdict()) from err
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    fit = {name: tensor for name, tensor in tensors.items() if name in expected}
    require_layout({name: tuple(tensor.shape) for name, tensor in fit.items()}, expected, **words._asdict())
    return fit


def fill_network(network: nn.Module, tensors: Mapping[str, Tensor], words: Words) -> nn.Module:
    """Give an empty network its tensors, and freeze it for evaluation.

    Raises:
        WeightsError: A tensor holds whole numbers, as quantised weights do.
    """
    refuse_whole_numbers(tensors, field=words.field, file=words.name)
    network.load_state_dict(tensors, strict=True, assign=True)
    for path, buffer in list(network.named_buffers()):
        if buffer.is_meta:  # what is never stored: the numbers of CLIP's positions
            owner, _, name = path.rpartition(".")
            network.get_submodule(owner).register_buffer(name, torch.arange(buffer.shape[-1])[None], persistent=False)
    watch(network)
    return network.requires_grad_(False).eval()


def meta_tensors(shapes: Mapping[str, tuple[int, ...]], prefix: str = "") -> dict[str, Tensor]:
    """Make meta tensors for the names with a prefix, which is removed."""
    matching = {name.removeprefix(prefix): shape for name, shape in shapes.items() if name.startswith(prefix)}
    return {name: torch.empty(shape, device="meta") for name, shape in matching.items()}


def _is_plausible(config: Mapping[str, object]) -> bool:
    def within(value: object) -> bool:
        if isinstance(value, list | tuple):
            return len(value) <= _MOST_LAYERS and all(within(entry) for entry in value)
        return not isinstance(value, int) or value <= _MOST_LAYERS

    lists = all(len(value) <= _MOST_LAYERS for value in config.values() if isinstance(value, list | tuple))
    return lists and all(within(value) for key, value in config.items() if "layers" in key)
