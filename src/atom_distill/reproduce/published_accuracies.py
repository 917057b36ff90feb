"""Published test accuracies (percent, ConvNet), as the ATOM paper's tables give them."""

from __future__ import annotations

from collections.abc import Mapping

PUBLISHED: Mapping[str, Mapping[str, Mapping[int, float]]] = {
    "cifar10": {
        "random": {1: 14.4, 10: 26.0, 50: 43.4},
        "herding": {1: 21.5, 10: 31.6, 50: 40.4},
        "dc": {1: 28.3, 10: 44.9, 50: 53.9},
        "dsa": {1: 28.8, 10: 52.1, 50: 60.6},
        "dm": {1: 26.0, 10: 48.9, 50: 63.0},
        "datadam": {1: 32.0, 10: 54.2, 50: 67.0},
        "atom": {1: 34.8, 10: 57.9, 50: 68.8},
    },
    "cifar100": {
        "random": {1: 4.2, 10: 14.6, 50: 30.0},
        "herding": {1: 8.4, 10: 17.3, 50: 33.7},
        "dc": {1: 12.8, 10: 25.2, 50: 30.6},
        "dsa": {1: 13.9, 10: 32.3, 50: 42.8},
        "dm": {1: 11.4, 10: 29.7, 50: 43.6},
        "datadam": {1: 14.5, 10: 34.8, 50: 49.4},
        "atom": {1: 18.1, 10: 35.7, 50: 50.2},
    },
    "tiny-imagenet": {
        "random": {1: 1.4, 10: 5.0, 50: 15.0},
        "herding": {1: 2.8, 10: 6.3, 50: 16.7},
        "dm": {1: 3.9, 10: 12.9, 50: 24.1},
        "datadam": {1: 8.3, 10: 18.7, 50: 28.7},
        "atom": {1: 9.1, 10: 19.5, 50: 29.1},
    },
}
"""By data set, method and ipc; all after the published number of steps."""

DATADAM_CODE = frozenset({"datadam", "atom"})
"""Methods whose published figures come from DataDAM's code: with ZCA whitening on CIFAR, and of the best evaluation in
a run. The figures of the others come from the code of DC, DSA and DM, which normalizes channels."""

CROSS_ARCHITECTURE: Mapping[str, Mapping[str, float]] = {
    "dm": {"convnet": 63.0, "alexnet": 60.1, "vgg11": 57.4, "resnet18": 52.9},
    "datadam": {"convnet": 67.0, "alexnet": 63.9, "vgg11": 64.8, "resnet18": 60.2},
    "atom": {"convnet": 68.8, "alexnet": 64.1, "vgg11": 66.4, "resnet18": 64.5},
}
"""By method and architecture; CIFAR-10 at ipc 50."""


def published(dataset: str, method: str, ipc: int) -> float | None:
    """Return the published accuracy; None if there is none."""
    return PUBLISHED.get(dataset, {}).get(method, {}).get(ipc)


def published_transfer(dataset: str, method: str, ipc: int, arch: str) -> float | None:
    """Return the published accuracy of an architecture trained on a set made with a ConvNet; None if there is none."""
    if arch == "convnet":
        return published(dataset, method, ipc)
    return CROSS_ARCHITECTURE.get(method, {}).get(arch) if (dataset, ipc) == ("cifar10", 50) else None
