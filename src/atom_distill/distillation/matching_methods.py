"""Methods that match class means of features: ATOM, DataDAM, DM, and any other with an objective of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic import Field

from atom_distill.base.errors import ConfigError
from atom_distill.base.progress import note
from atom_distill.config.distill import DistillConfig, MethodSettings, default_text
from atom_distill.config.presets import SetFacts
from atom_distill.distillation.method import ChunkRequest, EncoderPlan, Method, RunPlan, RunResult, RunStart

if TYPE_CHECKING:
    from atom_distill.distillation.prefixes import Prefixes
    from atom_distill.distillation.real_clusters import RealClusters
    from atom_distill.distillation.sampler import ClassSampler
    from atom_distill.distillation.step import MatchingStep
    from atom_distill.distillation.taking_turns import TakingTurns
    from atom_distill.ops.matching import Objective
    from atom_distill.ops.preprocessing import Preprocessing

ObjectiveOf = Callable[[Any], "Objective"]
"""From a method's own settings to its objective."""


@dataclass(frozen=True, kw_only=True)
class MatchingMethod(Method):
    """A method that moves the class means of synthetic images toward those of real ones.

    Attributes:
        objective: function from its own settings to what is matched.
        data_defaults_of: function that returns defaults of its own settings that depend on the data set.
        idle_of: function that returns which of its own settings have no effect because of others.
    """

    name: str
    title: str
    objective: ObjectiveOf
    description: str = ""
    paper: str | None = None
    settings_model: type[MethodSettings] = MethodSettings
    defaults: Mapping[str, Any] = field(default_factory=dict)
    data_defaults_of: Callable[[SetFacts], dict[str, Any]] = lambda _: {}
    idle_of: Callable[[Any], Iterable[str]] = lambda _: ()
    takes_turns: bool = True

    def data_defaults(self, facts: SetFacts) -> dict[str, Any]:
        """See `Method.data_defaults`."""
        return self.data_defaults_of(facts)

    def idle(self, settings: MethodSettings) -> Iterable[str]:
        """See `Method.idle`."""
        return self.idle_of(settings)

    def check(self, settings: DistillConfig, own: MethodSettings) -> None:
        """See `Method.check`; an objective refuses settings that leave nothing to match."""
        self.objective(own)
        _prefixes(settings)

    def largest_chunk(self, request: ChunkRequest, own: MethodSettings) -> int:
        """See `Method.largest_chunk`."""
        import torch

        from atom_distill.base.peak_memory import held_bytes
        from atom_distill.distillation.memory_limit import Demand, affordable_chunk, footprint
        from atom_distill.models.build import build_model

        settings, training = request.settings, request.training
        assert settings.memory is not None  # without a limit nobody asks
        with torch.device("meta"):  # sizes without memory
            shape, of_data = settings.network_shape(), (training.image_shape, training.num_classes)
            networks = [build_model(arch, *of_data, shape) for arch in settings.architectures]
        rows = int(request.rows_per_class.sum())
        in_step = request.rows_per_class.clamp_max(settings.batch_synthetic or rows)
        demand = Demand(
            image_shape=training.image_shape,
            per_class=in_step * request.parameterization.images_per_row,
            stored_bytes=4 * request.parameterization.values_per_row() * rows,
            real=training.class_sizes().clamp_max(settings.batch_real),
            ranks=request.ranks,
            classes_in_step=settings.classes_in_step(training.num_classes),
            whitened=settings.preprocess == "zca",
            compiled=len(networks) if request.execution.compiled else 0,
        )
        held = 0 if request.execution.device.type == "cuda" else held_bytes()
        chunks = []
        for network in networks:
            of_one = footprint(network, self.objective(own).statistics, training.image_shape)
            if settings.label_weight:
                of_one = replace(of_one, trained=2 * of_one.trained)  # synthetic images go through two networks
            chunks.append(affordable_chunk(settings.memory, network, of_one, demand, held=held))
        chunk = min(chunks)
        if chunk < settings.chunk:
            note(f"chunk {settings.chunk} is more than memory {settings.memory:g} allows: it is {chunk}")
        return min(chunk, request.execution.chunk)

    def distill(self, plan: RunPlan, start: RunStart, *, show_progress: bool) -> RunResult:
        """See `Method.distill`."""
        from atom_distill.distillation.optimize import optimize

        matching = self.matching(plan, start.preprocessing, start.clusters)
        return optimize(matching, plan, start, show_progress=show_progress)

    def matching(
        self, plan: RunPlan, preprocessing: Preprocessing, clusters: RealClusters | None = None
    ) -> MatchingStep | TakingTurns:
        """Return what a run computes in a step.

        Args:
            plan: of the run, whose pools are trained.
            preprocessing: between pixels and model space.
            clusters: of real images that each step draws from; None if it draws from whole classes.
        """
        from atom_distill.distillation.optimize import real_images
        from atom_distill.distillation.taking_turns import TakingTurns

        sampler = real_images(plan, preprocessing, clusters)
        steps = [self._step(plan, encoder, sampler) for encoder in plan.encoders]
        return steps[0] if len(steps) == 1 else TakingTurns([encoder.arch for encoder in plan.encoders], steps)

    def _step(self, plan: RunPlan, encoder: EncoderPlan, sampler: ClassSampler) -> MatchingStep:
        """Return a step in one of the matching networks."""
        from atom_distill.distillation.classifier import Classifier
        from atom_distill.distillation.encoder import Encoder
        from atom_distill.distillation.step import MatchingStep
        from atom_distill.distillation.step_draws import StepDraws
        from atom_distill.models.batch_norm import mixes_images

        settings, execution, mixing = plan.settings, plan.execution, mixes_images(encoder.network)
        draws = StepDraws(
            shard=plan.shard,
            sampler=sampler,
            operations=settings.operations(),
            seed=settings.seed,
            batch=settings.batch_synthetic,
            batch_classes=settings.batch_classes,
            prefixes=_prefixes(settings),
            growing=None if mixing or plan.extension is None else plan.extension.growing(plan.shard.classes),
        )
        if mixing and (plan.shard.ranks.size > 1 or draws.varies(sampler.counts) or draws.varies(draws.rows_per_class)):
            # Compiled code cannot wait for other processes; what fills its batches up would change their statistics.
            execution = replace(execution, compiled=False)
        pool, weight = encoder.pool, settings.label_weight
        whole = plan.training.num_classes * settings.batch_real + int(plan.images_per_class.sum())
        return MatchingStep(
            draws=draws,
            encoder=Encoder(encoder.network, self.objective(plan.method_settings), encoder.source, execution),
            parameterization=plan.parameterization,
            chunk=whole if mixing else execution.chunk,
            classifier=Classifier(pool, settings.seed, weight, execution) if pool is not None and weight else None,
        )


