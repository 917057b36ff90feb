"""Several processes that distill one set: the same images as one process, whatever their number."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import torch

from atom_distill.api import distill
from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.artifact.snapshots import load_snapshots
from atom_distill.base.errors import ConfigError
from atom_distill.data.sources.digits import load_digits
from atom_distill.data.subset import only_classes
from atom_distill.distillation.shard import Shard
from atom_distill.processes.ranks import Ranks, current_ranks
from distillation.toys import go, toy_dataset
from forked import ranks

DIGITS = {
    "ipc": 2,
    "steps": 20,
    "width": 16,
    "batch_real": 16,
    "real_dtype": "float32",
    "image_optimizer": "sgd",
    "image_average": 0.5,
}


def together(size: int, work: str, *arguments: Any) -> list[Any]:
    """Have so many processes do the work of this module's function of that name; gives what each returns."""
    return ranks(size, _joined, work, arguments)


def _joined(work: str, arguments: tuple[Any, ...]) -> Any:
    from atom_distill.processes.ranks import join, leave

    torch.set_num_threads(1)
    try:
        join()
        return globals()[work](*arguments)
    except Exception as error:  # told to the test, which waits for it
        return f"{type(error).__name__}: {error}"
    finally:
        leave()


def distil_digits(out: Path | None, settings: dict[str, Any]) -> Any:
    made = go(out, data=load_digits(), **{**DIGITS, **settings})
    return made.images.numpy(), made.labels.tolist(), [entry["loss"] for entry in made.history]


@pytest.mark.slow
@pytest.mark.parametrize(("size", "settings"), [(2, {}), (3, {}), (3, {"batch_classes": 2, "batch_synthetic": 1})])
def test_several_processes_make_the_images_of_one(size, settings, tmp_path):
    alone, labels, losses = distil_digits(None, settings)
    parts = together(size, "distil_digits", tmp_path / "run", settings)
    stored = DistilledDataset.load(tmp_path / "run")
    first = distil_digits(None, {**settings, "steps": 1})[0]
    moved = abs(alone - first).max()
    for images, their_labels, _ in parts:
        assert their_labels == labels
        assert abs(images - alone).max() < 1e-3 * moved
    assert torch.equal(stored.images, torch.from_numpy(parts[0][0]))
    assert parts[0][2] == pytest.approx(losses, rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 3])
def test_a_checkpoint_of_two_ranks_resumes_on_another_number(size, tmp_path):
    settings = {"image_optimizer": "adam", "image_lr": 0.02, "eval_every": 10, "eval_epochs": 2, "eval_repeats": 2}
    together(2, "distil_digits", tmp_path / "run", {**settings, "steps": 10})
    resumed = together(size, "distil_digits", tmp_path / "run", {**settings, "resume": True})
    alone, _, _ = distil_digits(tmp_path / "alone", settings)
    assert abs(resumed[0][0] - alone).max() < 1e-3 * abs(alone).max()
    stored = DistilledDataset.load(tmp_path / "run")
    assert [entry["step"] for entry in stored.history] == list(range(1, 21))
    assert [entry["step"] for entry in stored.history if "held_out_accuracy" in entry] == [10, 20]
    ours, theirs = (load_snapshots(tmp_path / name) for name in ("alone", "run"))
    assert ours.steps == theirs.steps == (0, 4, 8, 12, 16, 20)
    assert int((ours.pixels.int() - theirs.pixels.int()).abs().max()) <= 1  # levels of gray
    terms = DistilledDataset.load(tmp_path / "alone").history[-1]["terms"]
    assert stored.history[-1]["terms"] == pytest.approx(terms, rel=1e-3)


def add_classes(base: Path, out: Path | None) -> Any:
    given = {"compile": "off", "device": "cpu", "show_progress": False, "checkpoint_every": 2}
    made = distill(toy_dataset((9,) * 4), out=out, add_classes=base, **given)
    return made.images.numpy(), made.labels.tolist()


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_rank_may_have_no_class_that_grows(optimizer, tmp_path):
    old = only_classes(toy_dataset((9,) * 4), ("class 0", "class 2"))  # both are those of rank 0
    go(tmp_path / "base", data=old, steps=4, image_optimizer=optimizer, image_average=0.5)
    parts = together(2, "add_classes", tmp_path / "base", tmp_path / "run")
    alone, labels = add_classes(tmp_path / "base", None)
    for images, their_labels in parts:
        assert their_labels == labels == [0, 1, 2, 3]
        assert abs(images - alone).max() < 1e-4


