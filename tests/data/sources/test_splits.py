from __future__ import annotations

import numpy as np
import pytest

from atom_distill.base.errors import ConfigError, DataError
from atom_distill.data.cache.raw import LoadOptions
from atom_distill.data.sources.splits import choose_splits, split_of, stratified_split


@pytest.mark.parametrize(("fraction", "want"), [(0.01, [1, 1]), (0.3, [6, 1]), (0.99, [19, 1])])
def test_each_class_keeps_an_image_on_either_side(fraction, want):
    labels = np.array([0] * 20 + [1] * 2)
    train, test = stratified_split(labels, fraction, 0)
    assert np.bincount(labels[test]).tolist() == want
    assert sorted([*train, *test]) == list(range(22))
    assert train.tolist() == sorted(train)
    assert test.tolist() == sorted(test)


def test_the_draw_is_fixed_for_all_time():
    labels = np.array([0] * 20 + [1] * 2)
    assert stratified_split(labels, 0.2, 0)[1].tolist() == [4, 10, 16, 18, 21]


def test_the_only_image_of_a_class_is_for_training():
    train, test = stratified_split(np.array([0, 1, 0]), 0.5, 0)
    assert sorted([*train, *test]) == [0, 1, 2]
    assert 1 in train
    with pytest.raises(DataError, match="no class has 2 images, and `test_fraction` needs"):
        stratified_split(np.array([0, 1]), 0.5, 0)


@pytest.mark.parametrize(
    ("role", "names"),
    {
        "train": "train Train TRAINING training_set TrainImages train2017 data-train-00000-of-00001 trainSplit",
        "test": "test Test testing TestImages cifar10-test x_test.0",
        "val": "val valid Validation val2017 my.validation",
        "dev": "dev Development",
        "eval": "eval evaluation_data",
        None: "trainstation latest contest train_val retrain evaluate value deviation testimony",
    }.items(),
)
def test_whole_words_name_a_split(role, names):
    for name in names.split():
        assert split_of(name) == role, name


def _choose(names: str, **options: object) -> tuple[str, str | None]:
    return tuple(choose_splits(names.split(), "pets", LoadOptions(**options)))


def test_the_test_split_is_the_first_of_the_usual_ones(capsys):
    assert _choose("Train dev val Test") == ("Train", "Test")
    assert "pets: not used: dev, val" in capsys.readouterr().err
    assert _choose("training dev val") == ("training", "val")
    assert _choose("train eval dev") == ("train", "dev")
    assert _choose("train train_extra test_small test") == ("train", "test")  # spelled plainly


def test_the_test_split_can_be_named():
    assert _choose("train test other", test_split="other") == ("train", "other")
    assert _choose("train Dev test", test_split="dev") == ("train", "Dev")
    with pytest.raises(DataError, match="no labeled split 'train' beside the training split; there is: test"):
        _choose("train test", test_split="train")


def test_what_cannot_be_decided_is_asked():
    with pytest.raises(DataError, match="no train split, only a, test"):
        _choose("a test")
    with pytest.raises(DataError, match=r"2 test splits .*`test_split=test_a`"):
        _choose("train test_a test_b")
    with pytest.raises(DataError, match=r"2 train splits .*rename"):
        _choose("train_a train_b test")
    with pytest.raises(
        DataError, match=r"no labeled test split .*one of holdout is the test split, pass its name as `test_split`"
    ):
        _choose("train holdout")
    with pytest.raises(ConfigError, match="test split of its own"):
        _choose("train test", test_fraction=0.5)
    assert _choose("train holdout", test_fraction=0.5) == ("train", None)
