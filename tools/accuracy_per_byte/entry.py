"""The figures of a finished run: what it stores, what it took, and how networks trained on it do."""

from __future__ import annotations

import math
import shlex
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from accuracy_per_byte.commands import SAME_COMPUTE, commands_of
from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.artifact.folder import PREPROCESSING_FILE, holds_run, load_config
from atom_distill.artifact.scores import Score, load_scores
from atom_distill.base.errors import ArtifactError
from atom_distill.config.distill import DistillConfig

_FLOAT32_BYTES = 4
_FILES = {"last": "distilled.safetensors", "best": "distilled-best.safetensors"}


class Entry(BaseModel):
    """One score of one run. Sizes are averages over the classes where these differ.

    Attributes:
        run: name of the run's folder.
        dataset: name of the data set.
        fingerprint: of its contents.
        classes: how many there are.
        image_shape: (C, H, W).
        method: of the distillation.
        preset: where the defaults came from.
        size: as it was asked for, e.g. "bytes 3072" or "ipc 1".
        bytes_asked: the same in bytes per class; of a number of images, at the precision of the values.
        parameterization: what is stored.
        bits: of a stored value; None where the size in bytes decided.
        preprocess: transform between pixels and networks.
        steps: of the distillation.
        pool: trained networks that it used; 0 without a pool.
        values: stored values per class.
        pictures: images per class that they are decoded to.
        stored_bytes: all that the set needs, of all classes: values, rounding steps, soft labels, transform.
        file_bytes: size of the files that hold them, with their headers.
        images_8_bit: bytes per class over those of an image of 8 bits a value.
        images_float32: bytes per class over those of an image of float32 values, as the field counts.
        arch: architecture of the evaluated networks.
        shape: departures from its depth, width, norm, activation and pooling.
        protocol: how the networks were trained.
        epochs: of their training.
        same_compute: whether these were divided by the pictures per stored image.
        labels: class numbers, or soft labels.
        which: the last values, or the best on held-out training images.
        precision: of the evaluation.
        mean: test accuracy, percent.
        std: its standard deviation over the networks.
        runs: the accuracy of each network.
        steps_seconds: wall clock of the steps.
        run_seconds: of the whole run but for the training of its pool; None for runs of earlier versions.
        pool_seconds: of that; None without a pool, or where it is not known.
        evaluate_seconds: of the evaluation.
        machine: GPU or processor of the distillation.
        device: of the distillation.
        threads, torch, python, atom_distill, commit, started: of the distillation.
        commands: what makes the run and the score.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    run: str
    dataset: str
    fingerprint: str | None
    classes: int
    image_shape: tuple[int, int, int]
    method: str
    preset: str
    size: str
    bytes_asked: int
    parameterization: str
    bits: int | None
    preprocess: str
    steps: int
    pool: int
    values: float
    pictures: float
    stored_bytes: int
    file_bytes: int
    images_8_bit: float
    images_float32: float
    arch: str
    shape: dict[str, Any]
    protocol: str
    epochs: int
    same_compute: bool
    labels: Literal["hard", "soft"]
    which: Literal["last", "best"]
    precision: str
    mean: float
    std: float
    runs: tuple[float, ...]
    steps_seconds: float | None
    run_seconds: float | None
    pool_seconds: float | None
    evaluate_seconds: float
    machine: str | None
    device: str | None
    threads: int | None
    torch: str | None
    python: str | None
    atom_distill: str | None
    commit: str | None
    started: str | None
    commands: tuple[str, ...]

    @property
    def key(self) -> tuple[str, ...]:
        """What an entry that replaces this one shares with it."""
        return (self.run, self.protocol, self.arch, str(sorted(self.shape.items())), self.labels, self.which)


def entries_of(folder: Path) -> list[Entry]:
    """Return an entry for each evaluation of a finished run; of several that are alike, for that of most networks.

    Raises:
        ArtifactError: the folder holds no finished run, or one without scores, or one that was not distilled here.
    """
    if not holds_run(folder):
        raise ArtifactError(f"{folder} is not a run folder: it has no config.yaml; give folders of `atom distill`")
    config = _config(folder)
    name = load_config(folder)["dataset"].get("name")
    every = [score for score in load_scores(folder) if score.subject == "distilled" and score.dataset == name]
    scores = [score for score in every if score.first is None]
    if not scores:
        raise ArtifactError(f"{folder} has no scores; make some with: atom evaluate {shlex.quote(str(folder))}")
    loaded = {which: DistilledDataset.load(folder, which) for which in {score.which for score in scores}}
    scores.sort(key=lambda score: len(score.runs))
    entries = [_entry(loaded[score.which], config, score) for score in scores]
    return [*{entry.key: entry for entry in entries}.values()]


def _config(folder: Path) -> DistillConfig:
    """Return the general settings of a run."""
    settings = load_config(folder)["settings"]
    known = {name: value for name, value in settings.items() if name in DistillConfig.model_fields}
    try:
        return DistillConfig.model_validate(known)
    except ValidationError:
        raise ArtifactError(f"{folder} was not distilled here: its settings are not those of `atom distill`") from None


def _entry(distilled: DistilledDataset, config: DistillConfig, score: Score) -> Entry:
    record, classes = distilled.record, len(distilled.class_names)
    assert distilled.folder is not None  # it was loaded
    of_record = ("machine", "threads", "torch", "python", "atom_distill", "commit", "started")
    facts: dict[str, Any] = {name: record.get(name) for name in (*of_record, "run_seconds", "pool_seconds")}
    changed = {name: value for name, value in score.shape.items() if value is not None}
    return Entry(
        run=distilled.folder.resolve().name,
        dataset=score.dataset,
        fingerprint=distilled.dataset.get("fingerprint"),
        method=config.method,
        preset=config.preset,
        preprocess=distilled.preprocessing.kind,
        steps=distilled.steps,
        pool=config.pool if "pool_seconds" in record else 0,  # a preset asks for one that a selection does not use
        classes=classes,
        **_sizes(distilled, config),
        arch=score.arch,
        shape=changed,
        protocol=score.protocol.name,
        epochs=score.protocol.epochs,
        same_compute=SAME_COMPUTE in score.protocol.name,
        labels=score.labels,
        which=score.which,
        precision=score.precision,
        mean=round(score.mean, 3),
        std=round(score.std, 3),
        runs=score.runs,
        evaluate_seconds=round(score.seconds, 1),
        device=config.device,
        commands=commands_of(distilled, score, changed),
        steps_seconds=record.get("seconds"),
        **facts,
    )


def _sizes(distilled: DistilledDataset, config: DistillConfig) -> dict[str, Any]:
    """Return what a set stores, in all units."""
    assert distilled.folder is not None
    classes, values_per_image = len(distilled.class_names), math.prod(distilled.image_shape)
    names = (_FILES[distilled.which], PREPROCESSING_FILE)
    images = (config.ipc or 0) * classes + (config.budget or 0)
    asked = config.bytes or math.ceil(images * values_per_image * config.value_bits / 8 / classes)
    per_class = distilled.stored_bytes / classes
    return {
        "image_shape": distilled.image_shape,
        "size": config.size,
        "bytes_asked": asked,
        "parameterization": config.parameterization,
        "bits": None if config.bytes else config.value_bits,
        "values": distilled.stored_values / classes,
        "pictures": len(distilled) / classes,
        "stored_bytes": distilled.stored_bytes,
        "file_bytes": sum((distilled.folder / name).stat().st_size for name in names),
        "images_8_bit": round(per_class / values_per_image, 4),
        "images_float32": round(per_class / (_FLOAT32_BYTES * values_per_image), 4),
    }
