"""Protocols, fewer epochs at the same compute, and soft labels in `atom evaluate`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.artifact.scores import load_scores
from atom_distill.cli.main import main
from atom_distill.evaluation.evaluate import Evaluation

EVALUATE = "--repeats 1 --width 8 --device cpu"
SMALL = "--ipc 1 --width 8 --device cpu --parameterization tiles-2"


@pytest.fixture
def tiles(tmp_path: Path) -> Path:
    """One stored image for each digit, of four pictures."""
    assert main(f"distill digits --method random {SMALL} --out {tmp_path / 'tiles'}".split()) == 0
    return tmp_path / "tiles"


@pytest.fixture
def soft(run_folder: Path, tmp_path: Path) -> Path:
    """A set with soft labels."""
    plain = DistilledDataset.load(run_folder)
    labels = 0.91 * plain.images.new_ones(10, 10).diag().diag() + 0.009
    replace(plain, soft_labels=labels, folder=None, scores=[]).save(tmp_path / "soft")
    return tmp_path / "soft"


def test_the_same_compute_divides_the_epochs_by_the_pictures_of_a_stored_image(atom, tiles):
    facts = atom(f"evaluate {EVALUATE} --epochs 9 --same-compute --json", tiles).json
    assert facts["protocol"] == "dm(epochs=9)(same-compute,epochs=2)"
    assert (facts["protocol_settings"]["epochs"], facts["images"]) == (2, 40)
    shorter = atom(f"evaluate {EVALUATE} --epochs 2 --json", tiles).json
    assert shorter["runs"] == facts["runs"]
    assert [score.protocol.name for score in load_scores(tiles)] == [facts["protocol"], "dm(epochs=2)"]


def test_one_picture_a_stored_image_leaves_nothing_to_divide(atom, run_folder):
    answer = atom(f"evaluate {EVALUATE} --epochs 2 --same-compute --json", run_folder)
    assert "one picture per stored image" in answer.err
    assert answer.json["protocol"] == "dm(epochs=2)"


@pytest.mark.parametrize("protocol", ["idc", "quick"])
def test_protocols_by_name(atom, run_folder, protocol):
    facts = atom(f"evaluate {EVALUATE} --protocol {protocol} --epochs 2 --json", run_folder).json
    assert facts["protocol"] == f"{protocol}(epochs=2)"
    by_text = atom(f"evaluate {EVALUATE} --protocol {protocol}(epochs=2) --json", run_folder).json
    assert (by_text["protocol"], by_text["runs"]) == (facts["protocol"], facts["runs"])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("--protocol dm(epochs=2 ", "a protocol is a name, perhaps with changes in parentheses"),
        ("--protocol dm(epochs=300)(same-compute,epochs=21)", "for the same compute, give --same-compute"),
        ("--protocol dm(name=x)", "the name of a protocol follows from its changes"),
        ("--protocol dm(epochs=2) --epochs 3", "--epochs and dm(epochs=2) both say it: give one"),
    ],
)
def test_texts_that_name_no_protocol_are_refused(atom, run_folder, options, told):
    answer = atom(f"evaluate {options}", run_folder)
    assert answer.code == 2
    assert told in answer.err


def test_changes_have_one_name_however_they_are_given(atom, run_folder):
    ways = ("--protocol dm(lr=0.5,epochs=2)", "--protocol dm(epochs=2) --lr 0.5", "--epochs 2 --lr 0.5")
    names = [atom(f"evaluate {EVALUATE} {way} --json", run_folder).json["protocol"] for way in ways]
    assert names == ["dm(epochs=2,lr=0.5)"] * 3


def test_transformers_are_trained_by_their_own_protocol(atom, run_folder):
    options = "--protocol vit --arch vit --depth 1 --width 64 --epochs 2 --repeats 1 --device cpu --json"
    facts = atom(f"evaluate {options}", run_folder).json
    assert (facts["protocol"], facts["arch"]) == ("vit(epochs=2)", "vit")
    settings = facts["protocol_settings"]
    assert (settings["optimizer"], settings["schedule"], settings["warmup"]) == ("adamw", "cosine", 0.1)


def test_a_set_with_soft_labels_is_scored_with_either(atom, soft):
    answers = [atom(f"evaluate {EVALUATE} --epochs 2 {option} --json", soft) for option in ("", "--hard-labels")]
    assert [answer.json["labels"] for answer in answers] == ["soft", "hard"]
    card = (soft / "README.md").read_text()
    assert "| images | accuracy | accuracy, soft labels | networks |" in card
    accuracies = [f"{answer.json['mean']:.1f}" for answer in answers]
    assert f"| 10 | - | {accuracies[0]} | 1 |" in card
    assert f"| 10 | {accuracies[1]} | - | 1 |" in card
    assert "soft_labels [N, K] float32" in card  # the card is that of the set, which has them
    assert "soft labels" in atom(f"evaluate {EVALUATE} --epochs 1", soft).out
    assert "soft labels" not in atom(f"evaluate {EVALUATE} --epochs 1 --hard-labels", soft).out


@pytest.mark.parametrize("option", ["--same-compute", "--hard-labels", "--more"])
@pytest.mark.parametrize("elsewhere", ["--random", "--whole", "--ddranking"])
def test_options_of_a_distilled_set_are_refused_elsewhere(refused, run_folder, option, elsewhere):
    assert option in refused(f"evaluate {option} {elsewhere}", run_folder)


def test_ranking_without_augmentation_is_without_cutmix(atom, run_folder, monkeypatch):
    seen = []
    plain = Evaluation.of_distilled
    monkeypatch.setattr(
        Evaluation, "of_distilled", lambda self, *sets: (seen.append(self.protocol), plain(self, *sets))[1]
    )
    answer = atom(f"evaluate --ddranking --whole-accuracy 90 --protocol idc --epochs 1 {EVALUATE}", run_folder)
    assert answer.code == 0, answer.err
    augmented, bare = seen
    assert (augmented.cutmix, len(augmented.augmentations())) == (0.5, 3)
    assert (bare.cutmix, bare.augmentations()) == (0, [])
    assert bare.name == "idc(epochs=1,augment=none,augment_always=none,cutmix=0.0)"


def test_more_networks_continue_a_score(atom, run_folder):
    line = f"evaluate {EVALUATE} --epochs 2 --json"
    one = atom(line, run_folder).json
    answer = atom(f"{line} --repeats 3 --more", run_folder)
    assert "1 convnet network was scored before, of 3 asked for: kept" in answer.err
    assert answer.json["runs"][:1] == one["runs"]
    assert len(load_scores(run_folder)) == 1  # the score of one network is part of the new one
    assert "3 convnet networks were scored before, of 2 asked for" in atom(f"{line} --repeats 2 --more", run_folder).err
    assert atom(f"{line} --repeats 3", run_folder).json["runs"] == answer.json["runs"]


def test_more_networks_of_one_architecture_beside_a_finished_one(atom, run_folder):
    line = f"evaluate {EVALUATE.replace('--width 8', '')} --epochs 1 --json"
    one = atom(f"{line} --arch convnet --repeats 2", run_folder).json
    both = atom(f"{line} --arch vit convnet --repeats 2 --more", run_folder).json["scores"]
    assert [score["arch"] for score in both] == ["vit", "convnet"]
    assert both[1]["runs"] == one["runs"]
    assert len(both[0]["runs"]) == 2


def test_scores_under_other_settings_are_not_continued(atom, run_folder):
    first = atom(f"evaluate {EVALUATE} --epochs 2 --json", run_folder).json
    for option in ("--seed 1", "--epochs 1", "--width 4", "--lr 0.02"):
        answer = atom(f"evaluate {EVALUATE} --epochs 2 --repeats 2 --json --more {option}", run_folder)
        assert "scored before" not in answer.err
        assert len(answer.json["runs"]) == 2
    assert load_scores(run_folder)[0].runs == tuple(first["runs"])


def test_the_first_images_have_a_score_of_their_own_to_continue(atom, tmp_path):
    atom("distill digits --method random --ipc 2 --width 8 --device cpu --out", tmp_path / "two")
    line = f"evaluate {EVALUATE} --epochs 2 --json"
    atom(line, tmp_path / "two")
    part = atom(f"{line} --ipc 1", tmp_path / "two").json
    answer = atom(f"{line} --ipc 1 --repeats 2 --more", tmp_path / "two")
    assert answer.json["runs"][:1] == part["runs"]
    assert "1 convnet network was scored before" in answer.err
