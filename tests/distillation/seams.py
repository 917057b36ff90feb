"""A second, tiny implementation of each seam: stored form, network source, labeled loss, token layer."""

from __future__ import annotations

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from atom_distill.base.seeding import generator
from atom_distill.config.distill import MethodSettings
from atom_distill.distillation.matching_methods import MatchingMethod
from atom_distill.distillation.network_sources import NetworkSource
from atom_distill.models.initialization import reinitialize
from atom_distill.models.network import Network
from atom_distill.ops.features import Features, Layer
from atom_distill.ops.matching import ImageLoss, Objective, Statistic
from atom_distill.ops.parameterization import Parameterization, Stored


class HalfResolution(Parameterization):
    """Four images at half resolution in the values of one, and a brightness for each row."""

    images_per_row = 4

    def images(self, values: Stored) -> Tensor:
        small = values["small"] + values["brightness"].view(-1, 1, 1, 1, 1)
        return F.interpolate(small.flatten(0, 1), scale_factor=2, mode="bilinear", align_corners=False)

    def encode(self, images: Tensor) -> dict[str, Tensor]:
        small = F.avg_pool2d(images, 2).unflatten(0, (-1, self.images_per_row))
        return {"small": small, "brightness": small.new_zeros(len(small))}


class Alternating(NetworkSource):
    """Two networks in turn, the second one in eval mode."""

    def load(self, network: Network, step: int) -> None:
        reinitialize(network, generator(self.seed, "alternating", step % 2))
        network.train(step % 2 == 0)


class LabeledSettings(MethodSettings):
    """The setting of the method below."""

    cross_entropy: float = Field(default=0.5, ge=0, description="Weight of the cross-entropy of the images.")


def _labeled(settings: LabeledSettings) -> Objective:
    def losses(features: Features, labels: Tensor) -> list[ImageLoss]:
        values = F.cross_entropy(features.logits, labels, reduction="none")
        return [ImageLoss(values, settings.cross_entropy, "cross-entropy")]

    return Objective(lambda features: [Statistic(features.embedding, 0.01, "embedding")], losses)


LABELED = MatchingMethod(name="labeled", title="Labeled", settings_model=LabeledSettings, objective=_labeled)


class Tokens(Network):
    """Quadrants of the image as tokens, and what they attend to."""

    def __init__(self, channels: int, height: int, width: int, num_classes: int) -> None:
        super().__init__()
        self.patch = (height // 2, width // 2)
        self.embed = nn.Linear(channels * self.patch[0] * self.patch[1], 16)
        self.classifier = nn.Linear(16, num_classes)

    def features(self, images: Tensor) -> Features:
        tokens = self.embed(F.unfold(images, self.patch, stride=self.patch).mT)
        attention = (tokens @ tokens.mT / 4).softmax(-1).unsqueeze(1)
        tokens = (attention.squeeze(1) @ tokens).relu()
        layers = [Layer("attention 1", "attention", attention), Layer("tokens 1", "tokens", tokens)]
        embedding = tokens.mean(1)
        return Features(layers, embedding, lambda: self.classifier(embedding))


def _tokens(_settings: MethodSettings) -> Objective:
    def statistics(features: Features) -> list[Statistic]:
        received = [weights.mean((1, 2)) for weights in features.of_kind("attention")]
        return [Statistic(values) for values in (*received, *features.of_kind("tokens"))]

    return Objective(statistics)


TOKENS = MatchingMethod(name="tokens", title="Tokens", objective=_tokens)
