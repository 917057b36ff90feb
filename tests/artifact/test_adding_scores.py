"""Adding scores to a run folder from several places at once."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from artifact.scores_made_up import score
from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.artifact.folder import sole_use
from atom_distill.artifact.scores import load_scores
from atom_distill.base.files import atomic_path
from atom_distill.data.fit_preprocessing import fit_preprocessing
from distillation.toys import toy_dataset


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A saved set."""
    made = DistilledDataset.from_images(
        images=torch.zeros(2, 3, 8, 8),
        labels=torch.tensor([0, 1]),
        class_names=("cat", "dog"),
        preprocessing=fit_preprocessing("normalize", toy_dataset((9, 9), shape=(3, 8, 8), names=("cat", "dog"))),
        settings={"method": "atom", "ipc": 1, "image_lr": 1.0, "depth": None},
        dataset={"name": "toy", "fingerprint": "abc", "train_size": 18},
        record={"atom_distill": "0.1.0", "torch": "2"},
        history=[{"step": 1, "loss": 2.5}],
        steps=1,
    )
    made.save(tmp_path / "saved")
    return tmp_path / "saved"


def seeds_in(folder: Path) -> set[int]:
    return {found.seed for found in load_scores(folder)}


def test_scores_added_at_the_same_time_are_all_kept(folder):
    seeds = range(16)
    sets = [DistilledDataset.load(folder) for _ in seeds]
    with ThreadPoolExecutor(len(seeds)) as pool:
        list(pool.map(lambda loaded, seed: loaded.add_score(score(seed=seed)), sets, seeds))
    assert seeds_in(folder) == set(seeds)
    assert not list(folder.glob(".*"))  # the lock was there meanwhile only


def test_a_file_that_is_being_written_stays_when_a_run_begins(folder):
    with atomic_path(folder / "scores.json") as begun, sole_use(folder, resume=True):
        assert begun.exists()
    assert not begun.exists()
    assert (folder / "scores.json").exists()
    left = folder / ".scores.json.abc.part"
    left.write_text("half")
    with sole_use(folder, resume=True):
        assert not left.exists()


def test_a_score_is_added_while_a_run_holds_the_folder(folder):
    with sole_use(folder, resume=True):
        DistilledDataset.load(folder).add_score(score(seed=7))
    assert seeds_in(folder) == {7}
