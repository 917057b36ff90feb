"""What every trial of a search reads: real images in three parts, and the proxies' own."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.base.errors import ConfigError
from atom_distill.data.dataset import ImageDataset, Split
from atom_distill.data.subset import hold_out
from atom_distill.ops.preprocessing import Preprocessing


@dataclass(frozen=True)
class Synthetic:
    """A distilled set: images in model space, float32 [N, C, H, W], and labels [N] or probabilities [N, K]."""

    images: Tensor
    targets: Tensor


@dataclass(frozen=True)
class SearchData:
    """Real and distilled images.

    Attributes:
        real: training images, and as its test split those held out of them: architectures are chosen by the accuracy
            on these.
        test: the real test split; it measures what was chosen, and chooses nothing.
        preprocessing: between pixels and networks.
        distilled: by the proxy's name.
    """

    real: ImageDataset
    test: Split
    preprocessing: Preprocessing
    distilled: Mapping[str, Synthetic]

    @property
    def identity(self) -> str:
        """Name the real images, how they were parted and how they are seen."""
        return f"{self.real.fingerprint}-{_digest(self.preprocessing)}"


def search_data(
    dataset: ImageDataset, runs: Mapping[str, DistilledDataset], *, holdout: float, seed: int
) -> SearchData:
    """Part the real images, and take the distilled ones along.

    Args:
        dataset: real images.
        runs: distilled sets by the proxy's name, one or more; the first one's preprocessing is everybody's.
        holdout: share of each class's training images to validate on.
        seed: of the draw.

    Raises:
        ConfigError: the runs are of other data, or live behind different preprocessing.
    """
    for name, run in runs.items():
        if run.class_names != dataset.class_names or run.images.shape[1:] != dataset.train.images.shape[1:]:
            raise ConfigError(f"the run {name} was not distilled from {dataset.name}; search on the data it came from")
    seen = {_digest(run.preprocessing): f"{name} {run.preprocessing.kind}" for name, run in runs.items()}
    if len(seen) > 1:
        raise ConfigError(
            f"the runs differ in preprocessing ({', '.join(sorted(seen.values()))}), and a ranking would compare that: "
            "search with runs of one kind, of one version of the data, at a time"
        )
    return SearchData(
        real=hold_out(dataset, holdout, seed),
        test=dataset.test,
        preprocessing=next(iter(runs.values())).preprocessing,
        distilled={name: Synthetic(run.images, run.targets) for name, run in runs.items()},
    )


def _digest(preprocessing: Preprocessing) -> str:
    tensors = sorted(preprocessing.tensors().items())
    content = b"".join(tensor.contiguous().numpy().tobytes() for _, tensor in tensors)
    return f"{preprocessing.kind}-{hashlib.sha256(content).hexdigest()[:12]}"
