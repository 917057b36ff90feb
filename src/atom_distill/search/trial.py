"""One architecture trained on one proxy and validated: the unit of a search."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, model_validator

from atom_distill.base.device import pick_device
from atom_distill.base.errors import AtomError, ShapeError
from atom_distill.base.peak_memory import PeakMemory
from atom_distill.config.training_protocol import TrainingProtocol
from atom_distill.data.dataset import Split
from atom_distill.models.network import Network
from atom_distill.search.data import SearchData
from atom_distill.search.proxy import Proxy
from atom_distill.search.space import Candidate
from atom_distill.training.networks import OneNetwork
from atom_distill.training.train import accuracies, train
from atom_distill.training.training_execution import ExecutionOptions
from atom_distill.training.training_images import Pixels


@dataclass(frozen=True)
class Trial:
    """What is to be done.

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

    @property
    def tests(self) -> bool:
        """Whether the test accuracy is wanted: only of networks trained on the whole set."""
        return self.proxy.kind == "whole"

    def key(self, where: str) -> str:
        """Name everything that its outcome depends on, but for rounding.

        Args:
            where: images and kind of device.
        """
        candidate, protocol = self.candidate, self.protocol.model_dump(exclude={"name"})
        network = [candidate.arch, asdict(candidate.shape), candidate.code]
        what = [where, network, self.proxy.identity, protocol, self.seed]
        return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:24]


class Outcome(BaseModel):
    """What came of a trial.

    Attributes:
        architecture: the candidate's name.
        arch, shape: the candidate.
        proxy: by name.
        protocol: how it was trained.
        accuracy: on held-out training images, percent; None where the trial failed.
        test_accuracy: on the test split, percent, of networks trained on the whole set.
        seconds: wall clock of training and validation.
        parameters: numbers of the network that are trained.
        peak_mib: most memory that was held meanwhile, MiB: on a GPU of the trial, on a CPU of its whole process.
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

    @model_validator(mode="after")
    def _is_one_or_the_other(self) -> Self:
        if (self.accuracy is None) == (self.failure is None):
            raise ValueError("a trial has either an accuracy or a failure")
        return self


def outcome(trial: Trial, **found: Any) -> Outcome:
    """Say what came of a trial."""
    candidate = trial.candidate
    return Outcome(
        architecture=candidate.name,
        arch=candidate.arch,
        shape=asdict(candidate.shape),
        proxy=trial.proxy.name,
        protocol=trial.protocol,
        **found,
    )


def run_trial(trial: Trial, data: SearchData, device: str, threads: int) -> Outcome:
    """Train and validate one architecture. What goes wrong is its outcome, and nobody else's.

    Args:
        trial: what to do.
        data: images.
        device: by name.
        threads: of the processor; they decide the rounding, so that the same number gives the same accuracies.
    """
    started = time.perf_counter()
    try:
        place = pick_device(device)
        torch.empty(1, device=place)  # a GPU takes seconds to begin with, which are not the trial's
        started = time.perf_counter()
        with PeakMemory(place) as peak, _threads(threads):
            found = _train_and_validate(trial, data, place)
        found["peak_mib"] = peak.mib
    except AtomError as error:
        found = {"failure": str(error)}
    except Exception as error:
        # Out of memory, a bug in the user's builder: one architecture's failure must not end the search.
        found = {"failure": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}
    finally:
        torch.cuda.empty_cache()  # other trials may share the GPU; without one it does nothing
    return outcome(trial, seconds=time.perf_counter() - started, **found)


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
        torch._dynamo.reset()  # or the compiled forms of hundreds of architectures would pile up to torch's limit
    trained = OneNetwork(network, plan)
    train(trained, [images], protocol, seed=trial.seed, repeats=[0], on_epoch=lambda: None, updates=updates)

    def accuracy(split: Split) -> float:
        return accuracies(trained, Pixels(split, data.preprocessing, device, plan.dtype))[0]

    return {
        "parameters": sum(weights.numel() for weights in network.parameters() if weights.requires_grad),
        "accuracy": accuracy(data.real.test),
        "test_accuracy": accuracy(data.test) if trial.tests else None,
        "device": device.type,
        "precision": "bfloat16" if plan.dtype == torch.bfloat16 else "float32",
    }


def _require_logits(network: Network, data: SearchData) -> None:
    """Refuse a network of the user's own that does not give one logit a class; training might not notice."""
    with torch.no_grad():
        logits = network.eval()(torch.zeros(2, *data.real.image_shape))
    network.train()
    wanted = (2, data.real.num_classes)
    if tuple(logits.shape) != wanted:
        raise ShapeError(f"it gives {list(logits.shape)} for two images; logits must be {list(wanted)}")


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
