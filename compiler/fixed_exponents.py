"""Exponents known when compiling for which x**y is a few products and roots.

In: a number. Out: whether `mathlib_fixed_power` computes that power, and at what cost. Left to
others: how.
"""

from __future__ import annotations

LARGEST = 64
"""The largest whole exponent, of either sign."""

PLAIN = (-2, -1, 0, 1, 2, 3)
"""Whole exponents whose products round one by one."""

HALVES = (-2.5, -1.5, -0.5, 0.5, 1.5, 2.5)


def is_fixed(y: float) -> bool:
    return y in HALVES or (abs(y) <= LARGEST and float(y).is_integer())


def operations(y: float) -> int:
    """About how many x**y takes, an addition counted as one, a quotient and a root as more."""
    n = int(abs(y))
    quotients = 6 if y < 0 else 0
    if y in HALVES:
        return 9 + n + quotients
    products = max(0, n.bit_length() + n.bit_count() - 2)
    return quotients + (products if y in PLAIN else 3 * products + 3)
