"""Scores of distilled sets, random subsets and the whole set."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.fft import dctn

from atom_distill.api import evaluate
from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.artifact.scores import Score
from atom_distill.base.errors import ConfigError, NonFiniteError, ShapeError, UnknownNameError
from atom_distill.base.network_shape import NetworkShape
from atom_distill.config.training_protocol import TrainingProtocol
from atom_distill.data.dataset import Split
from atom_distill.data.fit_preprocessing import fit_preprocessing
from atom_distill.data.load import load_dataset
from atom_distill.data.subset import random_subset
from atom_distill.evaluation import train_and_test as module
from atom_distill.evaluation import trainings
from atom_distill.evaluation.evaluate import Evaluation, scores_of
from atom_distill.processes.ranks import Ranks
from atom_distill.training import training_execution
from atom_distill.training.networks import networks_for
from atom_distill.training.training_execution import ExecutionOptions, TrainingExecution
from atom_distill.training.training_images import StoredTensors
from distillation.toys import go, toy_dataset

QUICK = TrainingProtocol(name="quick", epochs=30, batch_size=16, lr=0.05, augment="none")
SMALL = NetworkShape(depth=2, width=8)
DATA = toy_dataset((12, 12, 12), test_per_class=15)


def evaluation(**changes) -> Evaluation:
    return Evaluation(**{"shape": SMALL, "repeats": 2, "protocol": QUICK, "show_progress": False, **changes})


def distilled(ipc: int = 5, soft_labels: torch.Tensor | None = None) -> DistilledDataset:
    preprocessing = fit_preprocessing("normalize", DATA)
    chosen = random_subset(DATA, ipc, seed=0)
    return DistilledDataset.from_images(
        images=preprocessing.apply(DATA.train.images[chosen]),
        labels=DATA.train.labels[chosen],
        class_names=DATA.class_names,
        preprocessing=preprocessing,
        settings={"method": "atom"},
        steps=7,
        soft_labels=soft_labels,
    )


def test_soft_labels_are_what_is_learnt():
    """Labels say one class, soft labels the next: the networks then say the next."""
    tiny = distilled()
    right = evaluation(repeats=1).of_distilled(tiny, DATA).mean
    soft_labels = torch.eye(3)[(tiny.labels + 1) % 3] * 0.9 + 0.1 / 3
    misled = evaluation(repeats=1).of_distilled(distilled(soft_labels=soft_labels), DATA).mean
    assert right > 80
    assert misled < 20


def test_all_sets_are_scored_on_the_test_split():
    """Its labels are others here than those of the training images: networks that learned these are wrong."""
    misled = replace(DATA, test=Split(DATA.test.images, (DATA.test.labels + 1) % 3))
    of = evaluation(repeats=1)
    for score in (of.of_distilled(distilled(), misled), of.of_random(misled, 5, "normalize")):
        assert score.mean < 20
    assert of.of_whole(misled, "normalize").mean < 20
    assert of.of_whole(DATA, "normalize").mean > 80


def test_a_distilled_set_is_scored():
    score = evaluation().of_distilled(distilled(), DATA)
    assert score.mean > 80
    assert (score.subject, score.dataset, score.preprocess, score.arch) == (
        "distilled",
        "toy",
        "normalize",
        "convnet",
    )
    assert (score.images, score.ipc, score.steps, score.which, score.seed) == (15, 5, 7, "last", 0)
    assert len(score.runs) == 2
    assert score.protocol == QUICK
    assert score.shape["width"] == 8
    assert score.seconds > 0


def test_mean_and_deviation_are_those_of_a_sample():
    score = evaluation(repeats=4, protocol=QUICK.model_copy(update={"epochs": 4})).of_distilled(distilled(1), DATA)
    assert score.mean == pytest.approx(np.mean(score.runs))
    assert score.std == pytest.approx(np.std(score.runs, ddof=1))
    assert len(set(score.runs)) > 1
    assert Score(**(score.model_dump() | {"runs": (40.0,)})).std == 0


def test_repeats_are_reproducible_and_each_its_own():
    quick = QUICK.model_copy(update={"epochs": 5})
    score = lambda **changes: evaluation(protocol=quick, **changes).of_distilled(distilled(1), DATA).runs  # noqa: E731
    four = score(repeats=4)
    assert score(repeats=4) == four
    assert score(repeats=2) == four[:2]  # more repeats do not change those before
    assert score(repeats=4, seed=1) != four
    assert len(set(four)) > 1


def test_networks_of_several_evaluations_are_those_of_one():
    """Also on random images, of which each network has a subset of its own."""
    quick, tiny = QUICK.model_copy(update={"epochs": 5}), distilled(1)
    every, some = evaluation(repeats=3, protocol=quick), evaluation(repeats=2, first=1, protocol=quick)
    for score in (lambda of: of.of_distilled(tiny, DATA), lambda of: of.of_random(DATA, 1, "normalize")):
        assert score(some).runs == score(every).runs[1:]
        assert len(set(score(every).runs)) > 1
    assert some.known_from(some.of_distilled(tiny, DATA)) is None  # a score does not say which networks it is of
    with pytest.raises(ConfigError, match="`first` must be at least 0, got -1"):
        evaluation(first=-1)


def test_missing_networks_are_computed_as_all_would_be(monkeypatch):
    """On a processor with bfloat16, where three networks pay to compile and the last of them alone would not."""
    whole = evaluation(repeats=3)
    pixels = 3 * QUICK.epochs * 10 * DATA.image_shape[1] * DATA.image_shape[2]
    monkeypatch.setattr(training_execution, "_COMPILE_FROM", 0.9 * pixels)
    monkeypatch.setattr(training_execution, "can_compile", lambda _: True)
    monkeypatch.setattr(training_execution, "fast_dtype", lambda _: torch.bfloat16)
    alone, rest = replace(whole, first=2, repeats=1), whole._rest(2, 10, DATA)
    plans = {name: each._plan(10, DATA) for name, each in (("whole", whole), ("alone", alone), ("rest", rest))}
    assert (rest.first, rest.repeats) == (2, 1)
    assert (plans["alone"].dtype, plans["alone"].compiled) == (torch.float32, False)
    for plan in (plans["whole"], plans["rest"]):
        assert (plan.dtype, plan.compiled) == (torch.bfloat16, True)


def test_images_are_tested_through_the_set_s_own_preprocessing():
    """A set that lives in another space must be scored in that space."""
    shifted = replace(distilled().preprocessing, mean=torch.full((3,), 0.1), std=torch.full((3,), 3.0))
    stored = {"images": shifted.apply(distilled().pixels())}
    moved = replace(distilled(), preprocessing=shifted, stored=stored)
    assert evaluation().of_distilled(moved, DATA).mean > 80


def test_random_subsets_are_balanced_and_differ_by_network(monkeypatch):
    seen = []
    train = module.train

    def watched(networks, images, protocol, *, repeats, **rest):
        seen.extend(
            (repeat, of_one.batch(torch.arange(len(of_one)))) for repeat, of_one in zip(repeats, images, strict=True)
        )
        train(networks, images, protocol, repeats=repeats, **rest)

    monkeypatch.setattr(module, "train", watched)
    score = evaluation(repeats=3).of_random(DATA, 2, preprocess="normalize")
    assert (score.subject, score.images, score.ipc, score.steps) == ("random", 6, 2, None)
    assert [repeat for repeat, _ in seen] == [0, 1, 2]
    real = {tuple(row) for row in fit_preprocessing("normalize", DATA).apply(DATA.train.images).flatten(1).tolist()}
    for _, (images, labels) in seen:
        assert labels.bincount().tolist() == [2, 2, 2]
        rows = {tuple(row) for row in images.flatten(1).tolist()}
        assert len(rows) == 6
        assert rows <= real
    assert not torch.equal(seen[0][1][0], seen[1][1][0])
    assert score.runs == evaluation(repeats=3).of_random(DATA, 2, preprocess="normalize").runs


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (
            {"ipc": None, "bytes": 50, "pictures": 4, "parameterization": "frequency-4"},
            "frequency-4 in 50 bytes a class",
        ),
        ({"parameterization": "frequency-4", "bits": 4}, "frequency-4 of 4 bits"),
    ],
)
def test_random_images_get_the_form_of_the_set_beside_them(settings, told, monkeypatch):
    """A transform that is not ours tells: no high frequencies, and the others are multiples of the set's steps."""
    data = toy_dataset((12, 12, 12), shape=(1, 8, 8))
    tiny = go(data=data, method="random", **settings)
    seen = []
    monkeypatch.setattr(module, "train", lambda _networks, images, *_, **__: seen.extend(images))
    score = evaluation(repeats=1).of_random_like(tiny, data)
    assert (score.subject, score.form, score.images) == ("random", told, len(tiny))
    images, labels = seen[0].batch(torch.arange(len(seen[0])))
    assert torch.equal(labels, tiny.labels)
    cosines = dctn(images[:, 0].double().numpy(), axes=(1, 2), norm="ortho")
    corner = np.zeros((8, 8), bool)
    corner[:4, :4] = True
    assert np.abs(cosines[:, ~corner]).max() < 1e-5
    order = np.argsort([row + column for row in range(4) for column in range(4)], kind="stable")
    steps = np.broadcast_to(tiny.parameterization.steps["coefficients"].double().numpy(), 16)
    counts = cosines[:, corner][:, order] / steps
    assert np.abs(counts - counts.round()).max() < 1e-3
    assert np.abs(counts).max() > 3
    assert evaluation(repeats=1).of_random_like(distilled(), DATA).form is None


