"""A method, and the plan of a run of it: all that is decided before the first step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atom_distill.config.distill import DistillConfig, MethodSettings

if TYPE_CHECKING:  # the settings of methods are options of the command line, whose help must not wait for torch
    from torch import Tensor

    from atom_distill.config.presets import SetFacts
    from atom_distill.data.dataset import ImageDataset
    from atom_distill.distillation.extension import Extension
    from atom_distill.distillation.matching_execution import MatchingExecution
    from atom_distill.distillation.network_sources import NetworkSource
    from atom_distill.distillation.real_clusters import RealClusters
    from atom_distill.distillation.run_state import Best, RunState
    from atom_distill.distillation.shard import Shard
    from atom_distill.models.network import Network
    from atom_distill.ops.parameterization import Parameterization, Stored
    from atom_distill.ops.preprocessing import Preprocessing
    from atom_distill.training.pool import Pool

JUDGING_SETTINGS = frozenset({"eval_epochs", "eval_repeats", "holdout"})
"""General settings that count only where a run evaluates on held-out images."""


@dataclass(frozen=True, eq=False)
class EncoderPlan:
    """A matching network of a run, which has one of each of its architectures.

    Attributes:
        arch: name of the architecture.
        network: the matching network.
        source: of its weights at each step.
        pool: trained networks of the architecture, not trained yet; None if the run has none.
    """

    arch: str
    network: Network
    source: NetworkSource
    pool: Pool | None = None


@dataclass(frozen=True, eq=False)
class RunPlan:
    """Everything about a run that is decided before its first step; made once, by `planning.plan_run`.

    Attributes:
        settings: general settings, nothing in them left to the machine.
        method: what is computed in a step.
        method_settings: the method's own settings.
        origins: where each setting comes from: "given", "run" (that is resumed), "extended set", "preset", "paper",
            "data set and size", "default", or "machine".
        dataset: the real set.
        training: the images to distill; where the run evaluates, its test split is held out of them.
        encoders: the matching networks, which take turns in the steps; of most runs, one.
        parameterization: what is stored, and how it becomes images.
        execution: device, precision, compilation, chunk.
        shard: this process's share of the classes, and the ranks.
        extension: of a finished set; None for a run that begins anew.
        out: the run's folder; None keeps the result in memory.
    """

    settings: DistillConfig
    method: Method
    method_settings: MethodSettings
    origins: Mapping[str, str]
    dataset: ImageDataset
    training: ImageDataset
    encoders: tuple[EncoderPlan, ...]
    parameterization: Parameterization
    execution: MatchingExecution
    shard: Shard
    extension: Extension | None = None
    out: Path | None = None

    @property
    def network(self) -> Network:
        """The matching network, of several the first."""
        return self.encoders[0].network

    @property
    def source(self) -> NetworkSource:
        """Of the weights of `network` at each step."""
        return self.encoders[0].source

    @property
    def pool(self) -> Pool | None:
        """The pool of `network`."""
        return self.encoders[0].pool

    @property
    def pools(self) -> list[Pool]:
        """The pools of all matching networks."""
        return [encoder.pool for encoder in self.encoders if encoder.pool is not None]

    @property
    def rows_per_class(self) -> Tensor:
        """Stored rows of each class, int64 [K]."""
        return self.shard.rows_per_class

    @cached_property
    def images_per_class(self) -> Tensor:
        """Decoded images of each class, int64 [K]."""
        return self.rows_per_class * self.parameterization.images_per_row

    @property
    def all_settings(self) -> dict[str, Any]:
        """General settings and the method's own by name, as config.yaml holds them."""
        return {**self.settings.model_dump(), **self.method_settings.model_dump()}

    @property
    def steps(self) -> int:
        """Steps of the run; 0 for a method that takes none."""
        return self.settings.steps if self.method.takes_steps else 0


@dataclass(frozen=True, eq=False)
class RunStart:
    """What a run starts from.

    Attributes:
        preprocessing: transform between pixels and model space.
        state: the state before the first step, or that of the newest checkpoint.
        clusters: clusters of real images that each step draws from; None if it draws from whole classes.
    """

    preprocessing: Preprocessing
    state: RunState
    clusters: RealClusters | None = None


@dataclass(frozen=True, eq=False)
class RunResult:
    """The result of a run.

    Attributes:
        stored: the stored values of all classes.
        steps: steps done.
        seconds: wall-clock time of the run.
        history: one entry per step.
        best: the best set on held-out images, if the run evaluated.
        record: facts about how it was made, by name.
    """

    stored: Stored
    steps: int
    seconds: float
    history: list[dict[str, Any]] = field(default_factory=list)
    best: Best | None = None
    record: Mapping[str, Any] = field(default_factory=dict)


class Method(ABC):
    """One way of making a small set from a large one. To add one, register an instance in `methods.METHODS`.

    Attributes:
        name: the name for `method` and run folders.
        title: the name in tables and cards.
        description: one sentence, with its source.
        paper: arXiv number of its paper; None if there is none.
        settings_model: model of its own settings.
        defaults: general settings for which its paper or code differs from DataDAM's table.
        unused: general settings that have no effect on it.
        takes_steps: False for a method that chooses real images.
        shareable: whether several processes can work on one run.
        takes_turns: whether matching networks of several architectures can take turns from step to step.
    """

    name: str
    title: str
    description: str
    paper: str | None = None
    settings_model: type[MethodSettings] = MethodSettings
    defaults: Mapping[str, Any]
    unused: frozenset[str] = frozenset()
    takes_steps: bool = True
    shareable: bool = True
    takes_turns: bool = False

    @property
    def published_steps(self) -> int:
        """Steps in its own paper, or in ATOM's if it has none."""
        return int(self.defaults.get("steps", DistillConfig.model_fields["steps"].default))

    def data_defaults(self, facts: SetFacts) -> dict[str, Any]:
        """Return defaults of its own settings that depend on the data set."""
        return {}

    def idle(self, settings: MethodSettings) -> Iterable[str]:
        """Return those of its own settings that have no effect because of others."""
        return ()

    def uses_pool(self, settings: DistillConfig) -> bool:
        """Return whether there is a pool of trained networks and the method uses it."""
        return settings.pool > 0 and bool(settings.users_of_pool - self.unused)

    def check(self, settings: DistillConfig, own: MethodSettings) -> None:  # noqa: B027 (most methods refuse nothing)
        """Refuse settings that the method cannot follow.

        Raises:
            ConfigError: the message says what to change.
        """

    def largest_chunk(self, request: ChunkRequest, own: MethodSettings) -> int:
        """Return the largest number of images in a forward pass under the memory limit.

        Raises:
            ConfigError: the limit is too small.
        """
        return request.execution.chunk

    @abstractmethod
    def distill(self, plan: RunPlan, start: RunStart, *, show_progress: bool) -> RunResult:
        """Distill the set and return the result; all ranks call this."""


@dataclass(frozen=True, eq=False)
class ChunkRequest:
    """What a memory limit is applied to.

    Attributes:
        settings: general settings, with the limit.
        execution: without the limit.
        training: the images to distill.
        parameterization: what is stored.
        rows_per_class: stored rows, int64 [K].
        ranks: number of processes.
    """

    settings: DistillConfig
    execution: MatchingExecution
    training: ImageDataset
    parameterization: Parameterization
    rows_per_class: Tensor
    ranks: int
