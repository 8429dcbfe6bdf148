"""A preprocessor's weights from the Hub, by the same checked way as all models."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from controlnet.preprocessor import MODEL_CONFIG, MODEL_WEIGHTS, Filter, Preprocessor, Setting, Weights
from controlnet.preprocessors import OFFLINE, get_preprocessor, options_of, weights_wanted
from pipelines.engine.weights.downloads import fetch
from pipelines.plan.request_fields.units import ControlUnit

_INSTEAD = f"Choose a preprocessor that needs no download ({', '.join(OFFLINE)})"


def fetch_weights(units: Iterable[ControlUnit]) -> None:
    """Have the weights of the units' preprocessors on this disk, for where they must be there before a device is lent.

    Raises:
        InvalidRequestError: A preprocessor or its options can't be used.
        WeightsError: A file can't be had, or is damaged.
    """
    for unit in units:
        for weights in filter(None, weights_wanted(get_preprocessor(unit.preprocessor), options_of(unit))):
            _fetched(weights)


def built_with_weights(preprocessor: Preprocessor, setting: Setting) -> Filter:
    """Fetch what it needs with these options, and make it.

    Raises:
        WeightsError: A file can't be had, is damaged, or is another network's.
    """
    wanted = weights_wanted(preprocessor, setting.options)
    files = tuple(_fetched(weights) if weights else None for weights in wanted)
    return preprocessor.build(replace(setting, files=files))


def _fetched(weights: Weights) -> Path:
    """The file, or the folder with a model's configuration and weights; its pickle only if there is nothing else."""
    if weights.name:
        return fetch(weights.repo, weights.name, "main", field="controls", instead=_INSTEAD)
    safe, pickled = MODEL_WEIGHTS
    folder = fetch(weights.repo, [MODEL_CONFIG, safe], "main", field="controls", instead=_INSTEAD)
    if (folder / safe).is_file():
        return folder
    return fetch(weights.repo, [MODEL_CONFIG, pickled], "main", field="controls", instead=_INSTEAD)