def test_the_whole_set_is_scored():
    score = evaluation(repeats=1).of_whole(DATA, "normalize")
    assert score.mean > 90
    assert (score.subject, score.images, score.ipc) == ("whole", 36, None)


def test_whitened_images_can_be_trained_on():
    assert evaluation(repeats=1).of_random(DATA, 12, "zca").preprocess == "zca"


@pytest.mark.parametrize(
    ("data", "kind", "told"),
    [
        (toy_dataset(shape=(3, 16, 16)), ShapeError, r"are \(3, 8, 8\) and those of toy \(3, 16, 16\)"),
        (toy_dataset(shape=(1, 8, 8)), ShapeError, "evaluate on the data set it was distilled from"),
        (toy_dataset((9, 9)), ConfigError, "has classes class 0, class 1, class 2"),
        (toy_dataset(names=("cat", "dog", "cow")), ConfigError, "and toy has cat, dog, cow"),
    ],
)
def test_sets_that_do_not_belong_together_are_refused(data, kind, told):
    with pytest.raises(kind, match=told):
        evaluation().of_distilled(distilled(), data)


@pytest.mark.parametrize(("ipc", "told"), [(0, "`ipc` must be at least 1, got 0"), (13, "ipc 13 is more than the")])
def test_impossible_subsets_are_refused(ipc, told):
    with pytest.raises(ConfigError, match=told):
        evaluation().of_random(DATA, ipc, "normalize")


