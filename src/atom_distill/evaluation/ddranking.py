"""DD-Ranking's scores for hard labels, as formulas of test accuracies in percent.

Source: Li et al., "DD-Ranking: Rethinking the Evaluation of Dataset Distillation", arXiv 2505.13300, in the words of
its project's documentation (NUS-HPC-AI-Lab/DD-Ranking 0.2.0, doc/introduction.md). The project's code
(ddranking/metrics/hard_label.py, aug_robust.py) differs; what is followed here:

- Documentation: LRS and ARS are normalized to 0..1 and given times 100 %, which takes accuracies as fractions. Code:
  percentages go into the exponentials. Here: fractions, times 100.
- Documentation: the weights are w = 0.5 and gamma, with no value. Code: `lrs_lambda` and `ars_lambda`, both 0.5.
  Here: 0.5 and 0.5.
- Documentation: the whole set is trained on as the distilled one is. Code: without augmentation, by settings of its
  own, or its accuracy is a stored number. Here: the same protocol, or a number.
- Code: the best test accuracy over the epochs counts, and learning rates are searched on the test split. Here: the last
  epoch and the protocol's rate, since the test split chooses nothing; so scores do not compare with the leaderboard's.
"""

from __future__ import annotations

import math

WEIGHT = 0.5
"""Lambda of LRS and gamma of ARS: both halves count the same."""


def hard_label_recovery(whole: float, distilled: float) -> float:
    """HLR = Acc(real, hard labels) - Acc(distilled, hard labels), percentage points; less is better."""
    return whole - distilled


def improvement_over_random(distilled: float, random: float) -> float:
    """IOR = Acc(distilled) - Acc(random real images, as many), trained alike, percentage points; more is better."""
    return distilled - random


def label_robust_score(whole: float, distilled: float, random: float, weight: float = WEIGHT) -> float:
    """LRS = 100 (e^alpha - e^-1) / (e - e^-1) with alpha = weight * IOR - (1 - weight) * HLR, both as fractions.

    Args:
        whole: accuracy of networks trained on the whole real set (percent).
        distilled: of those trained on the distilled set (percent).
        random: of those trained on as many random real images (percent).
        weight: lambda, of IOR against HLR, 0 to 1.

    Returns:
        Percent, 0 to 100 at the ends alpha = -1 and 1; a set no better than random and no worse than the whole
        (alpha = 0) has 100 / (e + 1) = 26.9.
    """
    gained, missing = improvement_over_random(distilled, random), hard_label_recovery(whole, distilled)
    return _normalized(weight * gained - (1 - weight) * missing)


def augmentation_robust_score(
    distilled: float, random: float, distilled_plain: float, random_plain: float, weight: float = WEIGHT
) -> float:
    """ARS = 100 (e^beta - e^-1) / (e - e^-1), beta = weight * IOR augmented + (1 - weight) * IOR without augmentation.

    Args:
        distilled: accuracy of networks trained on the distilled set with augmentation (percent).
        random: of those trained on as many random real images with augmentation (percent).
        distilled_plain: as `distilled`, without augmentation (percent).
        random_plain: as `random`, without augmentation (percent).
        weight: gamma, of training with augmentation against without, 0 to 1.

    Returns:
        Percent, 0 to 100; a set no better than random (beta = 0) has 26.9.
    """
    augmented = improvement_over_random(distilled, random)
    plain = improvement_over_random(distilled_plain, random_plain)
    return _normalized(weight * augmented + (1 - weight) * plain)


def _normalized(points: float) -> float:
    """Map percentage points, -100 to 100, to percent, 0 to 100."""
    lowest = math.exp(-1)
    return 100 * (math.exp(points / 100) - lowest) / (math.e - lowest)
