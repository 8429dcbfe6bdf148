"""Batches: which seeds the clips have, and clear words for lists that are none. No torch."""

import pytest

from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.request_fields.clip import MAX_SEED
from studio.batch import MAX_CLIPS, build_batch


def seeds(seed: object, count: object = None) -> list[int]:
    return [request.seed for request in build_batch({"prompt": "x", "seed": seed}, batch_count=count)]


@pytest.mark.parametrize(
    ("seed", "count", "expected"),
    [
        (7, None, [7]),
        ("7", 1, [7]),
        (7, 3, [7, 8, 9]),
        (" 7 ", "2", [7, 8]),
        (7, 2.0, [7, 8]),
        ("7, 42,1000", None, [7, 42, 1000]),
        ("7, 42", 1, [7, 42]),
        ("42, 7", 2, [42, 7]),
        (0, 16, list(range(16))),
        (MAX_SEED - 1, 3, [MAX_SEED - 1, MAX_SEED, 0]),
    ],
)
def test_clips_have_the_seeds_of_the_list_or_those_that_follow_the_first(seed, count, expected):
    assert seeds(seed, count) == expected


def test_a_drawn_seed_is_followed_by_the_next_and_those_in_a_list_are_drawn_each():
    first, second = seeds(-1, 2)
    assert second == first + 1
    single, seven, other = seeds("-1, 7, -1")
    assert seven == 7
    assert single != other
    assert seeds("") != seeds("")
    assert seeds("-1") != seeds(" -1 ")


def test_clips_of_a_batch_differ_in_their_seed_alone():
    first, second = build_batch({"prompt": "a star", "seed": 3, "fps": "24000/1001"}, batch_count=2)
    assert second == first.model_copy(update={"seed": 4})


@pytest.mark.parametrize(
    ("seed", "count", "words"),
    [
        ("7, x", None, "seed must be one whole number, or several with commas between, got 7, x. Write 7, 42, 1000."),
        ("7,", None, "seed must be one whole number, or several with commas between, got 7,."),
        ("7; 42", None, "seed must be a valid integer"),
        ("7, -2", None, "seed must be greater than or equal to 0, got -2"),
        ("7, 7", None, "seed must name each clip once, got 7 twice."),
        (", ".join(map(str, range(17))), None, "seed must name at most 16 clips, got 17 numbers."),
        ("1, 2, 3", 2, "batch_count must be 1 or the number of seeds (3), got 2. Change 'Clips' or the list."),
        (7, "9" * 5000, "batch_count must be a whole number from 1 to 16, got "),
        (7, 0, "batch_count must be a whole number from 1 to 16, got 0. Change 'Clips'."),
        (7, MAX_CLIPS + 1, "batch_count must be a whole number from 1 to 16, got 17."),
        (7, 1.5, "batch_count must be a whole number from 1 to 16, got 1.5."),
        (7, "many", "batch_count must be a whole number from 1 to 16, got many."),
    ],
)
def test_a_broken_rule_is_told_with_field_rule_and_value(seed, count, words):
    with pytest.raises(InvalidRequestError) as caught:
        seeds(seed, count)
    assert str(caught.value).startswith(words)
