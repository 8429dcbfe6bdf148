"""Numbers over a clip: what is read, what is refused, and what lies between keys."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.request import GenerationRequest
from pipelines.plan.schedules import parse_schedule, schedule_text, values_at

keys = st.dictionaries(st.integers(0, 9999), st.floats(0, 4).map(lambda x: round(x, 4)), min_size=1, max_size=6)


@given(keys)
def test_what_is_written_is_read_back(numbers):
    schedule = tuple(sorted(numbers.items()))
    read = parse_schedule(schedule_text(schedule))
    assert values_at(read, range(0, 10_000, 97)) == values_at(schedule, range(0, 10_000, 97))


@given(keys, st.integers(0, 9999))
def test_a_number_lies_between_its_keys(numbers, frame):
    (value,) = values_at(tuple(sorted(numbers.items())), [frame])
    assert min(numbers.values()) - 1e-9 <= value <= max(numbers.values()) + 1e-9


def test_keys_are_met_and_ends_are_held():
    assert values_at(parse_schedule("2: 0.5, 4: 1.5"), range(7)) == [0.5, 0.5, 0.5, 1.0, 1.5, 1.5, 1.5]


@pytest.mark.parametrize("given_", [0.5, "0.5", "0: 0.5, 15: 1.5", "0:1,"])
def test_a_request_takes_numbers_and_keys_and_its_recipe_gives_them_back(given_):
    request = GenerationRequest.build(seed=1, motion_scale=given_)
    assert GenerationRequest.from_json(request.to_json()) == request


@pytest.mark.parametrize(
    "bad", ["fast", "1: 2: 3", "5: 1, 5: 2", "9: 1, 3: 2", 9, -1, "0: 5", True, None, "", math.nan]
)
def test_anything_else_is_refused_in_words(bad):
    with pytest.raises(InvalidRequestError, match=r"^motion_scale must "):
        GenerationRequest.build(seed=1, motion_scale=bad)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_numbers_without_an_end_are_refused_as_such(bad):
    with pytest.raises(InvalidRequestError, match=r"^motion_scale must be finite"):
        GenerationRequest.build(seed=1, motion_scale=bad)
