"""Pictures of a run on its way: which are kept, what they show, and that they do not depend on where it was stopped."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.artifact.pictures import fit_contrast
from atom_distill.artifact.snapshots import SNAPSHOTS_FILE, Snapshots, load_snapshots, save_snapshots
from atom_distill.base.errors import ArtifactError, ConfigError, InterruptedRunError
from atom_distill.distillation.snapshot_recorder import stride
from distillation.toys import go


def snapshots(folder: Path) -> bytes:
    return (folder / SNAPSHOTS_FILE).read_bytes()


@pytest.mark.parametrize("most", [2, 3, 7, 10])
@pytest.mark.parametrize("steps", [1, 2, 5, 8, 9, 10, 64, 100, 150])
def test_few_evenly_spaced_steps_that_a_longer_run_shares(most, steps):
    kept = [*range(0, steps, stride(steps, most)), steps]
    assert len(kept) <= most
    assert steps < most or len(kept) > most / 2  # and not too few
    shorter = [done for done in range(steps) if done % stride(done, most) == 0]
    assert set(kept[:-1]) <= set(shorter)  # each was kept when the run was there


def test_the_first_and_the_last_show_the_initial_images_and_the_result(tmp_path):
    made = go(tmp_path / "run", ipc=2, steps=20, snapshots=6)
    found = load_snapshots(tmp_path / "run")
    assert found.steps == (0, 4, 8, 12, 16, 20)
    assert found.pixels.shape == (6, 6, 3, 8, 8)
    assert torch.equal(found.pixels[-1], fit_contrast(made.preprocessing.invert(made.images)))
    first = go(method="random", ipc=2)  # the initial images are these real ones
    assert torch.equal(found.pixels[0], first.pixels())
    twelve = go(ipc=2, steps=12)
    assert torch.equal(found.pixels[3], fit_contrast(twelve.preprocessing.invert(twelve.images)))


def test_a_run_whose_result_is_an_average_pictures_that(tmp_path):
    made = go(tmp_path / "run", image_average=0.8)
    assert torch.equal(
        load_snapshots(tmp_path / "run").pixels[-1], fit_contrast(made.preprocessing.invert(made.images))
    )


@pytest.mark.parametrize("stop", [2, 3, 6, 7])
def test_a_stopped_run_ends_with_the_file_of_one_that_was_not(tmp_path, stop_at, stop):
    go(tmp_path / "whole", snapshots=4)
    stop_at(stop)
    with pytest.raises(InterruptedRunError):
        go(tmp_path / "cut", snapshots=4)
    stop_at(0)
    go(tmp_path / "cut", snapshots=4, resume=True)
    assert snapshots(tmp_path / "cut") == snapshots(tmp_path / "whole")


@pytest.mark.parametrize("first", [1, 5, 8])
def test_more_steps_end_with_the_file_of_a_longer_run(tmp_path, first):
    go(tmp_path / "long", steps=13, snapshots=5)
    go(tmp_path / "run", steps=first, snapshots=5)
    go(tmp_path / "run", steps=13, snapshots=5, resume=True)
    assert snapshots(tmp_path / "run") == snapshots(tmp_path / "long")


def test_pictures_later_than_the_checkpoint_are_taken_again(tmp_path):
    go(tmp_path / "whole")
    go(tmp_path / "cut")
    newest = max(tmp_path.glob("cut/checkpoint-*"))
    newest.write_bytes(b"damaged")
    (tmp_path / "cut" / "README.md").unlink()
    go(tmp_path / "cut", resume=True)
    assert snapshots(tmp_path / "cut") == snapshots(tmp_path / "whole")


def test_damaged_pictures_stop_no_run(tmp_path, stop_at, capsys):
    whole = go(tmp_path / "whole")
    stop_at(5)
    with pytest.raises(InterruptedRunError):
        go(tmp_path / "cut")
    (tmp_path / "cut" / SNAPSHOTS_FILE).write_bytes(snapshots(tmp_path / "cut")[:-1])
    stop_at(0)
    assert torch.equal(go(tmp_path / "cut", resume=True).images, whole.images)
    assert "snapshots taken so far are lost" in capsys.readouterr().err
    assert load_snapshots(tmp_path / "cut").steps == (5, 6, 7, 8)


@pytest.mark.parametrize("settings", [{"snapshots": 0}, {"method": "random"}])
def test_none_where_none_are_wanted_or_nothing_moves(tmp_path, settings):
    go(tmp_path / "run", **settings)
    assert load_snapshots(tmp_path / "run") is None
    assert DistilledDataset.load(tmp_path / "run").steps in (0, 8)


def test_one_is_refused():
    with pytest.raises(ConfigError, match="`snapshots` must be 0, or at least 2"):
        go(snapshots=1)


def test_a_file_of_something_else_is_told(tmp_path):
    pixels = torch.zeros(2, 2, 3, 8, 8, dtype=torch.uint8)
    save_snapshots(tmp_path, Snapshots((0, 4), torch.ones(2, dtype=torch.bool), pixels))
    with pytest.raises(ArtifactError, match="its rows are not indices"):
        load_snapshots(tmp_path)
    save_snapshots(tmp_path, Snapshots((0, 4), torch.arange(2), torch.zeros(1, 2, 3, 8, 8, dtype=torch.uint8)))
    with pytest.raises(ArtifactError, match="its pixels do not fit its steps"):
        load_snapshots(tmp_path)
