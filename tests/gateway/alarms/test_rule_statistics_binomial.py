"""The conditional binomial test: exact tails, the least counts that reach a level, its k."""

import math
from decimal import Decimal, localcontext
from fractions import Fraction

import pytest

from gateway.alarms.statistics import binomial_tail, binomial_threshold, k_equivalent

# counts, window in s, background counts, their time in s: p, worked out by exact summation
VECTORS = {
    (45, 1, 1200, 60): 1.392e-06,
    (38, 1, 400, 20): 3.316e-04,
    (3, 1, 3, 60): 8.491e-05,
    (2, 1, 3, 60): 2.600e-03,
    (150, 2, 6000, 120): 2.339e-06,
    (1159, 1, 60000, 60): 6.163e-07,
    (10, 5, 30, 300): 7.580e-10,
    (4, 1, 0, 60): 7.222e-08,
    (0, 1, 7, 60): 1.0,
}


def exact(counts, window_s, background, background_s):
    """The complement in 60 digits: 1 - Σ C(k + b, k) qᵏ (1 - q)ᵇ⁺¹ over k below ``counts``."""
    with localcontext() as context:
        context.prec = 60
        q = Decimal(window_s) / Decimal(window_s + background_s)
        term = (1 - q) ** (background + 1)
        total = Decimal(0)
        for k in range(counts):
            total += term
            term *= q * (k + 1 + background) / (k + 1)
        return float(1 - total)


@pytest.mark.parametrize("vector", VECTORS)
def test_p_value_vectors(vector):
    counts, window_s, background, background_s = vector
    p = binomial_tail(counts, background, window_s / (window_s + background_s))
    assert p == pytest.approx(VECTORS[vector], rel=5e-4)
    assert p == pytest.approx(exact(*vector), rel=1e-6)


def test_it_is_the_binomial_tail_of_the_definition():
    counts, background, q = 9, 31, Fraction(4, 34)
    n = counts + background
    tail = sum(math.comb(n, k) * q**k * (1 - q) ** (n - k) for k in range(counts, n + 1))
    assert binomial_tail(counts, background, float(q)) == pytest.approx(float(tail), rel=1e-12)


@pytest.mark.parametrize(
    "vector",
    [
        (160, 8, 6000, 300),  # as expected: the complement is summed
        (100, 8, 6000, 300),  # far below
        (250, 8, 6000, 300),
        (41000, 8, 1_500_000, 300),
        (1, 8, 0, 60),
    ],
)
def test_tails_hold_to_six_digits(vector):
    counts, window_s, background, background_s = vector
    p = binomial_tail(counts, background, window_s / (window_s + background_s))
    assert p == pytest.approx(exact(*vector), rel=1e-6)


@pytest.mark.parametrize("background", [0, 1, 3, 15, 60, 1200, 6000, 75_000, 600_000])
@pytest.mark.parametrize("window_s", [1.0, 8.0])
@pytest.mark.parametrize("alpha", [0.01, 0.0025, 1e-4, 3.6e-7, 1e-9])
def test_the_threshold_is_the_least_count_of_its_level(background, window_s, alpha):
    least = binomial_threshold(background, window_s, 300.0, alpha)
    q = window_s / (window_s + 300.0)
    assert binomial_tail(least, background, q) <= alpha < binomial_tail(least - 1, background, q)


def test_an_uncertain_background_asks_for_more_counts():
    known = binomial_threshold(6000, 1.0, 300.0, 1e-6)
    guessed = binomial_threshold(200, 1.0, 10.0, 1e-6)
    assert guessed > known


@pytest.mark.parametrize(
    ("p", "k"), [(0.5, 0.0), (1.349898e-3, 3.0), (3.167124e-5, 4.0), (2.866516e-7, 5.0)]
)
def test_gaussian_equivalent(p, k):
    assert k_equivalent(p) == pytest.approx(k, abs=1e-6)


def test_gaussian_equivalent_is_a_number_at_both_ends():
    assert k_equivalent(0.0) > 37
    assert k_equivalent(1.0) < -8


def passed_at_least(passed, trials, p):
    some = range(passed, trials + 1)
    return sum(math.comb(trials, k) * p**k * (1 - p) ** (trials - k) for k in some)


def lower_bound(passed, trials, confidence=0.95):
    """Clopper and Pearson, one-sided: the least p that gives so many with the rest's chance."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if passed_at_least(passed, trials, middle) < 1 - confidence:
            low = middle
        else:
            high = middle
    return low


def test_pass_and_fail_arithmetic_of_this_harness():
    assert passed_at_least(15, 20, 0.5) == pytest.approx(0.0207, abs=5e-5)
    assert passed_at_least(14, 20, 0.5) == pytest.approx(0.0577, abs=5e-5)
    assert lower_bound(59, 60) == pytest.approx(0.923, abs=5e-4)
    assert lower_bound(60, 60) == pytest.approx(0.951, abs=5e-4)
