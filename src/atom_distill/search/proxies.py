"""The images of a search: real ones in three parts, and the proxies: stand-ins for the whole set to train on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.base.errors import ConfigError
from atom_distill.base.tensors import sha256
from atom_distill.data.dataset import ImageDataset, Split
from atom_distill.data.subset import hold_out, random_subset, require_images
from atom_distill.ops.parameterization import Parameterization
from atom_distill.ops.preprocessing import Preprocessing
from atom_distill.training.training_images import Pixels, StoredTensors, TrainingImages


class Form(NamedTuple):
    """How images are stored: the title of the form, and what encodes and decodes them."""

    title: str
    parameterization: Parameterization


@dataclass(frozen=True, eq=False)
class DistilledImages:
    """The images of a distilled set.

    Attributes:
        images: in model space, float32 [N, C, H, W].
        targets: labels [N] or probabilities [N, K].
        per_class: how many each class has.
        form: in which they are stored; None for float32 pixels.
    """

    images: Tensor
    targets: Tensor
    per_class: tuple[int, ...]
    form: Form | None = None


@dataclass(frozen=True, eq=False)
class SearchData:
    """Real and distilled images.

    Attributes:
        real: training images; its test split is the held-out part of them, whose accuracy selects architectures.
        test: the real test split; it measures what was selected, and selects nothing.
        preprocessing: between pixels and networks.
        distilled: by the name of the proxy.
    """

    real: ImageDataset
    test: Split
    preprocessing: Preprocessing
    distilled: Mapping[str, DistilledImages]

    @property
    def identity(self) -> str:
        """Fingerprint of the real images, their split and their preprocessing."""
        return f"{self.real.fingerprint}-{_digest(self.preprocessing)}"

    @property
    def form(self) -> Form | None:
        """The form in which random images are stored, that of the runs; None for pixels as they are.

        Rounding steps are those of the first run by name, whatever the order in which the runs are given.

        Raises:
            ConfigError: the runs differ in the form.
        """
        forms = [self.distilled[name].form for name in sorted(self.distilled)]
        titles = dict.fromkeys("pixels" if form is None else form.title for form in forms)
        if len(titles) > 1:
            raise ConfigError(
                f"the proxy random is stored as the runs are, and they are stored as {' and as '.join(titles)}: use "
                "runs of one form, or a run of the method random as a proxy"
            )
        return forms[0] if forms else None


def make_search_data(
    dataset: ImageDataset, runs: Mapping[str, DistilledDataset], *, holdout: float, seed: int
) -> SearchData:
    """Split the real images, and add the distilled ones.

    Args:
        dataset: real images.
        runs: distilled sets by the name of the proxy, one or more, all with the same preprocessing.
        holdout: share of each class's training images to hold out.
        seed: of the split.

    Raises:
        ConfigError: a run was distilled from other data, or the runs differ in preprocessing.
    """
    for name, run in runs.items():
        if run.class_names != dataset.class_names or run.images.shape[1:] != dataset.train.images.shape[1:]:
            raise ConfigError(f"the run {name} was not distilled from {dataset.name}; search on the data it came from")
    kinds = {_digest(run.preprocessing): f"{name} {run.preprocessing.kind}" for name, run in runs.items()}
    if len(kinds) > 1:
        raise ConfigError(
            f"the runs differ in preprocessing ({', '.join(sorted(kinds.values()))}), which would affect the ranking: "
            "use runs with the same preprocessing, of the same version of the data"
        )
    return SearchData(
        real=hold_out(dataset, holdout, seed),
        test=dataset.test,
        preprocessing=next(iter(runs.values())).preprocessing,
        distilled={name: _images_of(run) for name, run in runs.items()},
    )


def _images_of(run: DistilledDataset) -> DistilledImages:
    form = None if run.form is None else Form(run.form, run.parameterization)
    return DistilledImages(run.images, run.targets, tuple(run.per_class.tolist()), form)


def _digest(preprocessing: Preprocessing) -> str:
    tensors = [tensor for _, tensor in sorted(preprocessing.tensors().items())]
    return f"{preprocessing.kind}-{sha256(*tensors)[:12]}"


@dataclass(frozen=True)
class Proxy:
    """A stand-in for the whole set.

    Attributes:
        name: in tables.
        kind: a distilled set, random real images, the beginning of training on the whole set, or all of it.
        images: how many must be stored.
        identity: of its content; part of the keys of its trials.
        per_class: of random images, how many of each class.
        updates: of the network's weights after which early stopping stops; None trains to the end.
    """

    name: str
    kind: Literal["distilled", "random", "early-stop", "whole"]
    images: int
    identity: str
    per_class: tuple[int, ...] = ()
    updates: int | None = None

    @property
    def is_small(self) -> bool:
        """True for a set of a few images, which networks train on for many epochs."""
        return self.kind in ("distilled", "random")

    def training_images(self, data: SearchData, seed: int, device: torch.device) -> TrainingImages:
        """Return the images that a network is trained on."""
        if self.kind == "distilled":
            distilled = data.distilled[self.name]
            return StoredTensors(distilled.images, distilled.targets, device)
        whole = Pixels(data.real.train, data.preprocessing, device)
        if self.kind != "random":
            return whole
        chosen = random_subset(data.real, torch.tensor(self.per_class), seed)
        images = data.preprocessing.apply(data.real.train.images[chosen])
        if data.form is not None:
            stored_as = data.form.parameterization
            images = stored_as.decode(stored_as.encode(images))
        return StoredTensors(images, data.real.train.labels[chosen], device)


def make_proxy(name: str, data: SearchData, *, epochs: int, batch_size: int) -> Proxy:
    """Return the proxy of a name. Random images are as many as the runs have; early stopping has as many updates.

    Args:
        name: of a distilled set in `data`, or random, early-stop or whole.
        data: images.
        epochs: of training on random images.
        batch_size: of the same training.

    Raises:
        ConfigError: the runs differ in size, or for random images in form, or a class has too few training images.
    """
    if name in data.distilled:
        return distilled_proxy(name, data)
    if name == "whole":
        return whole_proxy(data)
    sizes = {distilled.per_class for distilled in data.distilled.values()}
    if len(sizes) > 1:
        counts = " and ".join(str(count) for count in sorted(map(sum, sizes)))
        raise ConfigError(
            f"the proxy {name} is as large as the runs, and they have {counts} images: use runs of one size"
        )
    per_class = sizes.pop()
    if name == "random":
        return random_proxy(per_class, data)
    return early_stop_proxy(epochs * math.ceil(sum(per_class) / batch_size), data)


def distilled_proxy(name: str, data: SearchData) -> Proxy:
    """Return the proxy of a distilled set."""
    distilled = data.distilled[name]
    return Proxy(name, "distilled", len(distilled.images), sha256(distilled.images, distilled.targets)[:16])


def random_proxy(per_class: tuple[int, ...], data: SearchData) -> Proxy:
    """Return the proxy of random real images, the same for all architectures, in the form of the runs.

    Args:
        per_class: images of each class.
        data: real images.

    Raises:
        ConfigError: a class has fewer, not counting those held out, or the runs differ in their form.
    """
    require_images(data.real, torch.tensor(per_class), otherwise=" in the runs, or hold fewer out (holdout)")
    size = per_class[0] if len(set(per_class)) == 1 else per_class
    identity = f"random {size}"
    if data.form is not None:
        tensors = [tensor for _, tensor in sorted(data.form.parameterization.tensors().items())]
        identity += f" {data.form.title} {sha256(*tensors)[:12]}"
    return Proxy("random", "random", sum(per_class), identity, per_class=per_class)


def early_stop_proxy(updates: int, data: SearchData) -> Proxy:
    """Return the proxy of training on the whole set that stops after `updates` updates of the weights."""
    return Proxy("early-stop", "early-stop", len(data.real.train), f"early stop {updates}", updates=updates)


def whole_proxy(data: SearchData) -> Proxy:
    """Return the proxy of all training images that are not held out."""
    return Proxy("whole", "whole", len(data.real.train), "whole")


def name_runs(runs: Sequence[DistilledDataset]) -> dict[str, DistilledDataset]:
    """Return the runs by the name of their method; a second one of a method is called method:folder.

    Raises:
        ConfigError: there is none, two have the same name, or one has the name of another proxy.
    """
    if not runs:
        raise ConfigError("a search needs distilled runs: give one or more distilled runs")
    named: dict[str, DistilledDataset] = {}
    for run in runs:
        name = str(run.settings.get("method", "imported"))
        if name in ("whole", "early-stop"):
            raise ConfigError(
                f"a run's method is called {name}, like another proxy; import it under another method name"
            )
        if run.folder is not None and any(other.folder == run.folder for other in named.values()):
            raise ConfigError(f"the run {run.folder} is given twice; give each once")
        name = f"{name}:{run.folder.name}" if name in named and run.folder is not None else name
        if name in named:
            raise ConfigError(f"two runs are called {name}; give each once, in a folder with a name of its own")
        named[name] = run
    return named


def proxy_names(wanted: Sequence[str], runs: Mapping[str, DistilledDataset]) -> list[str]:
    """Return the names of the proxies of a search: those wanted, or all there are where `wanted` is empty.

    Raises:
        ConfigError: one is not known.
    """
    known = list(dict.fromkeys(["random", *runs, "early-stop", "whole"]))
    for name in wanted:
        if name not in known:
            raise ConfigError(
                f"there is no proxy {name!r}: known are {', '.join(known)}; "
                "a method is a proxy where the runs include one distilled with it"
            )
    return list(dict.fromkeys(wanted or known))