def test_wrong_names_and_numbers_are_refused():
    with pytest.raises(ConfigError, match="`repeats` must be at least 1, got 0"):
        evaluation(repeats=0)
    with pytest.raises(UnknownNameError, match="unknown architecture 'resnt'"):
        evaluation(arch="resnt").of_distilled(distilled(), DATA)
    with pytest.raises(UnknownNameError, match="unknown protocol 'dn'"):
        evaluate(distilled(), DATA, protocol="dn")
    for name in ("depth", "width"):
        with pytest.raises(ConfigError, match=f"the {name} of a network must be at least 1, got 0"):
            NetworkShape(**{name: 0})


def test_the_python_call_scores_and_remembers():
    tiny = distilled()
    score = evaluate(tiny, DATA, repeats=1, protocol=QUICK, shape=SMALL, seed=5, device="cpu")
    assert score.runs == evaluation(repeats=1, seed=5).of_distilled(tiny, DATA).runs
    assert tiny.scores == [score]


def test_the_python_call_at_the_same_compute(capsys):
    tiny = replace(distilled(4), settings={"method": "atom", "ipc": 1})  # four pictures of a stored image
    asked = {"repeats": 1, "protocol": QUICK, "shape": SMALL, "device": "cpu"}
    score = evaluate(tiny, DATA, **asked, same_compute=True)
    assert (score.protocol.name, score.protocol.epochs) == ("quick(same-compute,epochs=7)", 7)
    shorter = evaluation(repeats=1, protocol=QUICK.model_copy(update={"epochs": 7}))
    assert score.runs == shorter.of_distilled(tiny, DATA).runs
    capsys.readouterr()
    assert evaluate(distilled(), DATA, **asked, same_compute=True).protocol == QUICK
    assert "one picture per stored image" in capsys.readouterr().err


