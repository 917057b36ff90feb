"""Rank correlation against its definitions, written out."""

from __future__ import annotations

from itertools import combinations

import pytest

from atom_distill.search.search_result import best_architectures, correlation

PROXY = [10.0, 20.0, 20.0, 40.0, 35.0, 70.0]
TRUTH = [50.0, 55.0, 60.0, 58.0, 58.0, 90.0]


def ranks(values: list[float]) -> list[float]:
    """Mean rank of each, ties sharing theirs."""
    return [
        sum(other < value for other in values) + (sum(other == value for other in values) + 1) / 2 for value in values
    ]


def pearson(one: list[float], other: list[float]) -> float:
    centered = [[value - sum(values) / len(values) for value in values] for values in (one, other)]
    products = [
        sum(a * b for a, b in zip(x, y, strict=True))
        for x, y in ((centered[0], centered[1]), *zip(centered, centered, strict=True))
    ]
    return products[0] / (products[1] * products[2]) ** 0.5


def tau_b(one: list[float], other: list[float]) -> float:
    signs = [
        ((a > b) - (a < b), (c > d) - (c < d)) for (a, c), (b, d) in combinations(list(zip(one, other, strict=True)), 2)
    ]
    agreement = sum(first * second for first, second in signs)
    untied = [sum(sign[side] != 0 for sign in signs) for side in (0, 1)]
    return agreement / (untied[0] * untied[1]) ** 0.5


def test_correlations_are_those_of_their_definitions():
    found = correlation(PROXY, TRUTH)
    assert found.spearman == pytest.approx(pearson(ranks(PROXY), ranks(TRUTH)))
    assert found.kendall == pytest.approx(tau_b(PROXY, TRUTH))
    assert found.size == 6
    assert 0 < found.kendall < found.spearman < 1


def test_the_same_order_is_one_and_the_reverse_minus_one():
    same, reverse = correlation([1, 2, 3], [10, 20, 30]), correlation([1, 2, 3], [30, 20, 10])
    assert (same.spearman, same.kendall) == pytest.approx((1, 1))
    assert (reverse.spearman, reverse.kendall) == pytest.approx((-1, -1))


@pytest.mark.parametrize(("proxy", "truth"), [([1.0, 2.0], [1.0, 2.0]), ([5.0] * 4, [1.0, 2.0, 3.0, 4.0]), ([], [])])
def test_there_is_no_correlation_of_too_few_or_of_ties_alone(proxy, truth):
    assert correlation(proxy, truth) is None


def test_the_best_are_a_tenth_rounded_up_with_all_that_equal_the_last():
    truth = {f"n{index}": float(index) for index in range(24)}
    assert best_architectures(truth) == ["n23", "n22", "n21"]
    assert best_architectures({**truth, "same": 21.0}) == ["n23", "n22", "n21", "same"]
    assert best_architectures({"only": 1.0}) == ["only"]
    assert best_architectures({}) == []
