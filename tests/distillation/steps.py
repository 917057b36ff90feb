"""A step of matching in small, and its slow float64 twin: loops over classes, each class augmented alone."""

from __future__ import annotations

import copy
from collections.abc import Collection
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from atom_distill.base.network_shape import NetworkShape, Norm
from atom_distill.base.seeding import generator
from atom_distill.config.distill import DistillConfig
from atom_distill.data.dataset import ImageDataset
from atom_distill.data.fit_preprocessing import fit_preprocessing
from atom_distill.distillation.encoder import Encoder
from atom_distill.distillation.matching_execution import MatchingExecution
from atom_distill.distillation.matching_methods import AttentionSettings
from atom_distill.distillation.methods import METHODS
from atom_distill.distillation.network_sources import FreshNetworks
from atom_distill.distillation.sampler import ClassSampler
from atom_distill.distillation.shard import Shard
from atom_distill.distillation.step import MatchingStep
from atom_distill.distillation.step_draws import StepDraws
from atom_distill.models.build import build_model
from atom_distill.models.initialization import reinitialize
from atom_distill.models.network import Network
from atom_distill.ops.dsa import Draw, augment, draw_per_class
from atom_distill.ops.parameterization import Pixels
from atom_distill.processes.ranks import Ranks
from distillation.toys import toy_dataset

SEED, STEP = 3, 5
CPU = torch.device("cpu")
PIXELS = Pixels((3, 8, 8))
IMBALANCED = (3, 20, 7, 12)
"""Around a batch of 8: two classes have fewer images."""


@dataclass(frozen=True)
class Case:
    """A step to be computed twice."""

    counts: tuple[int, ...] = IMBALANCED
    ipc: int = 1
    uneven: tuple[int, ...] = ()
    batch_real: int = 8
    chunk: int = 1000
    augment: str = "none"
    dtype: torch.dtype = torch.float32
    synthetic_dtype: torch.dtype = torch.float32
    compiled: bool = False
    depth: int = 3
    method: str = "atom"
    norm: Norm | None = None
    settings: tuple[tuple[str, object], ...] = ()

    @property
    def config(self) -> DistillConfig:
        return DistillConfig(
            method=self.method,
            ipc=self.ipc,
            image_lr=1.0,
            preprocess="normalize",
            augment=self.augment,
            batch_real=self.batch_real,
        )

    @property
    def own(self) -> AttentionSettings:
        return METHODS.get(self.method).settings_model(**dict(self.settings))

    @property
    def per_class(self) -> Tensor:
        return torch.tensor(self.uneven or (self.ipc,) * len(self.counts))

    @property
    def shard(self) -> Shard:
        return Shard(Ranks(), self.per_class)

    @property
    def dataset(self) -> ImageDataset:
        return toy_dataset(self.counts)

    def network(self) -> Network:
        return build_model("convnet", (3, 8, 8), len(self.counts), NetworkShape(self.depth, 8, self.norm))

    def sampler(self) -> ClassSampler:
        return self.sampler_of(None)

    def sampler_of(self, classes: Tensor | None) -> ClassSampler:
        preprocessing = fit_preprocessing("normalize", self.dataset)
        return ClassSampler(self.dataset, preprocessing, self.batch_real, CPU, classes=classes)

    def step(self) -> MatchingStep:
        execution = MatchingExecution(CPU, self.dtype, self.compiled, self.chunk, self.synthetic_dtype)
        objective = METHODS.get(self.method).objective(self.own)
        encoder = Encoder(self.network(), objective, FreshNetworks(SEED), execution)
        return MatchingStep(self.draws(), encoder, PIXELS, self.chunk)

    def draws(self) -> StepDraws:
        return StepDraws(self.shard, self.sampler(), self.config.operations(), SEED)

    def images(self) -> Tensor:
        return torch.randn(int(self.per_class.sum()), 3, 8, 8, generator=torch.Generator().manual_seed(1))


@dataclass(frozen=True, eq=False)
class CaseOfImages(Case):
    """A step on certain synthetic images."""

    of: Tensor = field(default_factory=Tensor)

    def images(self) -> Tensor:
        return self.of.clone()


def drawing(step: MatchingStep, **changes: object) -> MatchingStep:
    """A step with other draws."""
    return replace(step, draws=replace(step.draws, **changes))


