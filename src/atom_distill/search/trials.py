"""The trials of a search: which there are, how one runs, and its outcome."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, model_validator

from atom_distill.base.device import pick_device
from atom_distill.base.errors import AtomError, ConfigError, ShapeError
from atom_distill.base.peak_memory import PeakMemory
from atom_distill.config.training_protocol import TrainingProtocol
from atom_distill.data.dataset import Split
from atom_distill.models.network import Network
from atom_distill.search.proxies import Proxy, SearchData
from atom_distill.search.space import Candidate
from atom_distill.training.networks import OneNetwork
from atom_distill.training.train import accuracies, train
from atom_distill.training.training_execution import ExecutionOptions
from atom_distill.training.training_images import Pixels

_REDUCTION = 3
"""Of successive halving: from rung to rung there are so many times fewer architectures and more epochs."""
_RUNGS = 3
_NEW_FIELDS = (
    *(("schedule", "step"), ("loss", "cross-entropy"), ("temperature", 1.0)),
    *(("augment_always", "none"), ("cutmix", 0.0), ("optimizer", "sgd"), ("warmup", 0.0)),
)
"""Fields that protocols of older versions lacked, and their implied values; keys leave them out to match old trials."""


@dataclass(frozen=True)
class Trial:
    """One architecture to be trained on one proxy and validated.

    Attributes:
        candidate: the architecture.
        proxy: what it is trained on.
        protocol: how.
        seed: of the weights, the batches and the augmentation.
    """

    candidate: Candidate
    proxy: Proxy
    protocol: TrainingProtocol
    seed: int

    def key(self, environment: str) -> str:
        """Return a digest of everything that the outcome depends on, except for rounding.

        Args:
            environment: images and kind of device.
        """
        candidate, values = self.candidate, self.protocol.model_dump(exclude={"name"})
        protocol = {name: value for name, value in values.items() if (name, value) not in _NEW_FIELDS}
        network = [candidate.arch, asdict(candidate.shape), candidate.code]
        content = [environment, network, self.proxy.identity, protocol, self.seed]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:24]


class Outcome(BaseModel):
    """The outcome of a trial.

    Attributes:
        architecture: name of the candidate.
        arch, shape: of the candidate.
        proxy: by name.
        protocol: how it was trained.
        accuracy: on held-out training images, percent; None where the trial failed.
        test_accuracy: on the test split, percent; only of networks trained on the whole set.
        seconds: wall clock of training and validation.
        parameters: number of trained weights.
        peak_mib: peak memory, MiB: on a GPU of the trial, on a CPU of its whole process.
        device, precision: on what it was trained, and in which precision its convolutions were computed.
        failure: why there is no accuracy.
    """

    model_config = ConfigDict(frozen=True)

    architecture: str
    arch: str
    shape: dict[str, Any]
    proxy: str
    protocol: TrainingProtocol
    accuracy: float | None = None
    test_accuracy: float | None = None
    seconds: float = 0.0
    parameters: int = 0
    peak_mib: float = 0.0
    device: str = ""
    precision: Literal["float32", "bfloat16"] = "float32"
    failure: str | None = None

    @classmethod
    def of(cls, trial: Trial, **measured: Any) -> Self:
        """Return the outcome of a trial with what was measured."""
        candidate = trial.candidate
        return cls(
            architecture=candidate.name,
            arch=candidate.arch,
            shape=asdict(candidate.shape),
            proxy=trial.proxy.name,
            protocol=trial.protocol,
            **measured,
        )

    @model_validator(mode="after")
    def _has_accuracy_or_failure(self) -> Self:
        if (self.accuracy is None) == (self.failure is None):
            raise ValueError("a trial has either an accuracy or a failure")
        return self


@dataclass(frozen=True)
class Plan:
    """The trials of a whole search.

    Attributes:
        candidates: architectures.
        proxies: what each is trained on.
        whole: the whole set; training on it gives the accuracies by which proxies are judged.
        protocols: of training on distilled and random images: one, or one for each rung of successive halving.
        whole_protocol: of training on the whole set, and of early stopping, which ends it early.
        seed: of all trials.

    Raises:
        ConfigError: there are rungs, and no proxy that they apply to.
    """

    candidates: Sequence[Candidate]
    proxies: Sequence[Proxy]
    whole: Proxy
    protocols: Sequence[TrainingProtocol]
    whole_protocol: TrainingProtocol
    seed: int = 0

    def __post_init__(self) -> None:
        if self.has_halving and not any(proxy.is_small for proxy in self.proxies):
            raise ConfigError("halving is for distilled and random images, and no proxy is one of these: turn it off")

    @property
    def has_halving(self) -> bool:
        """True if most architectures get a short training only."""
        return len(self.protocols) > 1

    @property
    def trains_all_on_whole(self) -> bool:
        """True if every architecture is trained on the whole set too, so that rankings can be compared with that."""
        return any(proxy.kind == "whole" for proxy in self.proxies)

    def rungs(self, proxy: Proxy) -> Sequence[TrainingProtocol]:
        """Return the protocols of a proxy: one, or one for each rung of successive halving."""
        return self.protocols if proxy.is_small else [self.whole_protocol]

    def trials(self, rung: int, remaining: Mapping[str, Sequence[Candidate]]) -> list[Trial]:
        """Return the trials of a rung.

        Args:
            rung: from 0.
            remaining: by proxy, the candidates that reached this rung.
        """
        return [
            Trial(candidate, proxy, self.rungs(proxy)[rung], self.seed)
            for proxy in self.proxies
            if rung < len(self.rungs(proxy))
            for candidate in remaining[proxy.name]
        ]


def halving_epochs(epochs: int) -> list[int]:
    """Return the epochs of each rung of successive halving; the last are `epochs`.

    Raises:
        ConfigError: the first rung would be less than an epoch.

    Source: Jamieson & Talwalkar, "Non-stochastic best arm identification" (AISTATS 2016), by thirds.
    """
    shortest = _REDUCTION ** (_RUNGS - 1)
    if epochs < shortest:
        raise ConfigError(
            f"halving starts with 1/{shortest} of the epochs: epochs must be {shortest} or more, got {epochs}"
        )
    return [round(epochs / _REDUCTION**level) for level in reversed(range(_RUNGS))]


def promoted(outcomes: Sequence[Outcome], candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return the best third of the candidates of a rung, rounded up, which reach the next one.

    Args:
        outcomes: of the rung, on one proxy.
        candidates: all of the rung.
    """
    ranked = sorted((-one.accuracy, one.architecture) for one in outcomes if one.accuracy is not None)
    names = {name for _, name in ranked[: max(1, math.ceil(len(candidates) / _REDUCTION))]}
    return [candidate for candidate in candidates if candidate.name in names]


