"""A network trained on the whole real set, for those selections that ask one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from atom_distill.base.device import pick_device
from atom_distill.base.files import cache_root
from atom_distill.base.network_shape import NetworkShape
from atom_distill.base.progress import Progress, note
from atom_distill.base.tensors import write_tensors
from atom_distill.config.distill import DistillConfig
from atom_distill.config.training_protocol import PROTOCOLS, TrainingProtocol
from atom_distill.data.dataset import ImageDataset
from atom_distill.models.build import build_model
from atom_distill.models.network import Network
from atom_distill.ops.coresets import forgetting_events
from atom_distill.ops.preprocessing import Preprocessing
from atom_distill.training.networks import OneNetwork
from atom_distill.training.train import train
from atom_distill.training.training_execution import ExecutionOptions
from atom_distill.training.training_images import Pixels

_BATCH = 500
_SLOW_VALUES = 1e9
"""Values (images x C x H x W x epochs) from which the training takes minutes and is kept in the cache."""


@dataclass(frozen=True)
class ReferenceNetwork:
    """What a trained network says of the training images.

    Attributes:
        embeddings: from indices [n] to embeddings, float32 [n, D], on the CPU.
        events: forgetting events of every training image, int64 [N].
        description: how it was trained, and its accuracy on the training images.
    """

    embeddings: Callable[[Tensor], Tensor]
    events: Tensor
    description: dict[str, Any]


def reference_network(
    dataset: ImageDataset, preprocessing: Preprocessing, config: DistillConfig, *, show_progress: bool = True
) -> ReferenceNetwork:
    """Train the run's architecture on all training images, or find it in the cache.

    It is trained for `selection_epochs` by the protocol dm. What it classifies rightly is measured on all training
    images after each epoch, without augmentation (Toneva et al. look at each batch as it is trained on).
    """
    device = pick_device(config.device)
    shape = NetworkShape(**config.network_shape())
    network = build_model(config.arch, dataset.image_shape, dataset.num_classes, shape).to(device)
    protocol = PROTOCOLS.get("dm").changed(epochs=config.selection_epochs)
    description = {
        "network": config.arch,
        "shape": asdict(shape),
        "protocol": protocol.name,
        "seed": config.seed,
        "preprocess": preprocessing.kind,
    }
    path = _cached(dataset, description)
    found = _load(path, network)
    if found is None:
        images = Pixels(dataset.train, preprocessing, device)
        found = _train(network, images, protocol, config.seed, show_progress=show_progress)
        if dataset.train.images.numel() * protocol.epochs >= _SLOW_VALUES:
            write_tensors(path, {**network.state_dict(), "right": found})

    @torch.no_grad()
    def embeddings(indices: Tensor) -> Tensor:
        network.eval()
        parts = indices.split(_BATCH)
        pixels = (preprocessing.apply(dataset.train.images[part].to(device)) for part in parts)
        return torch.cat([network.features(images).embedding.cpu() for images in pixels])

    accuracy = 100 * float(found[-1].float().mean())
    return ReferenceNetwork(embeddings, forgetting_events(found), {**description, "training_accuracy": accuracy})


def _train(network: Network, images: Pixels, protocol: TrainingProtocol, seed: int, *, show_progress: bool) -> Tensor:
    """Train, and give what was right after each epoch: bool [E, N]."""
    height, width = images.split.images.shape[2:]
    pixels = float(protocol.epochs * len(images) * height * width)
    trained = OneNetwork(network, ExecutionOptions().plan(images.device, pixels=pixels, repeats=1))
    history: list[Tensor] = []
    with Progress("train on the whole set", total=protocol.epochs, unit="epochs", enabled=show_progress) as bar:

        def after_epoch() -> None:
            history.append(_right(trained, images))
            bar.advance(right=f"{100 * float(history[-1].float().mean()):.1f} %")

        train(trained, [images], protocol, seed=seed, repeats=[0], on_epoch=after_epoch)
    return torch.stack(history)


def _right(trained: OneNetwork, images: Pixels) -> Tensor:
    """Say of each image whether it is classified rightly: bool [N]."""
    found = []
    for indices in torch.arange(len(images)).split(_BATCH):
        batch, labels = images.batch(indices)
        found.append((trained.logits(batch).argmax(1) == labels).cpu())
    return torch.cat(found)


def _cached(dataset: ImageDataset, description: dict[str, Any]) -> Path:
    key = hashlib.sha256(json.dumps([dataset.fingerprint, description], sort_keys=True).encode()).hexdigest()[:16]
    return cache_root() / "reference-networks" / f"{key}.safetensors"


def _load(path: Path, network: Network) -> Tensor | None:
    if not path.exists():
        return None
    try:
        stored = load_file(path)
        right = stored.pop("right")
        network.load_state_dict(stored)
    except (SafetensorError, KeyError, RuntimeError, OSError):
        note(f"the cached network {path} is damaged; training it again")
        return None
    return right