def test_what_one_rank_is_refused_all_are_told(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").write_text("keep me")
    told = together(2, "distil_digits", tmp_path / "run", {})
    assert told[0] == told[1]
    assert told[0].startswith("ArtifactError: ")


@pytest.mark.parametrize("method", ["dc", "dsa"])
def test_methods_that_train_one_network_are_refused(method, tmp_path):
    told = together(2, "distil_digits", tmp_path / "run", {"method": method})
    assert all("start it without torchrun" in one for one in told)
    assert not (tmp_path / "run").exists()


def test_batch_norm_over_processes_is_refused_on_a_cpu(tmp_path):
    refused = together(2, "distil_digits", tmp_path / "run", {"norm": "batch"})
    assert all("BatchNorm" in one and "start it without torchrun" in one for one in refused)
    assert not (tmp_path / "run").exists()


def test_a_part_of_the_classes_and_batch_norm_over_processes_are_refused(tmp_path):
    refused = together(2, "distil_digits", tmp_path / "run", {"norm": "batch", "batch_classes": 2})
    assert all("`batch_classes` leaves some processes without a class" in one for one in refused)
    assert not (tmp_path / "run").exists()


def test_a_selection_is_made_once_and_given_to_all():
    alone = distil_digits(None, {"method": "herding", "selection_epochs": 1})
    for images, labels, _ in together(2, "distil_digits", None, {"method": "herding", "selection_epochs": 1}):
        assert (images == alone[0]).all()
        assert labels == alone[1]


def test_uneven_shares():
    shard = Shard(Ranks(1, 3), torch.tensor([1, 2, 3, 1, 2]))
    assert shard.classes.tolist() == [1, 4]
    assert shard.take(torch.arange(9)).tolist() == [1, 2, 7, 8]


def test_more_ranks_than_classes_are_refused():
    with pytest.raises(ConfigError, match=r"4 processes for 3 classes.*--nproc-per-node=3"):
        Shard(Ranks(0, 4), torch.ones(3, dtype=torch.int64))


def test_classes_of_different_sizes_are_shared(tmp_path):
    alone = distil_uneven()
    for images in together(2, "distil_uneven"):
        assert abs(images - alone).max() < 1e-3 * abs(alone).max()


def distil_uneven() -> Any:
    return go(data=toy_dataset((5, 40, 15)), ipc=None, budget=12, real_dtype="float32").images.numpy()


@pytest.mark.slow
def test_each_of_several_architectures_is_spread(tmp_path):
    """One of three processes has no network."""
    assert together(3, "evaluate_two_shapes") == [evaluate_two_shapes()] * 3


def evaluate_two_shapes() -> Any:
    from atom_distill.base.network_shape import NetworkShape
    from atom_distill.config.training_protocol import PROTOCOLS
    from atom_distill.evaluation.evaluate import Evaluation, scores_of

    data, protocol = toy_dataset((6, 6)), PROTOCOLS.get("dm").changed(epochs=2)
    evaluations = [
        Evaluation(shape=NetworkShape(depth=depth, width=4), repeats=2, protocol=protocol, ranks=current_ranks())
        for depth in (1, 2)
    ]
    scores = dict(scores_of([each.begin_random(data, 1, "normalize") for each in evaluations]))
    return [list(scores[number].runs) for number in (0, 1)]


@pytest.mark.slow
def test_repeats_of_an_evaluation_are_spread():
    alone = evaluate_digits()
    parts = together(2, "evaluate_digits")
    assert parts[0] == parts[1]
    assert parts[0] == pytest.approx(alone, abs=1.0)  # one test image is 0.3 %


def test_a_network_that_diverges_on_one_rank_is_told_on_all():
    told = together(2, "evaluate_with_a_bad_network", 1)
    assert told == ["NonFiniteError: convnet: network 2 diverged; a smaller learning rate may help"] * 2


def evaluate_with_a_bad_network(bad: int) -> Any:
    from atom_distill.base.errors import NonFiniteError
    from atom_distill.evaluation import train_and_test as module

    def train(*_: Any, repeats: range, **rest: Any) -> None:
        if bad in repeats:
            raise NonFiniteError(f"network {bad + 1} diverged")

    module.train = train
    return evaluate_digits()


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are counted in /proc, which is Linux's")
def test_nothing_of_the_group_is_left_after_leaving():
    """What is left of it would abort the end of the program now and then."""
    assert together(2, "leave_and_look") == [[], []]


def leave_and_look() -> list[str]:
    from atom_distill.processes.ranks import leave

    distil_digits(None, {"steps": 1, "compile": "on", "depth": 1, "width": 4})  # little to compile
    importlib.import_module("torch._dynamo")
    leave()
    names = [(thread / "comm").read_text() for thread in Path("/proc/self/task").iterdir()]
    return [name for name in names if "gloo" in name]


def test_a_set_is_saved_by_the_main_process(tmp_path):
    assert together(2, "save_digits", tmp_path / "saved") == [str(tmp_path / "saved"), "None"]
    assert len(DistilledDataset.load(tmp_path / "saved")) == 20


def save_digits(folder: Path) -> str:
    made = go(None, data=load_digits(), **{**DIGITS, "steps": 1})
    if current_ranks().is_main:
        made.save(folder)
    return str(made.folder)


def test_a_checkpoint_that_cannot_be_written_is_told_on_all(tmp_path):
    told = together(2, "distil_without_room", tmp_path / "run")
    assert told == ["OSError: no space left"] * 2


def distil_without_room(folder: Path) -> Any:
    from atom_distill.distillation import loop

    def save(*_: Any) -> None:
        raise OSError("no space left")

    loop.save_checkpoint = save
    return distil_digits(folder, {})


def test_without_joining_each_process_works_alone(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert current_ranks() == Ranks()


def evaluate_digits() -> Any:
    from atom_distill.api import evaluate
    from atom_distill.config.training_protocol import PROTOCOLS

    data = load_digits()
    made = go(data=data, method="random", ipc=5)
    return list(evaluate(made, data, repeats=3, protocol=PROTOCOLS.get("dm").changed(epochs=5), device="cpu").runs)


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{"method": "random"}, {"steps": 2}])
def test_several_processes_give_the_soft_labels_of_one(changes, tmp_path):
    taught = {"pool": 2, "pool_epochs": 12, "soft_labels": True, "ipc": 2, "depth": 2, **changes}
    alone = go(tmp_path / "alone", data=toy_dataset((60, 60, 60)), **taught)
    parts = together(2, "soft_labels_of_toys", tmp_path / "run", taught)
    stored = DistilledDataset.load(tmp_path / "run")
    for labels in (*parts, stored.soft_labels.numpy()):
        if "method" in changes:  # the images are the same to the last bit
            assert (labels == alone.soft_labels.numpy()).all()
        assert abs(labels - alone.soft_labels.numpy()).max() < 2e-3
    assert alone.soft_labels.std(0).min() > 0.02  # the labels are not all alike


def soft_labels_of_toys(out: Path, settings: dict[str, Any]) -> Any:
    return go(out, data=toy_dataset((60, 60, 60)), **settings).soft_labels.numpy()


@pytest.mark.slow
def test_several_processes_fill_the_same_bytes(tmp_path):
    settings = {"ipc": None, "bytes": 100, "pictures": 4, "steps": 3}
    alone, labels, _ = distil_digits(None, settings)
    parts = together(2, "distil_digits", tmp_path / "run", settings)
    stored = DistilledDataset.load(tmp_path / "run")
    assert stored.stored_bytes <= 1000
    for images, part_labels, _ in parts:
        assert (images == stored.images.numpy()).all()
        assert part_labels == labels
        # A sum in another order may round a value to the next multiple of its step.
        assert ((images - alone) ** 2).mean() < 0.01 * alone.var()
