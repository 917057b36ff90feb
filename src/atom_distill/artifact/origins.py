"""What is known of the sets that are distilled, and of the methods, for the card: titles, places, licenses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

UNKNOWN_LICENSE = "unknown"
"""The hub's word for a license that nobody gave."""


@dataclass(frozen=True)
class Origin:
    """A real set.

    Attributes:
        title: its name for people.
        homepage: where its authors describe it, and say how it may be used if they do; None if there is no such page.
        listed: what the hub's `source_datasets` calls it.
        license: the hub's identifier of its license.
    """

    title: str
    homepage: str | None = None
    listed: str = "extended"
    license: str = UNKNOWN_LICENSE


# Their authors give no license for the first three, and the hub's own cards say "unknown"; Tiny ImageNet's pictures are
# ImageNet's, with terms of access and no license; the copy of the digits in scikit-learn comes without one.
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

METHODS = {
    "atom": ("ATOM", "2405.01373"),
    "datadam": ("DataDAM", "2310.00093"),
    "dm": ("DM", "2110.04181"),
    "dsa": ("DSA", "2102.08259"),
    "dc": ("DC", "2006.05929"),
}
"""Title and arXiv number of the paper of each method that has one."""


def origin_of(dataset: Mapping[str, Any]) -> Origin:
    """Say what is known of a set.

    Args:
        dataset: what a result keeps of it (`ImageDataset.identity`); a folder is no named set, whatever its name.
    """
    name, request = str(dataset.get("name", "a data set")), dataset.get("request") or {}
    named = request.get("name_or_path") == name
    return _ORIGINS.get(name, Origin(name)) if named else Origin(name)
