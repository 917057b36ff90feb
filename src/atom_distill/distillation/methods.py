"""The methods by name: what each does with the settings."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from atom_distill.base.errors import ConfigError
from atom_distill.base.registry import Registry
from atom_distill.config.distill import DistillConfig
from atom_distill.distillation.gradient_matching import GradientMatching
from atom_distill.distillation.selection_methods import Selection, at_random, by_forgetting, by_herding, by_k_center
from atom_distill.ops.matching import StatisticsOf, attention_mixer

Recipe = StatisticsOf | GradientMatching | Selection
"""What a method comes down to: statistics of features to match, gradients to match, or real images to choose."""
Method = Callable[[DistillConfig], Recipe]

METHODS: Registry[Method] = Registry("method")
"""Names to methods. To add an objective, register a function that takes the settings and returns a function from
`Features` to a list of `Statistic`s."""


@METHODS.register("atom")
def atom(config: DistillConfig) -> StatisticsOf:
    """Match spatial and channel attention and the embedding (Khaki et al., CVPR-W 2024)."""
    return _mixer(config, spatial=True, channel=True)


@METHODS.register("datadam")
def datadam(config: DistillConfig) -> StatisticsOf:
    """Match spatial attention and the embedding (Sajedi et al., ICCV 2023)."""
    return _mixer(config, spatial=True, channel=False)


@METHODS.register("dm")
def dm(config: DistillConfig) -> StatisticsOf:
    """Match the embedding (Zhao & Bilen, WACV 2023)."""
    return _mixer(config, spatial=False, channel=False)


@METHODS.register("dc")
def dc(_config: DistillConfig) -> GradientMatching:
    """Match the gradients of training (Zhao, Mopuri & Bilen, ICLR 2021)."""
    return GradientMatching()


@METHODS.register("dsa")
def dsa(_config: DistillConfig) -> GradientMatching:
    """Match the gradients of training under siamese augmentation (Zhao & Bilen, ICML 2021)."""
    return GradientMatching()


METHODS.register("random")(lambda _config: Selection(at_random))
METHODS.register("herding")(lambda _config: Selection(by_herding))
METHODS.register("k-center")(lambda _config: Selection(by_k_center))
METHODS.register("forgetting")(lambda _config: Selection(by_forgetting))


_OF_ATTENTION = frozenset(["spatial_power", "channel_power"])
_OF_STATISTICS = _OF_ATTENTION | frozenset(["task_balance", "spatial", "channel", "embedding", "chunk", "memory"])
_OF_STEPS = frozenset(
    ["steps", "init", "batch_real", "augment", "eval_every", "checkpoint_every", "snapshots", "real_dtype", "preset"]
)
_OF_OPTIMIZER = frozenset(["image_optimizer", "image_lr", "image_momentum", "image_average"])
_OF_JUDGING = frozenset(["eval_epochs", "eval_repeats", "holdout"])
_OF_NETWORK = frozenset(["arch", "depth", "width", "norm", "activation", "pooling", "compile"])


def unused_settings(recipe: Recipe, config: DistillConfig) -> frozenset[str]:
    """Name the settings that change nothing of what a method does."""
    idle = frozenset() if config.eval_every else _OF_JUDGING
    if isinstance(recipe, Selection):
        trained = frozenset() if recipe.choose is not at_random else _OF_NETWORK | {"selection_epochs"}
        return _OF_STATISTICS | _OF_STEPS | _OF_OPTIMIZER | _OF_JUDGING | trained
    if isinstance(recipe, GradientMatching):
        return idle | _OF_STATISTICS | {"selection_epochs"}
    terms = recipe.keywords if isinstance(recipe, partial) and recipe.func is attention_mixer else {}
    off = {"spatial": {"spatial_power"}, "channel": {"channel_power"}, "embedding": {"task_balance"}}
    return idle.union({"selection_epochs"}, *(names for term, names in off.items() if terms.get(term) is False))


def _mixer(config: DistillConfig, *, spatial: bool, channel: bool) -> StatisticsOf:
    """Build the one objective; the user's switches come before the method's."""
    spatial = spatial if config.spatial is None else config.spatial
    channel = channel if config.channel is None else config.channel
    embedding = True if config.embedding is None else config.embedding
    if not (spatial or channel or embedding):
        raise ConfigError("spatial, channel and embedding are all off: nothing is left to match")
    return partial(
        attention_mixer,
        spatial=spatial,
        channel=channel,
        embedding=embedding,
        task_balance=config.task_balance,
        spatial_power=config.spatial_power,
        channel_power=config.channel_power,
    )
