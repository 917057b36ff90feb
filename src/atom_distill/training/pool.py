"""A pool: a few networks trained on all real images, each with a snapshot of its weights after every epoch.

A network depends on the data, the recipe and its number alone, never on a run's seed or on how many there are, so all
runs share those in the cache.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import torch
from torch import Tensor

from atom_distill.base.cache_folder import cache_path
from atom_distill.base.errors import CacheError, InterruptedRunError, NonFiniteError
from atom_distill.base.interrupt import StopRequest
from atom_distill.base.network_shape import NetworkShape
from atom_distill.base.progress import Progress
from atom_distill.base.seeding import derive_seed, generator
from atom_distill.config.training_protocol import PROTOCOLS, TrainingProtocol
from atom_distill.data.dataset import ImageDataset
from atom_distill.models.build import build_model
from atom_distill.models.initialization import reinitialize
from atom_distill.models.network import Network
from atom_distill.ops.preprocessing import Preprocessing
from atom_distill.processes.ranks import Ranks
from atom_distill.processes.workers import run_tasks
from atom_distill.training.embeddings import Embeddings, embeddings_of
from atom_distill.training.networks import OneNetwork
from atom_distill.training.pool_file import Snapshots, is_finished, is_intact, read_trajectory
from atom_distill.training.train import initial_generator, train
from atom_distill.training.training_execution import ExecutionOptions, TrainingExecution
from atom_distill.training.training_images import Pixels

_SEED = derive_seed(0, "pool")
"""Not a seed that users choose: no network of the pool begins like one that later judges the images."""
_SECONDS_BETWEEN_SAVES = 5.0
_SAMPLE = 500
"""Training images on which the accuracy beside the bar is measured."""


@dataclass(frozen=True)
class PoolRecipe:
    """How the networks of a pool are made.

    Attributes:
        networks: how many.
        epochs: of training.
        arch: architecture.
        shape: final; what the user asks for by name and what is the default anyway give the same networks.
        preprocess: kind of the preprocessing.
        device: where they are trained.
        trained_by: name of the protocol: "pool", or "pool-vit" for transformers.
    """

    networks: int
    epochs: int
    arch: str
    shape: NetworkShape
    preprocess: str
    device: torch.device
    trained_by: str = "pool"

    @property
    def protocol(self) -> TrainingProtocol:
        """The protocol at this length."""
        return PROTOCOLS.get(self.trained_by).changed(epochs=self.epochs)


class Pool:
    """The trained networks of a recipe, in the cache after `train`.

    Args:
        recipe: how they are made.
        dataset: whose training images they are trained on.
    """

    def __init__(self, recipe: PoolRecipe, dataset: ImageDataset) -> None:
        self.recipe, self._dataset = recipe, dataset
        self._opened: dict[int, Snapshots] = {}
        self._checked: set[int] = set()

    @property
    def late_epochs(self) -> range:
        """The last third of the epochs, one at least: snapshots of well-trained networks."""
        return range(self.recipe.epochs - max(1, self.recipe.epochs // 3), self.recipe.epochs)

    def count_cached(self) -> int:
        """Return how many of the networks are in the cache, trained to the end."""
        return sum(self._is_cached(number) for number in range(self.recipe.networks))

    def seconds(self) -> float | None:
        """Return the wall-clock time of the training of all networks, whenever it was; None where a file lacks it.

        Raises:
            CacheError: a network is not in the cache.
        """
        total = sum(self._snapshots(number).seconds for number in range(self.recipe.networks))
        return None if math.isnan(total) else round(total, 1)

    @torch.no_grad()
    def load(self, network: Network, number: int, epoch: int, share: float = 1.0) -> None:
        """Load a snapshot, or a point on the line to it from the network's own initial weights, in place.

        Args:
            network: of the recipe's architecture.
            number: of the network in the pool, from 0.
            epoch: after which the snapshot was taken, from 0.
            share: u of (1 - u) initial + u snapshot, in [0, 1].

        Raises:
            CacheError: the network is not in the cache.
        """
        if share < 1:
            reinitialize(network, initial_generator(_SEED, number))
        snapshots = self._snapshots(number)
        for name, values in network.state_dict().items():
            trained = snapshots.read(name, epoch).to(values.device)
            if share < 1 and values.is_floating_point():
                values.lerp_(trained, share)
            else:
                values.copy_(trained)

    def embeddings(self, preprocessing: Preprocessing) -> Embeddings:
        """Return the embeddings of training images in the last snapshot of the first network."""
        network = self.new_network().to(self.recipe.device)
        self.load(network, 0, self.recipe.epochs - 1)
        return partial(embeddings_of, network, Pixels(self._dataset.train, preprocessing, self.recipe.device))

    def last_networks(self) -> list[Network]:
        """Return all networks after their last epoch.

        Raises:
            CacheError: one is not in the cache.
        """
        networks = [self.new_network().to(self.recipe.device) for _ in range(self.recipe.networks)]
        for number, network in enumerate(networks):
            self.load(network, number, self.recipe.epochs - 1)
        return networks

    def new_network(self) -> Network:
        """Return a network of the pool's architecture."""
        return build_model(self.recipe.arch, self._dataset.image_shape, self._dataset.num_classes, self.recipe.shape)

    def train(self, preprocessing: Preprocessing, ranks: Ranks, *, show_progress: bool = True) -> None:
        """Train the networks that are not in the cache; processes take turns, and all call this.

        Raises:
            NonFiniteError: the training diverged.
            InterruptedRunError: Ctrl-C; finished epochs are kept.
        """
        numbers = range(self.recipe.networks)
        for some in (numbers[ranks.rank :: ranks.size], numbers):  # processes of several machines may share no cache
            work = partial(self._train, some, preprocessing, cores=ranks.cores, show_progress=show_progress)
            ranks.run_on_all(work)

    def _train(self, numbers: Iterable[int], preprocessing: Preprocessing, *, cores: int, show_progress: bool) -> None:
        """Train those of some networks that are not in the cache, each from where it is, on each core another."""
        numbers = [number for number in numbers if not self._is_usable(number)]
        if not numbers:
            return
        images = Pixels(self._dataset.train, preprocessing, self.recipe.device)
        epochs = self.recipe.epochs * len(numbers)
        # Of one network: what it becomes must not depend on how many are trained with it.
        pixels = float(self.recipe.epochs * len(images) * images.split.images.shape[2:].numel())
        plan = partial(ExecutionOptions().plan, self.recipe.device, repeats=1, cores=cores)
        execution = replace(plan(pixels=pixels), cores=plan(pixels=pixels * len(numbers)).cores)
        # Where two are trained at once, each counts half of its time, so that the sum is what all took.
        share = math.ceil(len(numbers) / min(execution.cores, len(numbers))) / len(numbers)
        job = _Training(self.recipe, self.new_network().to(self.recipe.device), images, execution, share)
        tasks = [(number, self._path(number)) for number in numbers]
        label = f"train {len(numbers)} network{'s' if len(numbers) > 1 else ''} of the pool"
        with StopRequest() as stop, Progress(label, total=epochs, unit="epochs", enabled=show_progress) as bar:

            def on_epochs(_: int, trained: tuple[int, float | None]) -> None:
                finished, accuracy = trained
                bar.advance(finished, **({} if accuracy is None else {"accuracy": f"{accuracy:.0f} %"}))

            running = run_tasks(
                job,
                tasks,
                len(tasks),
                cores=execution.cores,
                on_report=on_epochs,
                stop_requested=lambda: stop.received,
            )
            with closing(running):
                for _ in running:
                    pass

    def _is_cached(self, number: int) -> bool:
        return is_finished(self._path(number), self.recipe.epochs)

    def _is_usable(self, number: int) -> bool:
        """Return whether a network is trained to the end, and its file undamaged: read once, before the first step."""
        if number not in self._checked and self._is_cached(number) and is_intact(self._path(number)):
            self._checked.add(number)
        return number in self._checked

    def _snapshots(self, number: int) -> Snapshots:
        if number not in self._opened:
            if not self._is_cached(number):
                raise CacheError(f"{self._path(number)} is no longer in the cache; run the command again to train it")
            self._opened[number] = Snapshots(self._path(number))
        return self._opened[number]

    def _path(self, number: int) -> Path:
        return cache_path("pools", self._key, f"{number}.safetensors")

    @cached_property
    def _key(self) -> str:
        """Hash of what a network of the pool depends on, besides its number."""
        recipe = self.recipe
        described = {
            "network": recipe.arch,
            "shape": asdict(recipe.shape),
            "protocol": recipe.protocol.model_dump(exclude_defaults=True),
            "preprocess": recipe.preprocess,
        }
        text = json.dumps([self._dataset.fingerprint, described], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, eq=False)
