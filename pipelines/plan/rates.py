"""Frame rates as people write them: 23.976 is 24000/1001."""

import math
import re
from fractions import Fraction

from pipelines.plan.rule_error import RuleError

_NTSC = Fraction(1000, 1001)
_BROADCAST = (12, 15, 24, 30, 48, 60, 120)
_MAX_DENOMINATOR = 1001
_HUNDREDTH, _THOUSANDTH = Fraction(51, 10_000), Fraction(6, 10_000)  # half of the last decimal, and a little


def read_rate(value: object) -> Fraction:
    """Read a frame rate from a number, a decimal or a ratio.

    A decimal that is a whole rate less a thousandth, rounded, is that: 23.976, 29.97 and 59.94 of film and television.
    A ratio is taken as it stands.

    Raises:
        ValueError: It is none.

    Example:
        >>> read_rate(23.976), read_rate("29.97"), read_rate("23.98"), read_rate("12.5"), read_rate("2997/100")
        (Fraction(24000, 1001), Fraction(30000, 1001), Fraction(24000, 1001), Fraction(25, 2), Fraction(2997, 100))
    """
    if isinstance(value, float):
        if not math.isfinite(value):
            raise RuleError("value.not_finite", "be finite")
        return _snap_decimal(Fraction(repr(value)))
    if isinstance(value, (int, Fraction)) and not isinstance(value, bool):
        return Fraction(value)
    if isinstance(value, str) and re.fullmatch(r"\d{1,9}(/\d{1,9}|[.,]\d{1,9})?", value.strip()):
        text = value.strip().replace(",", ".")
        try:
            return Fraction(text) if "/" in text else _snap_decimal(Fraction(text))
        except ZeroDivisionError:
            pass
    raise RuleError("value.no_rate", "be a number or a ratio such as 24000/1001")


def written_rate(rate: Fraction) -> int | float:
    """Return the shortest number that is read as the rate again.

    Example:
        >>> written_rate(Fraction(24000, 1001)), written_rate(Fraction(25, 2)), written_rate(Fraction(8))
        (23.976, 12.5, 8)
    """
    if rate.denominator == 1:
        return rate.numerator
    # Three decimals at least for those of television: 29.97 is known well, 23.98 less than 23.976.
    digits = range(3 if rate % _NTSC == 0 else 1, 10)
    return next((number for n in digits if read_rate(number := round(float(rate), n)) == rate), float(rate))


def _snap_decimal(value: Fraction) -> Fraction:
    if value.denominator == 1:
        return value
    whole = round(value / _NTSC)
    near = abs(value - whole * _NTSC)
    has_two_decimals = (value * 100).denominator == 1
    if whole in _BROADCAST and near < (_HUNDREDTH if has_two_decimals else _THOUSANDTH):
        return whole * _NTSC
    return value.limit_denominator(_MAX_DENOMINATOR)