def test_networks_together_take_the_digits_as_they_lie(monkeypatch):
    """Their one channel has a stride that no plain layout has, which vmap's group norm refuses."""
    digits = load_dataset("digits")
    assert digits.test.images.stride() != digits.test.images.clone(memory_format=torch.contiguous_format).stride()
    runs = []
    for count in (1, 2):  # as on a GPU
        stacked = TrainingExecution(torch.device("cpu"), torch.float32, compiled=False, at_once=count)
        monkeypatch.setattr(Evaluation, "_plan", lambda *_, plan=stacked: plan)
        runs.append(evaluation().of_random(digits, 2, "normalize").runs)
    assert runs[0] == pytest.approx(runs[1], abs=1)


def test_networks_of_one_group_size_are_built_once(monkeypatch):
    built = []
    build = module.networks_for
    monkeypatch.setattr(module, "networks_for", lambda *args: built.append(args[-1]) or build(*args))
    evaluation(repeats=3).of_distilled(distilled(), DATA)
    assert built == [1]


@pytest.mark.slow
def test_worker_processes_find_what_this_one_does(monkeypatch, capsys):
    """With the same number of threads to the last bit, on images that are shared and on each network's own."""
    monkeypatch.setattr(training_execution, "_WORKERS_FROM", 0)
    quick = QUICK.model_copy(update={"epochs": 5})
    alone, spread = (
        evaluation(repeats=3, protocol=quick, ranks=Ranks(cores=cores), show_progress=True) for cores in (1, 2)
    )
    built = []
    monkeypatch.setattr(module, "networks_for", lambda *args: built.append(args[-1]) or networks_for(*args))
    runs = [each.of_random(DATA, 1, "normalize").runs for each in (alone, spread)]
    assert built == [1]  # by the first alone
    assert runs[0] == runs[1]
    assert len(set(runs[0])) > 1
    assert spread.of_distilled(distilled(1), DATA).runs == alone.of_distilled(distilled(1), DATA).runs
    diverging = replace(spread, protocol=QUICK.model_copy(update={"lr": 1e30}))
    with pytest.raises(NonFiniteError, match=r"networks? [12].* diverged in epoch"):
        diverging.of_distilled(distilled(1), DATA)
    assert "Traceback" not in capsys.readouterr().err


def several(**changes) -> list[Evaluation]:
    """Evaluations of one network and of two of another shape, as a command with several architectures has them."""
    shapes = (SMALL, NetworkShape(depth=1, width=4))
    return [evaluation(shape=shape, repeats=repeats, **changes) for repeats, shape in enumerate(shapes, start=1)]


def of_all(evaluations: list[Evaluation]) -> dict[int, Score]:
    return dict(scores_of([each.begin_random(DATA, 1, "normalize") for each in evaluations]))