def run_trial(trial: Trial, data: SearchData, device: str, threads: int) -> Outcome:
    """Train and validate one architecture; an error becomes the outcome's failure.

    Args:
        trial: what to run.
        data: images.
        device: by name.
        threads: of the processor; they decide the rounding, so that the same number gives the same accuracies.
    """
    started = time.perf_counter()
    try:
        place = pick_device(device)
        torch.empty(1, device=place)  # initializing a GPU takes seconds, which are not the trial's
        started = time.perf_counter()
        with PeakMemory(place) as peak, _processor_threads(threads):
            measured = _train_and_validate(trial, data, place)
        measured["peak_mib"] = peak.mib
    except AtomError as error:
        measured = {"failure": str(error)}
    except Exception as error:
        # Out of memory, a bug in a custom builder: one architecture's failure must not end the search.
        measured = {"failure": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}
    finally:
        torch.cuda.empty_cache()  # other trials may share the GPU; without one it does nothing
    return Outcome.of(trial, seconds=time.perf_counter() - started, **measured)


def _train_and_validate(trial: Trial, data: SearchData, device: torch.device) -> dict[str, Any]:
    protocol, updates = trial.protocol, trial.proxy.updates
    images = trial.proxy.training_images(data, trial.seed, device)
    network = trial.candidate.build(data.real.image_shape, data.real.num_classes)
    if trial.candidate.builder is not None:
        _require_logits(network, data)
    _, height, width = data.real.image_shape
    seen = protocol.epochs * len(images) if updates is None else updates * protocol.batch_size
    plan = ExecutionOptions().plan(device, pixels=float(seen * height * width), repeats=1)
    if plan.compiled:
        torch._dynamo.reset()  # or the compiled forms of hundreds of architectures would reach torch's limit
    trained = OneNetwork(network, plan)
    train(trained, [images], protocol, seed=trial.seed, repeats=[0], on_epoch=lambda: None, updates=updates)

    def accuracy(split: Split) -> float:
        return accuracies(trained, Pixels(split, data.preprocessing, device, plan.dtype))[0]

    return {
        "parameters": sum(weights.numel() for weights in network.parameters() if weights.requires_grad),
        "accuracy": accuracy(data.real.test),
        "test_accuracy": accuracy(data.test) if trial.proxy.kind == "whole" else None,
        "device": device.type,
        "precision": "bfloat16" if plan.dtype == torch.bfloat16 else "float32",
    }


def _require_logits(network: Network, data: SearchData) -> None:
    """Make sure that a custom network returns one logit per class; training might not notice."""
    with torch.no_grad():
        logits = network.eval()(torch.zeros(2, *data.real.image_shape))
    network.train()
    wanted = (2, data.real.num_classes)
    if tuple(logits.shape) != wanted:
        raise ShapeError(f"for two images the network returns {list(logits.shape)}; logits must be {list(wanted)}")


@contextmanager
def _processor_threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
