"""What an architecture is trained on in place of the whole set."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

import torch

from atom_distill.data.subset import random_subset, require_images
from atom_distill.search.data import SearchData
from atom_distill.training.training_images import Pixels, StoredTensors, TrainingImages

Kind = Literal["distilled", "random", "early-stop", "whole"]


@dataclass(frozen=True)
class Proxy:
    """A stand-in for the whole set.

    Attributes:
        name: in tables.
        kind: a distilled set, as many random real images, the beginning of training on the whole set, or all of it.
        images: that it needs stored.
        identity: of its content; part of the keys of its trials.
        per_class: of random images, how many of each class.
        updates: of the network's weights after which early stopping stops; None trains to the end.
    """

    name: str
    kind: Kind
    images: int
    identity: str
    per_class: tuple[int, ...] = ()
    updates: int | None = None

    @property
    def is_small(self) -> bool:
        """Whether it is a set of a few images, that networks train on for many epochs."""
        return self.kind in ("distilled", "random")

    def training_images(self, data: SearchData, seed: int, device: torch.device) -> TrainingImages:
        """Give what a network is trained on."""
        if self.kind == "distilled":
            mine = data.distilled[self.name]
            return StoredTensors(mine.images, mine.targets, device)
        whole = Pixels(data.real.train, data.preprocessing, device)
        if self.kind == "random":
            return StoredTensors(*whole.batch(random_subset(data.real, torch.tensor(self.per_class), seed)), device)
        return whole


def distilled_proxy(name: str, data: SearchData) -> Proxy:
    """Describe a distilled set."""
    mine = data.distilled[name]
    content = hashlib.sha256(mine.images.contiguous().numpy().tobytes() + mine.targets.contiguous().numpy().tobytes())
    return Proxy(name, "distilled", len(mine.images), content.hexdigest()[:16])


def random_proxy(per_class: tuple[int, ...], data: SearchData) -> Proxy:
    """Describe random real images, one draw for all architectures.

    Args:
        per_class: images of each class.
        data: real images.

    Raises:
        ConfigError: a class has fewer, those that are held out not counted.
    """
    require_images(data.real, torch.tensor(per_class), otherwise=" in the runs, or hold fewer out (--holdout)")
    size = per_class[0] if len(set(per_class)) == 1 else per_class
    return Proxy("random", "random", sum(per_class), f"random {size}", per_class=per_class)


def early_stop_proxy(updates: int, data: SearchData) -> Proxy:
    """Describe a training on the whole set that stops after so many updates of the weights."""
    return Proxy("early-stop", "early-stop", len(data.real.train), f"early stop {updates}", updates=updates)


def whole_proxy(data: SearchData) -> Proxy:
    """Describe all training images that are not held out."""
    return Proxy("whole", "whole", len(data.real.train), "whole")
