"""A network trained on the whole real set, on which the selections of real images rest."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from atom_distill.base.cache_folder import cache_path, writable
from atom_distill.base.network_shape import NetworkShape
from atom_distill.base.progress import Progress, note
from atom_distill.base.seeding import derive_seed
from atom_distill.base.tensors import checksum, write_tensors
from atom_distill.base.writable import noting_failure
from atom_distill.config.training_protocol import PROTOCOLS, TrainingProtocol
from atom_distill.data.dataset import ImageDataset
from atom_distill.models.build import build_model
from atom_distill.models.network import Network
from atom_distill.ops.coresets import forgetting_events
from atom_distill.ops.preprocessing import Preprocessing
from atom_distill.training.embeddings import Embeddings, embeddings_of
from atom_distill.training.networks import OneNetwork
from atom_distill.training.train import train
from atom_distill.training.training_execution import ExecutionOptions
from atom_distill.training.training_images import Pixels

_BATCH = 500
_SLOW_VALUES = 1e9
"""Values (images x C x H x W x epochs) from which the training takes minutes and is kept in the cache."""
_STREAM = "reference network"
"""Of random draws: the network is not to begin like one that later judges what was chosen by it."""
_CHECKSUM = "crc32"
"""In the metadata of the file, since safetensors would not notice values that have changed."""
_CORRECT = "right"
"""Key of the measurements in the cached file."""


@dataclass(frozen=True, eq=False)
class ReferenceNetwork:
    """What a trained network knows of the training images.

    Attributes:
        embeddings: of training images.
        events: forgetting events of every training image, int64 [N].
        description: how it was trained, and its accuracy on the training images.
    """

    embeddings: Embeddings
    events: Tensor
    description: dict[str, Any]


@dataclass(frozen=True)
class ReferenceRecipe:
    """How a reference network is made.

    Attributes:
        arch: architecture.
        shape: departures from its defaults.
        epochs: of training by the protocol dm.
        seed: of all random draws.
        device: where it is trained.
    """

    arch: str
    shape: NetworkShape
    epochs: int
    seed: int
    device: torch.device

    @property
    def protocol(self) -> TrainingProtocol:
        """The protocol dm at this length."""
        return PROTOCOLS.get("dm").changed(epochs=self.epochs)


def reference_network(
    dataset: ImageDataset, preprocessing: Preprocessing, recipe: ReferenceRecipe, *, show_progress: bool = True
) -> ReferenceNetwork:
    """Train a network on all training images, or load it from the cache.

    Which images it classifies correctly is measured on all training images after each epoch, without augmentation
    (Toneva et al. look at each batch as it is trained on).
    """
    network = build_model(recipe.arch, dataset.image_shape, dataset.num_classes, recipe.shape).to(recipe.device)
    description = {
        "network": recipe.arch,
        "shape": asdict(recipe.shape),
        "protocol": recipe.protocol.name,
        "seed": recipe.seed,
        "preprocess": preprocessing.kind,
    }
    path = _cache_path(dataset, {**description, "stream": _STREAM})
    correct = _load(path, network)
    if correct is None:
        images = Pixels(dataset.train, preprocessing, recipe.device)
        correct = _train(network, images, recipe, show_progress=show_progress)
        if dataset.train.images.numel() * recipe.epochs >= _SLOW_VALUES:
            with noting_failure(path.parent, "the trained network"):
                tensors = {**network.state_dict(), _CORRECT: correct}
                write_tensors(writable(path), tensors, {_CHECKSUM: str(checksum(tensors))})

    embeddings = partial(embeddings_of, network, Pixels(dataset.train, preprocessing, recipe.device))
    accuracy = 100 * float(correct[-1].float().mean())
    return ReferenceNetwork(embeddings, forgetting_events(correct), {**description, "training_accuracy": accuracy})


def _train(network: Network, images: Pixels, recipe: ReferenceRecipe, *, show_progress: bool) -> Tensor:
    """Train, and return which images were classified correctly after each epoch, bool [E, N]."""
    height, width = images.split.images.shape[2:]
    pixels = float(recipe.epochs * len(images) * height * width)
    trained = OneNetwork(network, ExecutionOptions().plan(images.device, pixels=pixels, repeats=1))
    history: list[Tensor] = []
    with Progress("train on the whole set", total=recipe.epochs, unit="epochs", enabled=show_progress) as bar:

        def after_epoch() -> None:
            history.append(_correct(trained, images))
            bar.advance(correct=f"{100 * float(history[-1].float().mean()):.1f} %")

        seed = derive_seed(recipe.seed, _STREAM)
        train(trained, [images], recipe.protocol, seed=seed, repeats=[0], on_epoch=after_epoch)
    return torch.stack(history)


def _correct(trained: OneNetwork, images: Pixels) -> Tensor:
    """Return which images are classified correctly, bool [N]."""
    found = []
    for indices in torch.arange(len(images)).split(_BATCH):
        batch, labels = images.batch(indices)
        found.append((trained.logits(batch).argmax(1) == labels).cpu())
    return torch.cat(found)


def _cache_path(dataset: ImageDataset, description: dict[str, Any]) -> Path:
    key = hashlib.sha256(json.dumps([dataset.fingerprint, description], sort_keys=True).encode()).hexdigest()[:16]
    return cache_path("reference-networks", f"{key}.safetensors")


def _load(path: Path, network: Network) -> Tensor | None:
    """Load the weights into the network and return what was measured; None where nothing usable is cached."""
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
            expected = (file.metadata() or {}).get(_CHECKSUM)  # which files of earlier versions lack
        if expected is not None and int(expected) != checksum(stored):
            raise ValueError("the checksum differs")
        correct: Tensor = stored.pop(_CORRECT)
        network.load_state_dict(stored)
    except (SafetensorError, KeyError, ValueError, RuntimeError, OSError):
        note(f"the cached network {path} is damaged; training it again")
        return None
    return correct
