"""Build the requests of a batch: same settings, different seeds.

A request is one clip, and so is a recipe; what makes several of them lives in the faces.
"""

from collections.abc import Sequence

from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.faults import Fault
from pipelines.plan.request import RANDOM_SEED, GenerationRequest
from pipelines.plan.request_fields.clip import MAX_SEED
from pipelines.plan.settings import MAX_CLIPS
from studio.engine import build_request
from studio.fields import FieldValues

_SHOWN = 60


def build_batch(values: FieldValues, *, batch_count: object = None, most: int = MAX_CLIPS) -> list[GenerationRequest]:
    """Validate values and build every clip's request before any is generated.

    Args:
        values: The request's fields. The seed may be text with a list, `7, 42, 1000`: a clip of each, -1 being drawn.
            With one seed the clips have it, the next number and so on, 0 after the largest; -1 draws the first.
        batch_count: How many clips, at least 1; None for as many as there are seeds.
        most: Most clips, 1 to 16.

    Raises:
        InvalidRequestError: A value breaks its field's rule, the list is none or too long, or it has another length
            than `batch_count`.
    """
    count, seeds = _parse_count_and_seeds(values.get("seed"), batch_count, most)
    if len(seeds) > 1:
        return [build_request(**values | {"seed": seed}) for seed in seeds]
    first = build_request(**values | {"seed": seeds[0]})
    field_sets = ({**first.model_dump(), "seed": (first.seed + offset) % (MAX_SEED + 1)} for offset in range(1, count))
    return [first, *(build_request(**fields) for fields in field_sets)]


def count_clips(seed: object, batch_count: object, *, most: int = MAX_CLIPS) -> int:
    """Count the clips of a submission; arguments as for `build_batch`.

    Raises:
        InvalidRequestError: As `build_batch`, of these two.

    Example:
        >>> count_clips("7, 42, 1000", 1), count_clips(7, 4)
        (3, 4)
    """
    return _parse_count_and_seeds(seed, batch_count, most)[0]


def _parse_count_and_seeds(seed: object, batch_count: object, most: int) -> tuple[int, Sequence[object]]:
    """Parse the number of clips and the seeds that are named."""
    count = None if batch_count in (None, "") else _parse_count(batch_count, most)
    seeds = _read_list(seed, most)
    if len(seeds) == 1:
        return count or 1, seeds
    if count not in (None, 1, len(seeds)):
        rule, fix = "be 1 or the number of seeds ({limit})", "Change 'Clips' or the list"
        raise InvalidRequestError(Fault("batch.other_than_seeds", "batch_count", rule, count, fix, limit=len(seeds)))
    return len(seeds), seeds


def _parse_count(value: object, most: int) -> int:
    text = str(value).strip().removesuffix(".0")  # a page's number may come as 4.0
    if not (text.isascii() and text.isdigit() and len(text) < _SHOWN and 1 <= int(text) <= most):
        rule = "be a whole number from 1 to {limit}"
        raise InvalidRequestError(Fault("batch.count", "batch_count", rule, value, "Change 'Clips'", limit=most))
    return int(text)


def _read_list(seed: object, most: int) -> Sequence[object]:
    """Parse a list of seeds; anything else is left to the request."""
    if not isinstance(seed, str) or "," not in seed:
        return [RANDOM_SEED if seed == "" else seed]
    parts = [part.strip() for part in seed.split(",")]
    try:
        seeds = [int(part) for part in parts]
    except ValueError:
        rule = "be one whole number, or several with commas between"
        raise InvalidRequestError(Fault("seed.no_list", "seed", rule, seed, "Write 7, 42, 1000")) from None
    if len(seeds) > most:
        rule, fix = "name at most {limit} clips", "Make the others in another batch"
        values = {"count": len(seeds)}
        raise InvalidRequestError(
            Fault("seed.too_many", "seed", rule, f"{len(seeds)} numbers", fix, limit=most, values=values)
        )
    explicit = [seed for seed in seeds if seed != RANDOM_SEED]
    twice = sorted(seed for seed in set(explicit) if explicit.count(seed) > 1)
    if twice:
        got, values = f"{twice[0]} twice", {"seed_number": twice[0]}
        raise InvalidRequestError(
            Fault("seed.twice", "seed", "name each clip once", got, "Leave one out", values=values)
        )
    return seeds