class _Training:
    """The training of networks of a pool, in this process or a worker.

    Attributes:
        recipe: of the pool.
        network: which is trained.
        images: on which.
        execution: on this machine.
        share: of the time that a network's training takes, for which no other is trained.
    """

    recipe: PoolRecipe
    network: Network
    images: Pixels
    execution: TrainingExecution
    share: float

    @cached_property
    def _trained(self) -> OneNetwork:
        return OneNetwork(self.network, self.execution)

    def __call__(
        self,
        task: tuple[int, Path],
        report: Callable[[tuple[int, float | None]], None],
        stop_requested: Callable[[], bool],
    ) -> None:
        """Train a network from where its file stands to its end.

        Args:
            task: its number in the pool, and its file.
            report: takes how many epochs more are done, and the accuracy then, percent.
            stop_requested: whether to stop after an epoch.
        """
        number, path = task
        trajectory, saved = read_trajectory(path, self.network), time.monotonic()
        before, started = trajectory.seconds, saved
        state, epochs = trajectory.state, self.recipe.epochs
        if state.epochs:
            report((state.epochs, None))

        def after_epoch() -> None:
            nonlocal saved
            trajectory.add(self.network)
            # Read once: what is not saved here is lost if a signal arrives below.
            finished, stopped = state.epochs == epochs, stop_requested()
            due = finished or stopped or time.monotonic() - saved >= _SECONDS_BETWEEN_SAVES
            # Another run may have trained the same network to its end meanwhile, and may rest on it already.
            if due and (finished or not is_finished(path, epochs)):
                trajectory.seconds = before + self.share * (time.monotonic() - started)
                trajectory.write(path, finished=finished)
                saved = time.monotonic()
            report((1, _accuracy(self.network, self.images)))
            if stopped:
                raise InterruptedRunError(
                    f"stopped after epoch {state.epochs} of network {number + 1} of the pool, which is kept. "
                    "The same command continues; `atom distill` needs --resume with it"
                )

        trajectory.resume(self.network)
        protocol, repeats = self.recipe.protocol, [number]
        try:
            train(
                self._trained, [self.images], protocol, seed=_SEED, repeats=repeats, on_epoch=after_epoch, state=state
            )
        except NonFiniteError as error:
            raise NonFiniteError(f"pool of trained networks: {error}; another `arch` or `norm` may help") from None


@torch.no_grad()
def _accuracy(network: Network, images: Pixels) -> float:
    """Return the accuracy on some of the images, percent."""
    chosen = torch.randperm(len(images), generator=generator(_SEED, "sample"))[:_SAMPLE]
    batch, labels = images.batch(chosen)
    network.eval()
    return 100 * float((network(batch).argmax(1) == labels).float().mean())


def draw_epoch(random: torch.Generator, networks: int, epochs: range) -> tuple[int, int]:
    """Draw a network of a pool and one of its epochs."""
    picked: Tensor = torch.randint(networks, (1,), generator=random)
    return int(picked), epochs[int(torch.randint(len(epochs), (1,), generator=random))]
