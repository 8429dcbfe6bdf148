"""Frame rates as people write them."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.plan.rates import read_rate, written_rate
from pipelines.plan.request import GenerationRequest


@pytest.mark.parametrize(
    ("written", "whole"),
    [
        *(("23.976", 24), ("23.98", 24), ("29.97", 30), ("47.952", 48), ("47.95", 48), ("59.94", 60), ("119.88", 120)),
        *(("14.985", 15), ("11.988", 12), ("59.9401", 60), ("23.976023976", 24), ("23,976", 24)),
    ],
)
def test_a_pasted_rate_of_television_is_exact(written, whole):
    assert read_rate(written) == Fraction(whole * 1000, 1001)
    if "," not in written:
        assert read_rate(float(written)) == Fraction(whole * 1000, 1001)
    assert GenerationRequest.build(seed=0, fps=written).fps == Fraction(whole * 1000, 1001)


@pytest.mark.parametrize(
    ("written", "rate"),
    [
        *(
            ("24", 24),
            (24.0, 24),
            ("12.5", "25/2"),
            ("7.3333333", "22/3"),
            ("2997/100", "2997/100"),
            ("9.99", "999/100"),
        ),
        *(("24.5", "49/2"), ("29.9", "299/10"), ("0.5", "1/2"), ("23.9", "239/10"), ("24000/1001", "24000/1001")),
    ],
)
def test_other_rates_stay_what_they_are(written, rate):
    assert read_rate(written) == Fraction(rate)


@pytest.mark.parametrize("written", ["", "x", "1/0", "-1", "1e3", "nan", float("nan"), float("inf"), None, True, []])
def test_what_is_no_rate_is_refused(written):
    with pytest.raises(ValueError, match=r"must be (finite|a number or a ratio)"):
        read_rate(written)


def test_rates_are_written_as_people_write_them():
    rates = {"24000/1001": 23.976, "30000/1001": 29.97, "60000/1001": 59.94, "48000/1001": 47.952, "25/2": 12.5, "8": 8}
    assert {rate: written_rate(Fraction(rate)) for rate in rates} == rates
    assert isinstance(written_rate(Fraction(8)), int)


@given(st.fractions(Fraction(1, 10), 120, max_denominator=1001))
def test_what_is_written_is_read_as_the_same_rate(rate):
    assert read_rate(written_rate(rate)) == rate or abs(read_rate(written_rate(rate)) - rate) < Fraction(1, 1500)
