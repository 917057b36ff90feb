"""Clusters of each class's training images, from which the real images of a step can be drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from atom_distill.base.seeding import derive_seed
from atom_distill.data.dataset import ImageDataset
from atom_distill.ops.coresets import central_parts
from atom_distill.training.embeddings import Embeddings


@dataclass(frozen=True, eq=False)
class RealClusters:
    """The central images of k-means clusters, class after class, as many clusters as a step has images of the class.

    DREAM (Liu et al., ICCV 2023) clusters the features of the matching network again every few steps, and takes the
    images nearest to the centers. Here the clusters are those of one trained network and stay the same; a step draws
    from each cluster one of the half that is nearest to its center, so that steps differ.

    Attributes:
        images: indices into the training split, int64 [T], cluster after cluster.
        sizes: images of each cluster among them, int64 [B].
        labels: class of each cluster, int64 [B].
    """

    images: Tensor
    sizes: Tensor
    labels: Tensor

    @classmethod
    def of(cls, dataset: ImageDataset, embeddings: Embeddings, batch: int, seed: int) -> RealClusters:
        """Cluster the training images of each class.

        Args:
            dataset: whose training split is clustered.
            embeddings: of its images.
            batch: clusters of a class; one that has fewer images has each of them as a cluster.
            seed: of the run.
        """
        parts: list[list[Tensor]] = []
        for label, indices in enumerate(dataset.class_indices()):
            if len(indices) <= batch:
                parts.append([*indices.split(1)])
                continue
            chosen = central_parts(embeddings(indices), batch, derive_seed(seed, "real clusters", label))
            parts.append([indices[part] for part in chosen])
        clusters = [part for of_class in parts for part in of_class]
        counts = torch.tensor([len(of_class) for of_class in parts])
        labels = torch.arange(len(parts)).repeat_interleave(counts)
        return cls(torch.cat(clusters), torch.tensor([len(part) for part in clusters]), labels)

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> RealClusters:
        """Return those that `tensors` describes."""
        return cls(tensors["images"], tensors["sizes"], tensors["labels"])

    def tensors(self) -> dict[str, Tensor]:
        """Return what a file holds."""
        return {"images": self.images, "sizes": self.sizes, "labels": self.labels}

    def draw(self, generator: torch.Generator) -> Tensor:
        """Draw one image of each cluster of all classes: indices into the training split, int64 [B]."""
        shares = torch.rand(len(self.sizes), generator=generator, dtype=torch.float64)
        return self.images[self.sizes.cumsum(0) - self.sizes + (shares * self.sizes).long()]
