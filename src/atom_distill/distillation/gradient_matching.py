"""DC and DSA: images whose training gradients are those of the real images, along a network's training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from atom_distill.base.seeding import generator
from atom_distill.distillation.images_per_class import class_labels
from atom_distill.distillation.sampler import ClassSampler
from atom_distill.models.network import Network
from atom_distill.ops.dsa import Draw, augment, draw_per_class, draw_per_image
from atom_distill.ops.gradient_distance import gradient_distance
from atom_distill.training.networks import OneNetwork
from atom_distill.training.training_execution import TrainingExecution

_NETWORK_LR = 0.01
_NETWORK_BATCH = 256
_TURNS = {1: (1, 1), 10: (10, 50), 20: (20, 25), 30: (30, 20), 40: (40, 15), 50: (50, 10)}
"""ipc to (updates of the images per network, epochs of the network between them), from the DC code."""


@dataclass(frozen=True)
class GradientMatching:
    """Marks a method that matches gradients and not statistics of features."""


def turns(ipc: int) -> tuple[int, int]:
    """Give updates of the images per network, and epochs of the network between two of them.

    The DC code knows a few ipc only; between them this keeps its product near 500.
    """
    return _TURNS.get(ipc) or (ipc, max(1, round(500 / ipc)))


class GradientMatchingStep:
    """One network from its initialization on: match gradients, train it on the images, and again.

    Args:
        sampler: gives the real images.
        network: re-initialized at each step.
        execution: how the real branch is computed; the synthetic one is differentiated twice, which compiled
            code cannot be, and is eager and in float32.
        operations: DSA operations, empty for DC.
        ipc: synthetic images of every class.
        seed: the run's seed.

    With BatchNorm each class is normalized by its own batch's statistics; the DC code freezes those of a batch of all
    classes first. The papers' networks have InstanceNorm, where there is no difference.

    Source: Zhao, Mopuri & Bilen (ICLR 2021), Algorithm 1; Zhao & Bilen, "Differentiable Siamese Augmentation" (ICML
    2021), Algorithm 1.
    """

    def __init__(
        self,
        sampler: ClassSampler,
        network: Network,
        execution: TrainingExecution,
        operations: Sequence[str],
        ipc: int,
        seed: int,
    ) -> None:
        self._sampler, self._operations, self._ipc, self._seed = sampler, operations, ipc, seed
        self._trained = OneNetwork(network, execution)
        self._network = network
        self._labels = class_labels(torch.full((len(sampler.counts),), ipc))

    def gradients(self, images: Tensor, step: int) -> Iterator[Tensor]:
        """Add a gradient to `images.grad` before each yield, and yield the loss as its one term, shape [1].

        The images are expected to be moved, and their gradient forgotten, before the next is asked for.
        """
        self._trained.initialize([generator(self._seed, "network", step)])
        optimizer = torch.optim.SGD(self._trained.parameters(), lr=_NETWORK_LR)
        updates, epochs = turns(self._ipc)
        for turn in range(updates):
            yield self._match(images, step, turn).unsqueeze(0)
            if turn + 1 < updates:
                self._train(images.detach(), optimizer, epochs, step, turn)

    def term_names(self, _images: Tensor) -> tuple[str, ...]:
        """Name the one term of the loss."""
        return ("gradients",)

    def _match(self, images: Tensor, step: int, turn: int) -> Tensor:
        """Compare the gradients class by class."""
        classes = len(self._sampler.counts)
        draw = None
        if self._operations:
            draw = draw_per_class(classes, self._operations, generator(self._seed, "augment", step, turn))
        chosen = self._sampler.draw(generator(self._seed, "real", step, turn))
        total = images.new_zeros(())
        for label, indices in enumerate(chosen.split(self._sampler.counts.tolist())):
            real = self._real_gradient(indices, label, draw)
            mine = slice(label * self._ipc, (label + 1) * self._ipc)
            distance = gradient_distance(real, self._synthetic_gradient(images[mine], label, draw))
            # Toward the images only: backward() would fill the network's gradients as well.
            (gradient,) = torch.autograd.grad(distance, images)
            images.grad = gradient if images.grad is None else images.grad + gradient
            total += distance.detach()
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

    def _train(self, images: Tensor, optimizer: torch.optim.Optimizer, epochs: int, step: int, turn: int) -> None:
        """Train the network on the images as they are now."""
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
    """Augment images of one class as the draw says for it."""
    return images if draw is None else augment(images, draw, torch.full((len(images),), label))
