"""The distillation step and the evaluation as the field's published scripts write them: the yardstick.

Nothing here is used by the package. Class by class, float32, eager, forward hooks, a network built anew each step;
in evaluation one network after another, augmentation image by image. Same mathematics as the package, written
plainly.
"""

from __future__ import annotations

import math
import random

import torch
import torch.nn.functional as F
from torch import Tensor, nn

OPERATIONS = ("color", "crop", "cutout", "flip", "scale", "rotate")


class PlainConvNet(nn.Module):
    """ConvNet with InstanceNorm or BatchNorm, one `Sequential`."""

    def __init__(self, channels: int, size: int, classes: int, depth: int, norm: str) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(depth):
            normalization = nn.BatchNorm2d(128) if norm == "batch" else nn.GroupNorm(128, 128)
            layers += [nn.Conv2d(channels, 128, 3, padding=1), normalization, nn.ReLU(), nn.AvgPool2d(2)]
            channels, size = 128, size // 2
        self.layers = nn.Sequential(*layers)
        self.classifier = nn.Linear(128 * size * size, classes)

    def embed(self, images: Tensor) -> Tensor:
        """Pooled output of the last block, flattened."""
        embedding: Tensor = self.layers(images).flatten(1)
        return embedding

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        logits: Tensor = self.classifier(self.embed(images))
        return logits


def augment(images: Tensor, operation: str, seed: int, *, siamese: bool) -> Tensor:
    """Apply one DSA operation with parameters drawn from `seed`: one set for all images, or one for each."""
    torch.random.manual_seed(seed)
    rows = 1 if siamese else len(images)
    uniforms = torch.rand(rows, 3, device=images.device)
    if siamese:
        uniforms = uniforms.expand(len(images), 3)
    return _APPLY[operation](images, uniforms)


def _color(images: Tensor, uniforms: Tensor) -> Tensor:
    first, second, third = (uniforms[:, column].view(-1, 1, 1, 1) for column in range(3))
    images = images + (first - 0.5)
    images = (images - images.mean(1, keepdim=True)) * (second * 2) + images.mean(1, keepdim=True)
    mean = images.mean((1, 2, 3), keepdim=True)
    return (images - mean) * (third + 0.5) + mean


def _crop(images: Tensor, uniforms: Tensor) -> Tensor:
    count, _, side, _ = images.shape
    pad = int(side * 0.125 + 0.5)
    shift = (uniforms[:, :2] * (2 * pad + 1)).long() - pad
    which, rows, columns = torch.meshgrid(
        *(torch.arange(n, device=images.device) for n in (count, side, side)), indexing="ij"
    )
    rows = torch.clamp(rows + shift[:, 0].view(-1, 1, 1) + 1, 0, side + 1)
    columns = torch.clamp(columns + shift[:, 1].view(-1, 1, 1) + 1, 0, side + 1)
    padded = F.pad(images, [1, 1, 1, 1])
    return padded.permute(0, 2, 3, 1).contiguous()[which, rows, columns].permute(0, 3, 1, 2)


