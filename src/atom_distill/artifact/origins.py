"""What is known of the data sets that are distilled, for the card: titles, homepages, licenses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

UNKNOWN_LICENSE = "unknown"
"""The hub's identifier of a license that is not known."""


@dataclass(frozen=True)
class Origin:
    """What is known of a real data set.

    Attributes:
        title: its full name.
        homepage: its authors' page, with their terms of use if they give any; None if there is no such page.
        listed: its name in the hub's `source_datasets`.
        license: the hub's identifier of its license.
    """

    title: str
    homepage: str | None = None
    listed: str = "extended"
    license: str = UNKNOWN_LICENSE


# The authors of the CIFAR sets give no license, and the hub's own cards say "unknown"; the images of Tiny ImageNet are
# ImageNet's, with terms of access and no license; the digits come with scikit-learn without a license of their own.
_CIFAR = "https://www.cs.toronto.edu/~kriz/cifar.html"
_ORIGINS = {
    "cifar10": Origin("CIFAR-10", _CIFAR, "uoft-cs/cifar10"),
    "cifar100": Origin("CIFAR-100", _CIFAR, "uoft-cs/cifar100"),
    "cifar100-coarse": Origin("CIFAR-100 with its 20 coarse labels", _CIFAR, "uoft-cs/cifar100"),
    "tiny-imagenet": Origin("Tiny ImageNet", "https://www.image-net.org", "zh-plus/tiny-imagenet"),
    "digits": Origin(
        "scikit-learn's handwritten digits",
        "https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits",
        "extended|other-optical-recognition-of-handwritten-digits",
    ),
}


def origin_of(dataset: Mapping[str, Any]) -> Origin:
    """Return what is known of a data set.

    Args:
        dataset: its record in a result (`ImageDataset.identity`). A folder is not a named set, whatever its name.
    """
    name, request = str(dataset.get("name", "a data set")), dataset.get("request") or {}
    named = request.get("name_or_path") == name
    return _ORIGINS.get(name, Origin(name)) if named else Origin(name)
