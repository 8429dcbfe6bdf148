"""Download preprocessors' weights from the Hub through the checked loader."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from controlnet.preprocessor import MODEL_CONFIG, MODEL_WEIGHTS, Filter, Preprocessor, Setting, Weights
from controlnet.preprocessors import OFFLINE, get_preprocessor, options_of, weights_wanted
from pipelines.engine.weights.downloads import fetch
from pipelines.plan.request_fields.units import ControlUnit

_INSTEAD = f"Choose a preprocessor that needs no download ({', '.join(OFFLINE)})"


def fetch_weights(units: Iterable[ControlUnit]) -> None:
    """Download the weights of the units' preprocessors.

    For where they must be on this disk before a device is leased.

    Raises:
        InvalidRequestError: A preprocessor or its options can't be used.
        WeightsError: A file can't be had, or is damaged.
    """
    for unit in units:
        for weights in filter(None, weights_wanted(get_preprocessor(unit.preprocessor), options_of(unit))):
            _fetch(weights)


def built_with_weights(preprocessor: Preprocessor, setting: Setting) -> Filter:
    """Download the weights that these options need, and build the filter.

    Raises:
        WeightsError: A file can't be had, is damaged, or is another network's.
    """
    needed = weights_wanted(preprocessor, setting.options)
    files = tuple(_fetch(weights) if weights else None for weights in needed)
    return preprocessor.build(replace(setting, files=files))


def _fetch(weights: Weights) -> Path:
    """Download a file, or a model's folder with configuration and weights.

    A pickle is fetched only if there are no safetensors.
    """
    if weights.name:
        return fetch(weights.repo, weights.name, "main", field="controls", instead=_INSTEAD)
    safe, pickled = MODEL_WEIGHTS
    folder = fetch(weights.repo, [MODEL_CONFIG, safe], "main", field="controls", instead=_INSTEAD)
    if (folder / safe).is_file():
        return folder
    return fetch(weights.repo, [MODEL_CONFIG, pickled], "main", field="controls", instead=_INSTEAD)