def _cutout(images: Tensor, uniforms: Tensor) -> Tensor:
    count, _, side, _ = images.shape
    square = int(side * 0.5 + 0.5)
    offset = (uniforms[:, :2] * (side + 1 - square % 2)).long()
    which, rows, columns = torch.meshgrid(
        *(torch.arange(n, device=images.device) for n in (count, square, square)), indexing="ij"
    )
    rows = torch.clamp(rows + offset[:, 0].view(-1, 1, 1) - square // 2, 0, side - 1)
    columns = torch.clamp(columns + offset[:, 1].view(-1, 1, 1) - square // 2, 0, side - 1)
    mask = torch.ones(count, side, side, dtype=images.dtype, device=images.device)
    mask[which, rows, columns] = 0
    return images * mask.unsqueeze(1)


def _flip(images: Tensor, uniforms: Tensor) -> Tensor:
    return torch.where((uniforms[:, 0] < 0.5).view(-1, 1, 1, 1), images.flip(3), images)


def _affine(images: Tensor, rows: list[list[list[float]]]) -> Tensor:
    theta = torch.tensor(rows, dtype=torch.float, device=images.device)
    grid = F.affine_grid(theta, list(images.shape), align_corners=True)
    return F.grid_sample(images, grid, align_corners=True)


def _scale(images: Tensor, uniforms: Tensor) -> Tensor:
    factors = (uniforms[:, :2] * (1.2 - 1 / 1.2) + 1 / 1.2).tolist()
    return _affine(images, [[[x, 0, 0], [0, y, 0]] for x, y in factors])


def _rotate(images: Tensor, uniforms: Tensor) -> Tensor:
    angles = ((uniforms[:, 0] - 0.5) * 30 * math.pi / 180).tolist()
    return _affine(images, [[[math.cos(a), math.sin(-a), 0], [math.sin(a), math.cos(a), 0]] for a in angles])


_APPLY = {"color": _color, "crop": _crop, "cutout": _cutout, "flip": _flip, "scale": _scale, "rotate": _rotate}


class PlainStep:
    """One ATOM step, class by class.

    Args:
        real: the whole set in model space, float32 [N, C, H, W].
        labels: int64 [N].
        images: synthetic images, float32 leaf [K * ipc, C, H, W], class after class.
        batch_real: real images per class.
        depth: of the ConvNet.
        norm: "instance" or "batch".
    """

    def __init__(self, real: Tensor, labels: Tensor, images: Tensor, *, batch_real: int, depth: int, norm: str) -> None:
        self.real, self.images = real, images
        self.classes = int(labels.max()) + 1
        self.indices = [torch.nonzero(labels == label).flatten() for label in range(self.classes)]
        self.batch_real, self.depth, self.norm = batch_real, depth, norm
        self.optimizer = torch.optim.SGD([images], lr=1.0, momentum=0.5)

    def __call__(self) -> float:
        """Do the step; gives the loss."""
        ipc = len(self.images) // self.classes
        size = self.real.shape[-1]
        network = PlainConvNet(self.real.shape[1], size, self.classes, self.depth, self.norm)
        network = network.to(self.real.device).train().requires_grad_(False)
        maps: list[Tensor] = []
        for layer in network.layers:
            if isinstance(layer, nn.ReLU):
                layer.register_forward_hook(lambda _module, _inputs, output: maps.append(output))
        loss = torch.zeros((), device=self.real.device)
        for label in range(self.classes):
            seed, operation = random.randrange(1 << 30), random.choice(OPERATIONS)
            chosen = self.indices[label][torch.randperm(len(self.indices[label]))[: self.batch_real]]
            real = augment(self.real[chosen], operation, seed, siamese=True)
            synthetic = augment(self.images[label * ipc : (label + 1) * ipc], operation, seed, siamese=True)
            maps.clear()
            embedding_real = network.embed(real).detach()
            maps_real = [features.detach() for features in maps[:-1]]
            maps.clear()
            embedding_syn = network.embed(synthetic)
            for one, other in zip(maps_real, maps[:-1], strict=True):
                loss = loss + _distance(_attention(one, 1), _attention(other, 1))
                loss = loss + _distance(_attention(one, (2, 3)), _attention(other, (2, 3)))
            loss = loss + 0.01 * _distance(embedding_real, embedding_syn)
        self.optimizer.zero_grad()
        (loss * 100).backward()
        self.optimizer.step()
        return float(loss.detach()) * 100


def _attention(features: Tensor, over: int | tuple[int, int]) -> Tensor:
    return F.normalize(features.abs().pow(4).sum(over).flatten(1), dim=1)


def _distance(real: Tensor, synthetic: Tensor) -> Tensor:
    return ((real.mean(0) - synthetic.mean(0)) ** 2).sum()


def evaluate(
    images: Tensor,
    labels: Tensor,
    test_images: Tensor,
    test_labels: Tensor,
    *,
    epochs: int,
    networks: int,
) -> list[float]:
    """Train networks one after another, augmenting image by image; gives test accuracies in percent."""
    classes = int(labels.max()) + 1
    accuracies = []
    for _ in range(networks):
        network = PlainConvNet(images.shape[1], images.shape[-1], classes, 3, "instance").to(images.device)
        optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
        for epoch in range(epochs):
            if epoch == max(1, round(epochs / 2)):
                optimizer.param_groups[0]["lr"] = 0.001
            for chosen in torch.randperm(len(images)).split(256):
                operation = random.choice(OPERATIONS)
                batch = torch.cat(
                    [
                        augment(images[index : index + 1], operation, random.randrange(1 << 30), siamese=False)
                        for index in chosen.tolist()
                    ]
                )
                loss = F.cross_entropy(network(batch), labels[chosen])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        network.eval()
        with torch.no_grad():
            right = sum(
                int((network(part).argmax(1) == target).sum())
                for part, target in zip(test_images.split(256), test_labels.split(256), strict=True)
            )
        accuracies.append(100 * right / len(test_images))
    return accuracies
