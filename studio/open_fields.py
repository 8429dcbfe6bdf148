"""Fill in a clip's length and rate from its source or model."""

from collections.abc import Iterator, Mapping, Sequence

from media.input_facts import Cut
from pipelines.plan import catalog
from pipelines.plan.request import GenerationRequest
from studio.fields import FieldValues
from studio.stored_inputs import input_store

_WINDOW = GenerationRequest.model_fields["context_length"].default


def is_open_length(num_frames: object) -> bool:
    """Whether a frame count is 0, meaning source length or window.

    Example:
        >>> [is_open_length(value) for value in (0, "0", 0.0, 16, None, False)]
        [True, True, True, False, False, False]
    """
    return num_frames == 0 and num_frames is not False if not isinstance(num_frames, str) else num_frames.strip() == "0"


def fill_open_fields(values: Mapping[str, object]) -> FieldValues:
    """Fill in frame count and rate from the source clip.

    A number of frames of 0, or none beside a source, is the length of the shortest of source, mask and the clips of
    control units; single pictures don't count, nor do those that belong to key frames. Where there is no clip, 0 is
    the window of the chosen models. A frame rate of None is the source's.

    Args:
        values: Fields of a request by name.

    Raises:
        InvalidRequestError: An input is not here any more, or can't be used; or a model is not known.
    """
    filled = dict(values)
    source, is_open = _hash_of(filled, "source_video"), is_open_length(filled.get("num_frames"))
    if is_open or filled.get("num_frames") is None:
        filled.pop("num_frames", None)
    try:
        cut = source_cut(filled)
    except ValueError:
        return filled  # the request refuses them by name
    if "num_frames" not in filled:
        lengths = list(_lengths(filled, cut)) if source or is_open else []
        if lengths:
            filled["num_frames"] = min(lengths)
        elif is_open:
            filled["num_frames"] = catalog.complete(filled).get("context_length", _WINDOW)
    if source and filled.get("fps") is None and (rate := input_store().probe(source, field="source_video").fps_of(cut)):
        filled["fps"] = rate
    return filled


def source_cut(values: Mapping[str, object]) -> Cut:
    """Read which frames of its source clip a request uses.

    Raises:
        ValueError: That is none, in values that were not checked.
    """
    start, every = _whole(values.get("source_start") or 0), _whole(values.get("source_every") or 1)
    if start < 0 or every < 1:
        raise ValueError("no cut")
    return Cut(start=start, every=every)


def _lengths(values: Mapping[str, object], cut: Cut) -> Iterator[int]:
    """Yield the used frame counts of a request's clips."""
    store, source = input_store(), _hash_of(values, "source_video")
    if source and (count := len(store.probe(source, field="source_video").places(cut))) > 1:
        yield count
    beside = {"mask": _hash_of(values, "mask")} if source else {}
    units = values.get("controls")
    for number, unit in enumerate(units if isinstance(units, Sequence) else (), start=1):
        if isinstance(unit, Mapping) and not unit.get("key_frames"):
            beside[f"controls {number}"] = _hash_of(unit, "clip")
    for field, sha256 in beside.items():
        if sha256 and (count := store.probe(sha256, field=field).num_frames) > 1:
            yield count


def _hash_of(values: Mapping[str, object], name: str) -> str:
    value = values.get(name)
    return value if isinstance(value, str) else ""


def _whole(value: object) -> int:
    if not isinstance(value, (int, float, str)):
        raise ValueError("no number")
    return int(value)