def _prefixes(settings: DistillConfig) -> Prefixes | None:
    """Return the first rows of each class that are matched as sets of their own, if they are.

    Raises:
        ConfigError: a step has too few rows for them.
    """
    if not settings.nested or settings.rows_per_class is None:
        return None
    from atom_distill.distillation.prefixes import Prefixes

    rows = settings.rows_per_class
    return Prefixes(rows, min(settings.batch_synthetic or rows, rows))


class AttentionSettings(MethodSettings):
    """The settings of ATOM's objective, of which DataDAM's and DM's are special cases."""

    spatial: bool = Field(default=True, description="Match spatial attention.")
    channel: bool = Field(default=True, description="Match channel attention.")
    embedding: bool = Field(default=True, description="Match the embedding.")
    spatial_power: float = Field(default=4.0, ge=1, description="Exponent p_s of the spatial attention.")
    channel_power: float = Field(default=4.0, ge=1, description="Exponent p_c of the channel attention.")
    task_balance: float = Field(
        default=0.01,
        ge=0,
        description="Lambda, weight of the embedding relative to the attention.",
        json_schema_extra=default_text("0.01 up to 32x32 and for dm, else 0.02"),
    )
    second_moments: float = Field(
        default=0.0,
        ge=0,
        description="Weight of second moments: of the squared embedding and of each channel's mean square; 0: off.",
    )


class SpatialAttentionSettings(AttentionSettings):
    """The same, with the defaults of DataDAM."""

    channel: bool = Field(default=False, description="Match channel attention.")


class EmbeddingSettings(SpatialAttentionSettings):
    """The same, with the defaults of DM."""

    spatial: bool = Field(default=False, description="Match spatial attention.")


def _attention_objective(settings: AttentionSettings) -> Objective:
    embedding = settings.embedding and settings.task_balance > 0
    if not (settings.spatial or settings.channel or embedding or settings.second_moments):
        raise ConfigError(
            "nothing is left to match: switch on `spatial`, `channel`, `embedding` with a `task_balance` above 0, or "
            "`second_moments`"
        )
    from atom_distill.ops.matching import Objective, attention_mixer

    return Objective(partial(attention_mixer, **settings.model_dump()))


def _task_balance(facts: SetFacts) -> dict[str, Any]:
    return {"task_balance": 0.01 if facts.is_low_resolution else 0.02}


def _idle(settings: AttentionSettings) -> list[str]:
    needs = {"spatial_power": settings.spatial, "channel_power": settings.channel, "task_balance": settings.embedding}
    return [name for name, used in needs.items() if not used]


def _attention_method(settings: type[AttentionSettings], **facts: Any) -> MatchingMethod:
    return MatchingMethod(**facts, settings_model=settings, objective=_attention_objective, idle_of=_idle)


DM = _attention_method(
    EmbeddingSettings,
    name="dm",
    title="DM",
    paper="2110.04181",
    description="Match the embedding (Zhao & Bilen, WACV 2023).",
)
DATADAM = _attention_method(
    SpatialAttentionSettings,
    name="datadam",
    title="DataDAM",
    paper="2310.00093",
    data_defaults_of=_task_balance,
    description="Match spatial attention and the embedding (Sajedi et al., ICCV 2023).",
)
ATOM = _attention_method(
    AttentionSettings,
    name="atom",
    title="ATOM",
    paper="2405.01373",
    data_defaults_of=_task_balance,
    description="Match spatial and channel attention and the embedding (Khaki et al., CVPR-W 2024).",
)
