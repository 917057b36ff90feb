"""What a card shows of a distilled set."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from atom_distill.artifact.origins import Origin, origin_of
from atom_distill.artifact.scores import Score

_ROUGHLY = 10
"""Ratio of sizes from which it is told in whole numbers."""

IMPORTED = "imported"
"""The method of a set that was made elsewhere, by an unknown method."""


@dataclass(frozen=True, kw_only=True)
class CardContent:
    """What a card shows of a distilled set.

    Attributes:
        per_class: number of images of each class.
        class_names: index = label.
        image_shape: (C, H, W).
        preprocess: kind of transform between pixels and model space.
        settings: final settings of the run, by name.
        dataset: name, source, fingerprint and loading request of the real data set.
        record: versions and command; `method`, the title and paper of the method and the settings it does not use;
            `imported`, the files of an import; `extended`, the finished set that the run added images to.
        steps: steps done when the images were taken.
        which: the last images, or the best on held-out training images.
        has_soft_labels: whether there are probabilities to train on.
        soft_label_bytes: their size in the file of a run.
        stored_values: number of the values that the images are decoded from.
        stored_bytes: size of all that the set needs: values, soft labels, transform.
        rounded: whether the values are rounded, and packed.
        scores: evaluations on the test split.
    """

    per_class: tuple[int, ...]
    class_names: tuple[str, ...]
    image_shape: tuple[int, ...]
    preprocess: str
    settings: Mapping[str, Any]
    dataset: Mapping[str, Any]
    record: Mapping[str, Any]
    steps: int
    which: Literal["last", "best"]
    has_soft_labels: bool
    soft_label_bytes: int = 0
    stored_values: int = 0
    stored_bytes: int = 0
    rounded: bool = False
    scores: Sequence[Score]

    @property
    def images(self) -> int:
        """Number of images."""
        return sum(self.per_class)

    @property
    def size(self) -> str:
        """What is stored, in values, bytes and pictures, and its size next to that of the real training images."""
        told = f"{self.stored_values:,} values in {self.stored_bytes:,} bytes: {self.images:,} pictures"
        real = int(self.dataset.get("train_size") or 0) * math.prod(self.image_shape)
        if not real:
            return told
        ratio = max(real / self.stored_bytes, self.stored_bytes / real)
        times = f"{ratio:,.1f}" if ratio < _ROUGHLY else f"{ratio:,.0f}"
        return f"{told}, {times} times {'smaller' if real >= self.stored_bytes else 'larger'} than the real images"

    @property
    def method(self) -> str:
        """Name of the method in the settings."""
        return str(self.settings["method"])

    @property
    def method_title(self) -> str:
        """Name of the method as its authors write it; the name in the settings where the record has none."""
        return str(self.record.get("method", {}).get("title", self.method))

    @property
    def paper(self) -> str | None:
        """The arXiv number of the method's paper, if it is known."""
        number: str | None = self.record.get("method", {}).get("paper")
        return number

    @property
    def settings_used(self) -> dict[str, Any]:
        """The settings that have an effect on the method, as far as it is known."""
        unused = self.record.get("method", {}).get("unused", ())
        return {name: value for name, value in self.settings.items() if name not in unused}

    @property
    def is_selection(self) -> bool:
        """Whether the images are real ones, since the method takes no steps."""
        return "steps" not in self.settings_used and "steps" in self.settings

    @property
    def source(self) -> Origin:
        """What is known of the real data set."""
        return origin_of(self.dataset)

    @property
    def title(self) -> str:
        """Title of the card: the data set, the number of images, the method."""
        images = f"{self.images} image{'' if self.images == 1 else 's'}"
        return f"{self.source.title}, distilled to {images} ({self.method_title})"
