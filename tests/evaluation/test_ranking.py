"""Rankings of a small set: which networks are trained, which are not, and what is computed from them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.artifact.scores import Score
from atom_distill.base.errors import ArtifactError, ConfigError
from atom_distill.base.network_shape import NetworkShape
from atom_distill.config.training_protocol import TrainingProtocol
from atom_distill.data.fit_preprocessing import fit_preprocessing
from atom_distill.data.subset import random_subset
from atom_distill.evaluation import train_and_test as module
from atom_distill.evaluation.evaluate import Evaluation
from atom_distill.evaluation.ranking import (
    RANKINGS_FILE,
    Ranking,
    RankingPlan,
    Reference,
    References,
    add_ranking,
    load_rankings,
)
from atom_distill.training.training_execution import ExecutionOptions
from distillation.toys import go, toy_dataset

QUICK = TrainingProtocol(name="quick", epochs=1, batch_size=16, augment="flip")
DATA = toy_dataset((6, 6, 6), test_per_class=5)


def plan(*, whole: float | None = None, **changes) -> RankingPlan:
    shared = {"shape": NetworkShape(depth=1, width=4), "repeats": 2, "protocol": QUICK, "show_progress": False}
    augmented = Evaluation(**{**shared, **changes})
    plain = replace(augmented, protocol=augmented.protocol.changed(augment="none"))
    return RankingPlan(augmented, plain, augmented if whole is None else whole)


@pytest.fixture
def tiny() -> DistilledDataset:
    preprocessing = fit_preprocessing("normalize", DATA)
    chosen = random_subset(DATA, 2, seed=0)
    return DistilledDataset.from_images(
        images=preprocessing.apply(DATA.train.images[chosen]),
        labels=DATA.train.labels[chosen],
        class_names=DATA.class_names,
        preprocessing=preprocessing,
        settings={"method": "atom"},
        dataset={"fingerprint": DATA.fingerprint},
        steps=7,
    )


@pytest.fixture
def trained(monkeypatch) -> list[tuple[int, str]]:
    """What networks were trained on: (images, augmentation), one entry for each network."""
    seen = []
    train = module.train

    def watched(networks, images, protocol, **rest):
        seen.extend((len(of_one), protocol.augment) for of_one in images)
        train(networks, images, protocol, **rest)

    monkeypatch.setattr(module, "train", watched)
    return seen


def ranking(**references: tuple[float, ...]) -> Ranking:
    named = {name: Reference(runs=runs, protocol="dm") for name, runs in references.items()}
    return Ranking(
        dataset="toy", preprocess="normalize", which="last", steps=1, ipc=1, arch="convnet", shape={}, seed=0,
        references=References(**named),
    )  # fmt: skip


def test_scores_are_computed_network_by_network():
    """Two rounds with alpha -1 and 1, whose LRS are 0 and 100: that of the mean accuracies would be 26.9."""
    both = ranking(
        distilled=(0.0, 100.0),
        random=(100.0, 0.0),
        whole=(100.0, 0.0),
        distilled_plain=(100.0, 0.0),
        random_plain=(0.0, 100.0),
    )
    assert (both.hlr.runs, both.hlr.mean) == ((100, -100), 0)
    assert (both.ior.runs, both.ior.mean) == ((-100, 100), 0)
    assert both.lrs.runs == pytest.approx((0, 100))
    assert both.lrs.mean == pytest.approx(50)
    assert both.lrs.std == pytest.approx(70.7106781)
    assert both.ars.runs == pytest.approx((26.8941421, 26.8941421))


def test_a_given_number_stands_for_every_network():
    given = ranking(
        distilled=(40.0, 60.0), random=(0.0, 0.0), distilled_plain=(0.0, 0.0), random_plain=(0.0, 0.0), whole=(90.0,)
    )
    number = given.references.model_copy(update={"whole": Reference(runs=(90.0,))})
    assert given.model_copy(update={"references": number}).hlr.runs == (50, 30)


def test_five_kinds_of_networks_are_trained_and_kept(tiny, trained):
    found = plan().rank(tiny, DATA)
    assert trained == [(6, "flip")] * 4 + [(6, "none")] * 4 + [(18, "flip")] * 2
    assert [(score.subject, score.protocol.augment) for score in tiny.scores] == [
        ("distilled", "flip"),
        ("random", "flip"),
        ("distilled", "none"),
        ("random", "none"),
        ("whole", "flip"),
    ]
    of = found.references
    kept = (of.distilled, of.random, of.distilled_plain, of.random_plain, of.whole)
    assert [reference.runs for reference in kept] == [score.runs for score in tiny.scores]
    assert [reference.protocol for reference in kept] == ["quick"] * 2 + ["quick(augment=none)"] * 2 + ["quick"]
    assert (found.dataset, found.which, found.steps, found.ipc, found.seed) == ("toy", "last", 7, 2, 0)


def test_a_given_accuracy_trains_nothing_on_the_whole_set(tiny, trained):
    found = plan(whole=95).rank(tiny, DATA)
    assert len(trained) == 8
    assert (found.references.whole.runs, found.references.whole.protocol) == ((95,), None)


def test_a_set_with_soft_labels_is_ranked_by_its_images_with_hard_ones(tiny, trained, capsys):
    smoothed = torch.full((6, 3), 0.2).scatter(1, tiny.labels[:, None], 0.6)
    soft = replace(tiny, soft_labels=smoothed)
    soft.add_score(plan().augmented.of_distilled(soft, DATA))
    assert soft.scores[0].labels == "soft"
    want = plan().rank(tiny, DATA)
    assert plan().rank(soft, DATA) == want  # the soft score is not taken for one of these
    assert [score.labels for score in soft.scores] == ["soft", *["hard"] * 5]
    assert soft.soft_labels is smoothed
    assert "the set has soft labels" in capsys.readouterr().err


def test_random_images_of_another_form_are_not_taken_for_those_of_the_set(trained):
    tiny = go(data=DATA, method="random", parameterization="tiles-2", ipc=1)
    as_they_are = plan().augmented.of_random(DATA, tiny.per_class, "normalize")
    tiny.add_score(as_they_are)
    trained.clear()
    found = plan(whole=95).rank(tiny, DATA)
    assert found.form == "tiles-2"
    assert trained == [(12, "flip")] * 4 + [(12, "none")] * 4
    random = [score for score in tiny.scores if score.subject == "random"]
    assert [score.form for score in random] == [None, "tiles-2", "tiles-2"]
    trained.clear()
    assert plan(whole=95).rank(tiny, DATA) == found
    assert trained == []


def test_what_is_scored_already_is_not_trained_again(tiny, trained, capsys):
    first = plan().rank(tiny, DATA)
    trained.clear()
    capsys.readouterr()
    assert plan().rank(tiny, DATA) == first
    assert trained == []
    assert len(tiny.scores) == 5
    assert capsys.readouterr().err.count("scored before, not trained again") == 5


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"repeats": 3},
        {"protocol": QUICK.changed(lr=0.02)},
        {"shape": NetworkShape(depth=1, width=5)},
        {"execution": ExecutionOptions(precision="bfloat16")},
    ],
)
def test_any_difference_is_trained(tiny, trained, changes):
    plan().rank(tiny, DATA)
    trained.clear()
    plan(**changes).rank(tiny, DATA)
    assert len(trained) == 5 * changes.get("repeats", 2)


@pytest.mark.parametrize(
    ("changes", "networks"),
    [
        ({"steps": 8}, 4),  # the distilled set is another; random images and the whole set are the same
        ({"which": "best"}, 4),
        ({"dataset": {"fingerprint": "another"}}, 10),
    ],
)
def test_scores_of_another_set_do_not_count(tiny, trained, changes, networks):
    plan().rank(tiny, DATA)
    trained.clear()
    plan().rank(replace(tiny, **changes), DATA)
    assert len(trained) == networks


def test_the_first_of_more_networks_are_not_trained_again(tiny, trained):
    """Nor found twice among the scores: those of fewer networks say nothing new."""
    more = plan(repeats=3).rank(tiny, DATA)
    trained.clear()
    fewer, scores = plan().rank(tiny, DATA), list(tiny.scores)
    assert not trained
    assert fewer.references.distilled.runs == more.references.distilled.runs[:2]
    assert len(scores) == 5
    assert tiny.add_score(scores[0].of_first(2)) == scores


@pytest.mark.parametrize(("name", "other"), [("preprocess", "zca"), ("images", 5), ("dataset", "other")])
def test_scores_of_another_transform_or_number_of_images_do_not_count(tiny, trained, name, other):
    plan().rank(tiny, DATA)
    tiny.scores = [score.model_copy(update={name: other}) for score in tiny.scores]
    trained.clear()
    plan().rank(tiny, DATA)
    assert len(trained) == 10


def test_the_file_keeps_each_ranking_once(tiny, tmp_path):
    assert load_rankings(tmp_path) == []
    first, second = plan(whole=95).rank(tiny, DATA), plan(whole=90).rank(tiny, DATA)
    for one in (first, second, first):
        add_ranking(tmp_path, one)
    assert load_rankings(tmp_path) == [second, first]
    (tmp_path / RANKINGS_FILE).write_text("[{")
    with pytest.raises(ArtifactError, match=r"ddranking.json is damaged"):
        load_rankings(tmp_path)


def test_a_plan_that_cannot_be_ranked_is_refused():
    with pytest.raises(ConfigError, match="protocol quick has none: leave out `augment` none"):
        plan(protocol=QUICK.model_copy(update={"augment": "none"}))
    always = QUICK.model_copy(update={"augment": "none", "augment_always": "flip"})
    for protocol in (always, QUICK.model_copy(update={"augment": "none", "cutmix": 0.5})):
        assert plan(protocol=protocol).augmented.protocol == protocol
    for accuracy in (-1, 0.98, 100.5, float("nan")):
        with pytest.raises(ConfigError, match=f"must be a percentage, above 1 and at most 100, got {accuracy}"):
            plan(whole=accuracy)
    for accuracy in (1.5, 100):
        assert plan(whole=accuracy).whole == accuracy


def test_a_stored_score_keeps_its_mean_and_deviation(tiny):
    plan(whole=95).rank(tiny, DATA)
    again = Score.model_validate_json(tiny.scores[0].model_dump_json())
    assert (again, again.mean, again.std) == (tiny.scores[0], tiny.scores[0].mean, tiny.scores[0].std)
