"""Methods that choose real images: the baselines of every table."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pydantic import Field

from atom_distill.config.distill import MethodSettings
from atom_distill.distillation.method import Method, RunPlan, RunResult, RunStart

if TYPE_CHECKING:
    from torch import Tensor

    from atom_distill.ops.preprocessing import Preprocessing
    from atom_distill.training.reference_network import ReferenceNetwork

_UNUSED = frozenset(
    [
        *("steps", "init", "batch_real", "real_batches", "batch_synthetic", "batch_classes"),
        *("nested", "augment", "preset"),
        *("eval_every", "eval_epochs", "eval_repeats", "holdout"),
        *("checkpoint_every", "snapshots", "tensorboard", "real_dtype", "synthetic_dtype", "compile"),
        *("chunk", "memory"),
        *("networks", "pool", "pool_epochs", "label_weight"),
        *("image_optimizer", "image_lr", "image_momentum", "image_average"),
    ]
)
_OF_NETWORK = frozenset(["arch", "depth", "width", "norm", "activation", "pooling"])


class TrainedSelectionSettings(MethodSettings):
    """The settings of selections that use a trained network."""

    selection_epochs: int = Field(
        default=10, ge=1, description="Training of the network that the selection uses, on the whole set (epochs)."
    )


class Candidates:
    """The training images to choose from, and what a network trained on all of them knows of each.

    Args:
        plan: of the run.
        preprocessing: between pixels and the network.
        show_progress: draw a bar while the network is trained.
    """

    def __init__(self, plan: RunPlan, preprocessing: Preprocessing, *, show_progress: bool) -> None:
        self.dataset, self.seed, self.per_class = plan.training, plan.settings.seed, plan.images_per_class
        self._plan, self._preprocessing, self._show_progress = plan, preprocessing, show_progress

    @cached_property
    def network(self) -> ReferenceNetwork:
        """The network, trained when it is first needed."""
        from atom_distill.training.reference_network import ReferenceRecipe, reference_network

        own, settings = self._plan.method_settings, self._plan.settings
        assert isinstance(own, TrainedSelectionSettings)
        recipe = ReferenceRecipe(
            arch=settings.arch,
            shape=settings.network_shape(),
            epochs=own.selection_epochs,
            seed=settings.seed,
            device=self._plan.execution.device,
        )
        return reference_network(self.dataset, self._preprocessing, recipe, show_progress=self._show_progress)

    def class_by_class(self, choose: Callable[[int, Tensor, int], Tensor]) -> Tensor:
        """Return indices into the training split, int64 [M], class after class.

        Args:
            choose: from a label, the indices [n] of its images and the number of images wanted, to positions in these
                indices.
        """
        import torch

        classes = zip(self.dataset.class_indices(), self.per_class.tolist(), strict=True)
        return torch.cat([indices[choose(label, indices, count)] for label, (indices, count) in enumerate(classes)])

    @property
    def description(self) -> dict[str, Any]:
        """What the choice rests on, for the record."""
        return self.network.description if "network" in self.__dict__ else {}


@dataclass(frozen=True, kw_only=True)
class SelectionMethod(Method):
    """A method that chooses real images.

    Attributes:
        choose: returns indices into the training split, int64 [M], class after class.
    """

    name: str
    title: str
    description: str
    choose: Callable[[Candidates], Tensor]
    settings_model: type[MethodSettings] = TrainedSelectionSettings
    defaults: Mapping[str, Any] = field(default_factory=dict)
    unused: frozenset[str] = _UNUSED
    takes_steps: bool = False

    def distill(self, plan: RunPlan, start: RunStart, *, show_progress: bool) -> RunResult:
        """See `Method.distill`; rank 0 chooses."""
        return plan.shard.ranks.broadcast_from_rank0(lambda: self._choose(plan, start, show_progress=show_progress))

    def _choose(self, plan: RunPlan, start: RunStart, *, show_progress: bool) -> RunResult:
        started = time.monotonic()
        candidates = Candidates(plan, start.preprocessing, show_progress=show_progress)
        chosen = self.choose(candidates)
        images = start.preprocessing.apply(plan.training.train.images[chosen])
        return RunResult(
            stored=plan.parameterization.encode(images),
            steps=0,
            seconds=time.monotonic() - started,
            record={"selection": {"indices": chosen.tolist(), **candidates.description}},
        )


def at_random(candidates: Candidates) -> Tensor:
    """Draw without replacement."""
    from atom_distill.data.subset import random_subset

    return random_subset(candidates.dataset, candidates.per_class, candidates.seed)


def by_herding(candidates: Candidates) -> Tensor:
    """Choose images whose mean embedding stays near that of the class."""
    from atom_distill.ops.coresets import herding

    embeddings = candidates.network.embeddings
    return candidates.class_by_class(lambda _, indices, count: herding(embeddings(indices), count))


def by_k_center(candidates: Candidates) -> Tensor:
    """Choose images so that no image of the class is far from a chosen one."""
    from atom_distill.ops.coresets import k_center

    embeddings = candidates.network.embeddings
    return candidates.class_by_class(lambda _, indices, count: k_center(embeddings(indices), count))


def by_k_means(candidates: Candidates) -> Tensor:
    """Choose the images nearest to the centers of as many clusters of the class."""
    from atom_distill.distillation.initial_images import central_images

    embeddings = candidates.network.embeddings
    return central_images(candidates.dataset, embeddings, candidates.per_class, candidates.seed)


def by_forgetting(candidates: Candidates) -> Tensor:
    """Choose the images that the network forgot most often."""
    from atom_distill.base.seeding import generator
    from atom_distill.ops.coresets import most_forgotten

    def choose(label: int, indices: Tensor, count: int) -> Tensor:
        between_equals = generator(candidates.seed, "forgetting", label)
        return most_forgotten(candidates.network.events[indices], count, between_equals)

    return candidates.class_by_class(choose)


RANDOM = SelectionMethod(
    name="random",
    title="Random",
    description="Choose real images at random.",
    choose=at_random,
    settings_model=MethodSettings,
    unused=_UNUSED | _OF_NETWORK,
)
HERDING = SelectionMethod(
    name="herding",
    title="Herding",
    description="Choose real images whose mean embedding stays near that of the class (Welling, 2009).",
    choose=by_herding,
)
K_CENTER = SelectionMethod(
    name="k-center",
    title="K-Center",
    description="Choose real images so that all of a class are near a chosen one (Sener & Savarese, ICLR 2018).",
    choose=by_k_center,
)
K_MEANS = SelectionMethod(
    name="k-means",
    title="k-means",
    description="Choose the real images nearest to the centers of k-means clusters, as in DREAM (Liu et al., ICCV "
    "2023).",
    choose=by_k_means,
)
FORGETTING = SelectionMethod(
    name="forgetting",
    title="Forgetting",
    description="Choose the real images that a network forgot most often (Toneva et al., ICLR 2019).",
    choose=by_forgetting,
)
