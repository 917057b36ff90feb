"""DC and DSA: match the gradients that real and synthetic images give a network along its training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from atom_distill.base.seeding import generator
from atom_distill.distillation.images_per_class import class_labels
from atom_distill.distillation.network_sources import NetworkSource
from atom_distill.distillation.sampler import ClassSampler
from atom_distill.models.network import Network
from atom_distill.ops.dsa import Draw, augment, draw_per_class, draw_per_image
from atom_distill.ops.gradient_distance import gradient_distance
from atom_distill.ops.parameterization import Parameterization, Stored
from atom_distill.training.networks import OneNetwork
from atom_distill.training.training_execution import TrainingExecution

_NETWORK_LR = 0.01
_NETWORK_BATCH = 256
_TURNS = {1: (1, 1), 10: (10, 50), 20: (20, 25), 30: (30, 20), 40: (40, 15), 50: (50, 10)}
"""ipc to (updates of the images per network, epochs of the network between them), from the DC code."""


def turns(images_per_class: int) -> tuple[int, int]:
    """Return the updates of the images per network, and the epochs of the network between two of them.

    The DC code has values for a few ipc only; between them this keeps their product near 500.
    """
    return _TURNS.get(images_per_class) or (images_per_class, max(1, round(500 / images_per_class)))


class GradientMatchingStep:
    """One network from its initialization on: match gradients, train it on the images, and again.

    Args:
        sampler: loads the real images.
        network: of any architecture.
        source: of the networks; each is trained on from what the source loads.
        execution: how the real branch is computed; the synthetic one is differentiated twice, which compiled
            code cannot be, and is eager and in float32.
        parameterization: decodes the stored values to images.
        operations: DSA operations, empty for DC.
        rows: stored rows of every class.

    With BatchNorm each class is normalized by its own batch's statistics; the DC code freezes those of a batch of all
    classes first. The papers' networks have InstanceNorm, where there is no difference.

    Source: Zhao, Mopuri & Bilen (ICLR 2021), Algorithm 1; Zhao & Bilen, "Differentiable Siamese Augmentation" (ICML
    2021), Algorithm 1.
    """

    def __init__(
        self,
        sampler: ClassSampler,
        network: Network,
        source: NetworkSource,
        execution: TrainingExecution,
        parameterization: Parameterization,
        operations: Sequence[str],
        rows: int,
    ) -> None:
        self._sampler, self._operations, self._rows = sampler, operations, rows
        self._source, self._seed = source, source.seed
        self._parameterization = parameterization
        self._trained = OneNetwork(network, execution)
        self._network = network
        self._images = rows * parameterization.images_per_row
        self._labels = class_labels(torch.full((len(sampler.counts),), self._images))

    def gradients(self, stored: Stored, step: int) -> Iterator[Tensor]:
        """Add a gradient to each tensor's `grad` before each yield, and yield the loss as its one term, shape [1].

        The caller updates the values, and drops their gradients, before it asks for the next.
        """
        self._source.load(self._network, step)
        optimizer = torch.optim.SGD(self._trained.parameters(), lr=_NETWORK_LR)
        updates, epochs = turns(self._images)
        for turn in range(updates):
            yield self._match(stored, step, turn).unsqueeze(0)
            if turn + 1 < updates:
                self._train(stored, optimizer, epochs, step, turn)

    def term_names(self, _stored: Stored) -> tuple[str, ...]:
        """Return the name of the one term of the loss."""
        return ("gradients",)

    def _match(self, stored: Stored, step: int, turn: int) -> Tensor:
        """Compare the gradients class by class."""
        classes = len(self._sampler.counts)
        draw = None
        if self._operations:
            draw = draw_per_class(classes, self._operations, generator(self._seed, "augment", step, turn))
        chosen = self._sampler.draw(generator(self._seed, "real", step, turn))
        total: Tensor = torch.zeros(())
        for label, indices in enumerate(chosen.split(self._sampler.counts.tolist())):
            real = self._real_gradient(indices, label, draw)
            rows = slice(label * self._rows, (label + 1) * self._rows)
            part = {name: values.detach()[rows].requires_grad_() for name, values in stored.items()}
            images = self._parameterization.decode(part)
            distance = gradient_distance(real, self._synthetic_gradient(images, label, draw))
            # Toward the stored values only: backward() would fill the network's gradients as well.
            gradients = torch.autograd.grad(distance, list(part.values()))
            for values, gradient in zip(stored.values(), gradients, strict=True):
                if values.grad is None:
                    values.grad = torch.zeros_like(values)
                values.grad[rows] += gradient
            total = total.to(distance.device) + distance.detach()
        return total

    def _real_gradient(self, indices: Tensor, label: int, draw: Draw | None) -> list[Tensor]:
        images = _siamese(self._sampler.load(indices).float(), label, draw)
        labels = torch.full((1, len(images)), label, device=images.device)
        loss = self._trained.loss(images.unsqueeze(0), labels)
        return list(torch.autograd.grad(loss, self._trained.parameters()))

    def _synthetic_gradient(self, images: Tensor, label: int, draw: Draw | None) -> list[Tensor]:
        with sdpa_kernel(SDPBackend.MATH):  # fused attention has no second derivative
            logits = self._network(_siamese(images, label, draw))
        loss = F.cross_entropy(logits, torch.full((len(images),), label, device=images.device))
        return list(torch.autograd.grad(loss, self._trained.parameters(), create_graph=True))

    def _train(self, stored: Stored, optimizer: torch.optim.Optimizer, epochs: int, step: int, turn: int) -> None:
        """Train the network on the images as they are now."""
        images = self._parameterization.decode(stored).detach()
        random = generator(self._seed, "network training", step, turn)
        for _ in range(epochs):
            for chosen in torch.randperm(len(images), generator=random).split(_NETWORK_BATCH):
                batch, labels = images[chosen.to(images.device)], self._labels[chosen].to(images.device)
                if self._operations:
                    batch = augment(batch, draw_per_image(len(batch), self._operations, random))
                optimizer.zero_grad()
                self._trained.loss(batch.unsqueeze(0), labels.unsqueeze(0)).backward()
                optimizer.step()


def _siamese(images: Tensor, label: int, draw: Draw | None) -> Tensor:
    """Return images of one class, augmented by its row of the draw."""
    return images if draw is None else augment(images, draw, torch.full((len(images),), label))
