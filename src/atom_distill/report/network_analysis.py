"""Attention of a run's images beside that of real ones, and the nearest real images, in a fixed random network."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from atom_distill.data.dataset import ImageDataset
from atom_distill.ops.preprocessing import Preprocessing
from atom_distill.report.fixed_network import ClassMeans, FixedNetwork, Responses, class_means, concatenated
from atom_distill.report.neighbors import nearest
from atom_distill.report.reading import RunView

_REAL_IMAGES = 1000
"""Real images whose attention is averaged, of all classes together: a few seconds for the papers' ConvNet."""


@dataclass(frozen=True, eq=False)
class Analysis:
    """The responses of a network to some images of a run, beside those to real images.

    Attributes:
        network: in words.
        responses: to each of the run's images.
        means_syn: of the attention, by class.
        means_real: likewise of real images; None where they are not available.
        neighbors: see `neighbors.nearest`; None where the real images are not available.
    """

    network: str
    responses: Responses
    means_syn: ClassMeans
    means_real: ClassMeans | None
    neighbors: Tensor | None


class Analyzer:
    """Analyzes runs; of runs that share a data set and a network, the real images are analyzed once."""

    def __init__(self) -> None:
        self._means_real: dict[tuple[object, ...], ClassMeans] = {}

    def analyze(self, view: RunView, rows: Tensor) -> Analysis:
        """Return the analysis of those images of a run that are in some rows, int64 [n].

        Raises:
            AtomError: the network cannot be built.
        """
        assert view.images is not None
        images, labels = view.images[rows], view.labels[rows]
        channels, height, width = images.shape[1:]
        network = FixedNetwork(view.settings, (channels, height, width), len(view.class_names))
        description = f"{network.architecture} with random weights, the same in every report"
        responses = network.responses(images)
        means_syn = class_means(responses, labels, len(view.class_names))
        dataset, preprocessing = view.real, view.preprocessing
        if dataset is None or preprocessing is None or dataset.class_names != view.class_names:
            return Analysis(description, responses, means_syn, None, None)
        means_real = self._means_of_real(dataset, preprocessing, network)
        intensities = preprocessing.invert(images)
        neighbors = nearest(intensities, responses.embedding, labels, dataset, network, preprocessing)
        return Analysis(description, responses, means_syn, means_real, neighbors)

    def _means_of_real(self, dataset: ImageDataset, preprocessing: Preprocessing, network: FixedNetwork) -> ClassMeans:
        """Return the mean attention of the first training images of each class."""
        # Runs on one data set fit the same transform; equal sums of its tensors tell it from another.
        transform = tuple(float(tensor.double().sum()) for tensor in preprocessing.tensors().values())
        key = (dataset.fingerprint, preprocessing.kind, transform, network.identity)
        if key not in self._means_real:
            per_class = max(1, _REAL_IMAGES // dataset.num_classes)
            chosen = torch.cat([indices[:per_class] for indices in dataset.class_indices()])
            batches = network.real_batches(dataset, chosen, preprocessing, "attention of real images")
            labels = dataset.train.labels[chosen]
            self._means_real[key] = class_means(concatenated(list(batches)), labels, dataset.num_classes)
        return self._means_real[key]
