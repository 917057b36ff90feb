"""The Python interface: loading, planning, distilling and evaluating, by one process or several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.artifact.scores import Score
from atom_distill.base.device import pick_device
from atom_distill.base.errors import ConfigError
from atom_distill.base.network_shape import NetworkShape
from atom_distill.config.training_protocol import TrainingProtocol, protocol_of
from atom_distill.data import load
from atom_distill.data.dataset import ImageDataset
from atom_distill.data.subset import with_images
from atom_distill.distillation.method import RunPlan
from atom_distill.distillation.planning import plan_run
from atom_distill.distillation.run import run
from atom_distill.evaluation.evaluate import Evaluation, at_same_compute
from atom_distill.processes.ranks import current_ranks
from atom_distill.training.training_execution import ExecutionOptions


def load_dataset(  # noqa: PLR0913 (each argument is a choice of the user's)
    name_or_path: str | Path,
    *,
    data_dir: str | Path | None = None,
    image_size: int | None = None,
    test_fraction: float | None = None,
    classes: int | Sequence[str] | None = None,
    skip_unreadable: bool = False,
    seed: int = 0,
    test_split: str | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    refresh: bool = False,
) -> ImageDataset:
    """Load a data set by name, from a file or folder, or from the Hugging Face hub.

    A known name takes precedence over a file of that name; write `./digits`, or pass a `Path`, for the file.
    Decoded images are cached in the folder `ATOM_DATA` and opened as memory maps. With several processes, rank 0 loads
    the set first, and the others open what it has cached.

    Args:
        name_or_path: `digits`, `cifar10`, `cifar100`, `cifar100-coarse`, `tiny-imagenet`, a path to class folders, a
            zip or npz file, parquet files or a saved Hugging Face set, or `owner/name` of a set on the hub.
        data_dir: your copy of a named set as published: its archive, its folder, or the folder that holds either.
        image_size: height and width in pixels, to which images are resized and cropped. None keeps their size.
        test_fraction: share of each class to use as test images, for data without a test split, in (0, 1).
        classes: names of the classes to keep, in the order of their new labels; or a number N for the first N.
        skip_unreadable: leave out images that cannot be decoded, and count them; not for a named set.
        seed: seed for drawing the test fraction. Keep it the same when only a run's own seed changes, or one run
            would train on images that another is tested on.
        test_split: name of the split to test on, if there are several; None for the first of test, val, dev, eval.
        image_column: column of the images, if several columns of a table fit.
        label_column: column of the labels, likewise.
        refresh: fetch and decode again, even if the set is cached.

    Raises:
        UnknownNameError: it is neither a known name nor a path, nor of the form `owner/name`.
        DataError: the set cannot be found, read or used; the message says what to do.
        CacheError: the cached copy is damaged.
        ConfigError: an option is out of range, or does not fit the set.
    """
    ranks = current_ranks()
    return ranks.rank0_first(
        lambda: load.load_dataset(
            name_or_path,
            data_dir=data_dir,
            image_size=image_size,
            test_fraction=test_fraction,
            classes=classes,
            skip_unreadable=skip_unreadable,
            seed=seed,
            test_split=test_split,
            image_column=image_column,
            label_column=label_column,
            refresh=refresh and ranks.is_main,
        )
    )


def distill(
    dataset: ImageDataset,
    ipc: int | None = None,
    method: str | None = None,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    show_progress: bool = True,
    **settings: Any,
) -> DistilledDataset:
    """Distill a data set to a few synthetic images.

    Args:
        dataset: from `load_dataset`.
        ipc: images per class. Instead, budget=M gives a total number of images, allocated in proportion to class
            sizes, and bytes=N a size per class, for images stored as low frequencies.
        method: "atom" (default), "datadam", "dm", "dc", "dsa", "random", "herding", "k-center", "k-means",
            "forgetting", one that you registered in `METHODS`, or "package.module:name".
        out: folder for the result, its checkpoints and metrics; without it, the result is in memory only.
        resume: continue the run in `out`, if there is one.
        show_progress: draw a progress bar on standard error.
        settings: any field of `atom_distill.config.distill.DistillConfig`, e.g. steps=500, init="noise", seed=1,
            norm="batch", and of the method's own settings, e.g. spatial_power=2. Those left out get the papers'
            values for the resolution and ipc.

    Returns:
        The distilled set, which is also stored in `out`, if given.

    Raises:
        AtomError: the settings, the data or the folder cannot be used; the message says what to do.

    Source: ATOM (arXiv 2405.01373).
    """
    given = {"ipc": ipc, "method": method, **settings}
    plan = plan_distillation(dataset, given, out=out, resume=resume)
    return run(plan, resume=resume, show_progress=show_progress)


def plan_distillation(
    dataset: ImageDataset, settings: Mapping[str, Any], *, out: str | Path | None = None, resume: bool = False
) -> RunPlan:
    """Return what `distill` would do, with every setting final; nothing is written.

    Args:
        dataset: from `load_dataset`.
        settings: by name, as for `distill`; None means not given.
        out: folder for the result.
        resume: continue the run in `out`, if there is one.

    Raises:
        AtomError: the settings, the data or the folder do not allow it; the message says what to do.
    """
    dataset = _usable(dataset)
    given = {name: value for name, value in settings.items() if value is not None}
    folder = Path(out) if out is not None else None
    return plan_run(dataset, given, out=folder, resume=resume, ranks=current_ranks())


def evaluate(  # noqa: PLR0913 (each argument is a choice of the user's)
    distilled: DistilledDataset,
    dataset: ImageDataset,
    arch: str = "convnet",
    repeats: int = 5,
    protocol: str | TrainingProtocol = "dm",
    *,
    same_compute: bool = False,
    shape: NetworkShape | None = None,
    seed: int = 0,
    device: str = "auto",
    execution: ExecutionOptions | None = None,
    show_progress: bool = True,
) -> Score:
    """Train networks from scratch on a distilled set and test them on the real test split.

    Args:
        distilled: the set; if it is stored in a folder, the score is saved there.
        dataset: the real set, whose test split the networks are tested on; every class needs training images all the
            same, as in any data set that was loaded.
        arch: name of the architecture.
        repeats: number of networks, each with its own seed.
        protocol: how they are trained: a name, with changes in parentheses if there are any, e.g. "dm(epochs=300)",
            or a protocol, e.g. `PROTOCOLS.get("dm").changed(epochs=300)`.
        same_compute: divide the epochs by the number of decoded images per stored image; recorded in the protocol's
            name.
        shape: changes to the architecture's depth, width, norm, activation and pooling.
        seed: seed of every random draw.
        device: cpu, cuda, ..., or auto.
        execution: precision, compilation and networks at once, e.g. `ExecutionOptions(precision="float32")`; by
            default chosen for the machine.
        show_progress: draw a progress bar on standard error.

    Returns:
        Test accuracies after the last epoch, in percent: mean, standard deviation and every network's.

    Raises:
        AtomError: a name is unknown, or the two sets do not belong together.
    """
    dataset = _usable(dataset)
    ranks = current_ranks()
    chosen = protocol_of(protocol) if isinstance(protocol, str) else protocol
    evaluation = Evaluation(
        arch=arch,
        shape=shape or NetworkShape(),
        repeats=repeats,
        protocol=at_same_compute(chosen, distilled) if same_compute else chosen,
        seed=seed,
        device=pick_device(device),
        execution=execution or ExecutionOptions(),
        ranks=ranks,
        show_progress=show_progress,
    )
    score = evaluation.of_distilled(distilled, dataset)
    distilled.scores = ranks.broadcast_from_rank0(lambda: distilled.add_score(score))
    return score


def _usable(dataset: ImageDataset) -> ImageDataset:
    """Return a set in which every class has images, which one that was not loaded may lack."""
    if not isinstance(dataset, ImageDataset):
        raise ConfigError(
            f"a loaded data set is needed, got {type(dataset).__name__}: use load_dataset, e.g. load_dataset('cifar10')"
        )
    return with_images(dataset)