def test_evaluations_together_find_what_each_does_alone(monkeypatch):
    shown, released = [], []
    for kind, name, seen in ((trainings.Progress, "advance", shown), (module.TrainAndTest, "release", released)):
        plain = getattr(kind, name)
        watched = lambda one, *args, p=plain, s=seen, **told: s.append(told or one) or p(one, *args, **told)  # noqa: E731
        monkeypatch.setattr(kind, name, watched)
    alone = [each.of_random(DATA, 1, "normalize") for each in several()]
    assert not released
    both = of_all(several())
    assert [both[number].runs for number in (0, 1)] == [score.runs for score in alone]
    assert [both[number].shape for number in (0, 1)] == [score.shape for score in alone]
    assert all(score.seconds > 0 for score in both.values())
    networks = dict.fromkeys(told["network"] for told in shown)
    assert list(networks)[-3:] == ["convnet 1/1", "convnet 1/2", "convnet 2/2"]
    assert shown[-1]["last"] == f"{both[1].runs[1]:.1f} %"
    (first,) = set(released)  # whose turn is over
    assert (first.network.shape.width, first._built) == (8, {})


def test_seconds_are_those_in_which_a_network_was_training(monkeypatch):
    """Of two at once, those of one; a pause between two does not count; of several processes, those of the longest."""
    clock = iter([10.0, 14.0, 20.0, 21.0])
    monkeypatch.setattr(trainings, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    found = trainings._Found()
    for change in (found.begin, found.begin, found.end, found.end, found.begin, found.end):
        change()
    assert found.seconds == 5
    of_ranks = [
        trainings.Runs({number: 50.0}, seconds, torch.float32) for number, seconds in enumerate((3.0, 7.0, 5.0))
    ]
    ranks = SimpleNamespace(run_on_all=lambda _: [(0, of_ranks[0])], gather=lambda _: [[runs] for runs in of_ranks])
    job = SimpleNamespace(execution=SimpleNamespace(dtype=torch.float32))
    together = trainings._shared(SimpleNamespace(ranks=ranks, job=job))
    assert (together.in_order, together.seconds) == ((50.0, 50.0, 50.0), 7.0)


def test_scores_before_a_failure_are_known(monkeypatch):
    first, second = several()
    diverging = replace(second, protocol=QUICK.model_copy(update={"lr": 1e30}))
    known = scores_of([each.begin_random(DATA, 1, "normalize") for each in (first, diverging)])
    number, score = next(known)
    assert (number, score.runs) == (0, first.of_random(DATA, 1, "normalize").runs)
    with pytest.raises(NonFiniteError, match=r"convnet: network 1 diverged .*; a smaller learning rate may help"):
        next(known)


def test_images_are_moved_again_after_they_are_released():
    images, labels = torch.rand(4, 3, 8, 8), torch.arange(4)
    stored = StoredTensors(images, labels, torch.device("cpu"))
    for _ in range(2):
        batch = stored.batch(torch.tensor([2, 0]))
        assert torch.equal(batch[0], images[[2, 0]])
        assert batch[1].tolist() == [2, 0]
        stored.release()


@pytest.mark.slow
def test_worker_processes_take_the_networks_of_all_evaluations(monkeypatch):
    monkeypatch.setattr(training_execution, "_WORKERS_FROM", 0)
    built = []
    monkeypatch.setattr(module, "networks_for", lambda *args: built.append(args[-1]) or networks_for(*args))
    alone = of_all(several())
    assert len(built) == 2
    spread = of_all(several(ranks=Ranks(cores=2)))
    assert {number: score.runs for number, score in spread.items()} == {n: score.runs for n, score in alone.items()}
    assert len(built) == 2  # the others in workers


def test_precision_and_progress_are_arguments_in_python(capsys):
    options = ExecutionOptions(precision="bfloat16", compile="off")
    asked = {"repeats": 1, "protocol": QUICK, "shape": SMALL, "device": "cpu"}
    score = evaluate(distilled(), DATA, **asked, execution=options, show_progress=False)
    assert score.precision == "bfloat16"
    assert capsys.readouterr().err == ""


def test_sets_and_images_are_compared_without_an_error():
    first, second = distilled(), distilled()
    assert first != second
    assert first == first
    assert DATA.train != DATA.test
