"""DD-Ranking's formulas against numbers worked out by hand."""

from __future__ import annotations

from decimal import Decimal
from math import e

import pytest

from atom_distill.evaluation.ddranking import (
    augmentation_robust_score,
    hard_label_recovery,
    improvement_over_random,
    label_robust_score,
)


def by_hand(points: str) -> float:
    """Percent of (e^x - 1/e) / (e - 1/e), extended by e and in decimals: 100 (e^(x + 1) - 1) / (e^2 - 1)."""
    x = Decimal(points) / 100
    return float(100 * ((x + 1).exp() - 1) / (Decimal(2).exp() - 1))


def test_differences_are_percentage_points():
    assert hard_label_recovery(whole=84.5, distilled=33.5) == 51
    assert hard_label_recovery(whole=30, distilled=33.5) == -3.5
    assert improvement_over_random(distilled=33.5, random=16.25) == 17.25
    assert improvement_over_random(distilled=10, random=16.25) == -6.25


@pytest.mark.parametrize(
    ("whole", "distilled", "random", "points"),
    [
        (84.8, 33.5, 16.2, "-17"),  # IOR 17.3, HLR 51.3: half of -34
        (80, 60, 40, "0"),
        (70, 60, 20, "15"),  # IOR 40, HLR 10
        (100, 0, 100, "-100"),
        (0, 100, 0, "100"),
    ],
)
def test_label_robust_score(whole, distilled, random, points):
    assert label_robust_score(whole, distilled, random) == pytest.approx(by_hand(points), abs=1e-10)


def test_scores_that_everybody_can_check():
    assert label_robust_score(whole=100, distilled=0, random=100) == pytest.approx(0, abs=1e-12)
    assert label_robust_score(whole=0, distilled=100, random=0) == pytest.approx(100)
    assert label_robust_score(whole=50, distilled=50, random=50) == pytest.approx(100 / (e + 1))
    assert label_robust_score(84.8, 33.5, 16.2) == pytest.approx(
        20.24272, abs=1e-5
    )  # (0.8436648 - 0.3678794) / 2.3504024
    assert augmentation_robust_score(33.5, 16.2, 30, 15.3) == pytest.approx(34.27632, abs=1e-5)  # beta = 0.16


def test_augmentation_robust_score():
    assert augmentation_robust_score(60, 20, 50, 40) == pytest.approx(by_hand("25"))  # 40 with, 10 without
    assert augmentation_robust_score(20, 60, 40, 50) == pytest.approx(by_hand("-25"))
    assert augmentation_robust_score(100, 0, 100, 0) == pytest.approx(100)
    assert augmentation_robust_score(0, 100, 0, 100) == pytest.approx(0, abs=1e-12)


def test_the_weights_are_lambda_and_gamma():
    assert label_robust_score(70, 60, 20, weight=1) == pytest.approx(by_hand("40"))  # IOR alone
    assert label_robust_score(70, 60, 20, weight=0) == pytest.approx(by_hand("-10"))  # HLR alone
    assert label_robust_score(70, 60, 20, weight=0.2) == pytest.approx(by_hand("0"))  # 0.2 * 40 - 0.8 * 10
    assert augmentation_robust_score(60, 20, 50, 40, weight=1) == pytest.approx(by_hand("40"))  # with augmentation
    assert augmentation_robust_score(60, 20, 50, 40, weight=0) == pytest.approx(by_hand("10"))  # without
