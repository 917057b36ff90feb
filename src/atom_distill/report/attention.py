"""Attention of a run's images beside that of real ones, as a fixed random network sees them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from atom_distill.data.dataset import ImageDataset
from atom_distill.ops.preprocessing import Preprocessing
from atom_distill.report.neighbors import nearest
from atom_distill.report.probe import ClassMeans, Look, Means, Probe
from atom_distill.report.reading import RunView

_REAL_IMAGES = 1000
"""Real images whose attention is averaged, all classes together: a few seconds for the papers' ConvNet."""


@dataclass(frozen=True)
class Seen:
    """What a network sees of some images of a run.

    Attributes:
        network: in words.
        look: at each of these images.
        means: of their attention, by class.
        real: the same of real images, where they are at hand.
        neighbors: see `neighbors.nearest`.
    """

    network: str
    look: Look
    means: Means
    real: Means | None
    neighbors: Tensor | None


class Observer:
    """Looks at runs; real images that two runs share are looked at once."""

    def __init__(self) -> None:
        self._real: dict[tuple[object, ...], Means] = {}

    def see(self, view: RunView, rows: Tensor) -> Seen:
        """Look at the images of a run, which must have them, that are in some rows, int64 [n].

        Raises:
            AtomError: its network cannot be built here.
        """
        assert view.images is not None
        images, labels = view.images[rows], view.labels[rows]
        channels, height, width = images.shape[1:]
        probe = Probe(view.settings, (channels, height, width), len(view.class_names))
        look, sums = probe.look(images), ClassMeans(len(view.class_names))
        sums.add(look, labels)
        network = f"{probe.architecture} with random weights, the same in every report"
        dataset, preprocessing = view.real, view.preprocessing
        if dataset is None or preprocessing is None or dataset.class_names != view.class_names:
            return Seen(network, look, sums.means(), None, None)
        real = self._real_means(view, dataset, preprocessing, probe)
        intensities = preprocessing.invert(images)
        found = nearest(intensities, look.embedding, labels, dataset, probe, preprocessing)
        return Seen(network, look, sums.means(), real, found)

    def _real_means(self, view: RunView, dataset: ImageDataset, preprocessing: Preprocessing, probe: Probe) -> Means:
        names = ("depth", "width", "norm", "activation", "pooling", "spatial_power", "channel_power")
        settings = tuple(view.settings.get(name) for name in names)
        # Runs on one set fit the same transform; equal sums of its tensors tell it from another's.
        transform = tuple(float(tensor.double().sum()) for tensor in preprocessing.tensors().values())
        key = (dataset.fingerprint, preprocessing.kind, transform, probe.architecture, settings)
        if key not in self._real:
            self._real[key] = _real_means(dataset, preprocessing, probe)
        return self._real[key]


def _real_means(dataset: ImageDataset, preprocessing: Preprocessing, probe: Probe) -> Means:
    """Average the attention of the first training images of each class."""
    each = max(1, _REAL_IMAGES // dataset.num_classes)
    chosen = torch.cat([indices[:each] for indices in dataset.class_indices()])
    labels, sums = dataset.train.labels[chosen], ClassMeans(dataset.num_classes)

    def load(places: Tensor) -> Tensor:
        return preprocessing.apply(dataset.train.images[chosen[places]])

    for places, look in probe.look_at_many(len(chosen), load, "look at real images"):
        sums.add(look, labels[places])
    return sums.means()