def rows_of(draws: StepDraws, step: int) -> Tensor:
    """The rows of a step among those of the shard."""
    return draws.rows(step, draws.classes(step))


def computed(case: Case, step: int = STEP, matching: MatchingStep | None = None) -> tuple[Tensor, Tensor]:
    images = case.images().requires_grad_()
    terms = (matching or case.step())({"images": images}, step)
    return terms.sum(), images.grad


def reference(case: Case, step: int = STEP, classes: Collection[int] | None = None) -> tuple[Tensor, Tensor]:
    """The same step in float64, class by class, from the same draws; of some classes, if they are given."""
    network = case.network()
    reinitialize(network, generator(SEED, "network", step))
    network = copy.deepcopy(network).double()
    sampler, operations = case.sampler(), case.config.operations()
    real = sampler.load(sampler.draw(generator(SEED, "real", step))).double()
    synthetic = case.images().double().requires_grad_()
    draw = draw_per_class(len(case.counts), operations, generator(SEED, "augment", step)) if operations else None
    start, total = 0, torch.zeros((), dtype=torch.float64)
    parts = synthetic.split(case.per_class.tolist())
    for label, (count, part) in enumerate(zip(case.counts, parts, strict=True)):
        size = min(count, case.batch_real)
        ours = alone(real[start : start + size], draw, label)
        theirs = alone(part, draw, label)
        if classes is None or label in classes:
            total = total + distance(statistics(network, ours, case), statistics(network, theirs, case))
        start += size
    assert start == len(real)
    total.backward()
    return total.detach(), synthetic.grad


def alone(images: Tensor, draw: Draw | None, label: int) -> Tensor:
    """Augment the images of one class with its own row of the draw."""
    if draw is None:
        return images
    row = Draw(draw.operation[label].expand(len(images)), draw.uniforms[label].expand(len(images), -1))
    return augment(images, row)


def statistics(network: Network, images: Tensor, case: Case) -> list[tuple[float, Tensor]]:
    """(weight, [n, D]) of all that the method matches, by the paper's formulas."""
    switches = {"spatial": case.method != "dm", "channel": case.method == "atom", "embedding": True}
    powers = {"spatial_power": 4.0, "channel_power": 4.0, "task_balance": 0.01}
    asked = switches | powers | dict(case.settings)
    maps, embedding = forward(network, images)
    found = []
    for layer in maps[:-1]:
        if asked["spatial"]:
            found.append((1.0, unit((layer.abs() ** asked["spatial_power"]).sum(1).flatten(1))))
        if asked["channel"]:
            found.append((1.0, unit((layer.abs() ** asked["channel_power"]).sum((2, 3)))))
    if asked["embedding"]:
        found.append((asked["task_balance"], embedding))
    return found


def forward(network: Network, images: Tensor) -> tuple[list[Tensor], Tensor]:
    """The ConvNet's blocks, spelled out; only the norm's scale and shift (1 and 0 at the start) are left out."""
    maps = []
    for block in network.blocks:
        out = F.conv2d(images, block.conv.weight, block.conv.bias, padding=1)
        out = (out - out.mean((2, 3), keepdim=True)) / (out.var((2, 3), correction=0, keepdim=True) + 1e-5).sqrt()
        maps.append(out.clamp_min(0))
        n, c, h, w = out.shape
        images = maps[-1].reshape(n, c, h // 2, 2, w // 2, 2).mean((3, 5))
    return maps, images.reshape(len(images), -1)


def unit(rows: Tensor) -> Tensor:
    return rows / rows.square().sum(1, keepdim=True).sqrt()


def distance(real: list[tuple[float, Tensor]], synthetic: list[tuple[float, Tensor]]) -> Tensor:
    terms = [
        weight * (ours.mean(0) - theirs.mean(0)).square().sum()
        for (weight, ours), (_, theirs) in zip(real, synthetic, strict=True)
    ]
    return 100 * torch.stack(terms).sum()


def assert_close(got: tuple[Tensor, Tensor], want: tuple[Tensor, Tensor], tolerance: float = 1e-5) -> None:
    """Loss, and gradient of each synthetic image by its length."""
    torch.testing.assert_close(got[0].double(), want[0].double(), rtol=tolerance, atol=0)
    errors = (got[1].double() - want[1].double()).flatten(1).norm(dim=1) / want[1].double().flatten(1).norm(dim=1)
    assert float(want[1].abs().max()) > 0
    assert float(errors.max()) < tolerance
