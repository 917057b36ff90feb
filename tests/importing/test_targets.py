"""Labels of every kind against probabilities worked out in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.base.errors import DataError
from atom_distill.importing.import_distilled import import_distilled
from atom_distill.importing.targets import by_class, targets_of


def softmax(rows: np.ndarray) -> np.ndarray:
    powers = np.exp(rows - rows.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def test_class_numbers_of_any_type(capfd):
    for dtype in (torch.int32, torch.uint16, torch.float16, torch.float8_e4m3fn, torch.float64, torch.bool):
        found = targets_of(torch.tensor([0, 1, 1, 0], dtype=dtype), 2)
        assert found.hard.tolist() == [0, 1, 1, 0]
        assert found.soft is None
    assert targets_of(torch.tensor([[2], [0]]), 3).hard.tolist() == [2, 0]
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64])
def test_one_hot_rows_are_class_numbers(dtype):
    found = targets_of(torch.eye(3, dtype=dtype)[[2, 0, 1]], 3)
    assert found.hard.tolist() == [2, 0, 1]
    assert found.soft is None


def test_probabilities_stay_what_they_are(randn, near, capfd):
    wanted = softmax(randn(0, 5, 4).numpy())
    found = targets_of(torch.from_numpy(wanted).half(), 4)
    assert found.soft.dtype == torch.float32
    near(found.soft, wanted, atol=1e-3)
    near(found.soft.sum(1), np.ones(5))
    assert found.hard.tolist() == wanted.argmax(1).tolist()
    assert capfd.readouterr().err == ""


def test_logits_go_through_a_softmax(randn, near, capfd):
    logits = 5 * randn(1, 6, 3)
    found = targets_of(logits.float(), 3)
    near(found.soft, softmax(logits.numpy()))
    assert found.hard.tolist() == logits.argmax(1).tolist()
    assert "the soft labels are logits" in capfd.readouterr().err


def test_order_is_that_of_the_artifact():
    soft = torch.tensor([[0.1, 0.9], [0.7, 0.3], [0.4, 0.6], [0.8, 0.2]])
    order, found = by_class(targets_of(soft, 2), 2)
    assert order.tolist() == [1, 3, 0, 2]
    assert found.hard.tolist() == [0, 0, 1, 1]
    assert torch.equal(found.soft, soft[order])


def test_labels_that_drifted_belong_where_they_lie(capfd):
    soft = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6], [0.3, 0.7], [0.2, 0.8], [0.1, 0.9]])
    order, found = by_class(targets_of(soft, 2), 2)
    assert order.tolist() == list(range(6))
    assert found.hard.tolist() == [0, 0, 0, 1, 1, 1]
    assert torch.equal(found.soft, soft)
    assert "1 soft labels have their largest entry at another class" in capfd.readouterr().err
    with pytest.raises(DataError, match="classes have 1 to 5 images"):  # most disagree: they lie in no such order
        by_class(targets_of(soft[[3, 4, 5, 0, 4, 5]], 2), 2)


def test_soft_labels_and_a_learning_rate_come_through_the_artifact(tmp_path, write, data, images, labels, near):
    logits = torch.eye(3)[labels] * 4 + torch.arange(18.0).view(6, 3) / 10
    shuffled = torch.tensor([4, 0, 5, 2, 1, 3])
    path = write("images_best.pt", images[shuffled])
    write("labels_best.pt", logits[shuffled].requires_grad_())
    write("lr_best.pt", torch.tensor(0.02))
    import_distilled(path, data, "normalize").save(tmp_path / "run")
    tiny = DistilledDataset.load(tmp_path / "run")
    by_label = torch.argsort(labels[shuffled], stable=True)
    assert torch.equal(tiny.images, images[shuffled][by_label])
    near(tiny.soft_labels, softmax(logits[shuffled][by_label].double().numpy()))
    assert tiny.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert torch.equal(tiny.to_torch()[3][1], tiny.soft_labels[3])
    assert tiny.settings["network_lr"] == pytest.approx(0.02)
    card = (tmp_path / "run" / "README.md").read_text()
    assert "imported from images_best.pt, labels_best.pt, lr_best.pt (MTT/DATM images and labels)" in card
    assert "soft_labels [N, K] float32 (probabilities, 72 bytes) to train on" in card
    assert tiny.record["imported"]["sha256"].keys() == {"images_best.pt", "labels_best.pt", "lr_best.pt"}
    assert (tmp_path / "run" / "grid.png").exists()
    assert len(list((tmp_path / "run" / "images").glob("*/*.png"))) == 6


@pytest.mark.parametrize("total", [100.0, 2.0, 0.5])
def test_percent_are_divided_by_their_sum(randn, near, capfd, total):
    wanted = softmax(randn(0, 5, 4).numpy())
    found = targets_of(torch.from_numpy(total * wanted).float(), 4)
    near(found.soft, wanted)
    assert f"sum to {total:.4g}: they are divided by it" in capfd.readouterr().err


@pytest.mark.parametrize("rows", [[[1.0, 2.0], [4.0, 3.0]], [[3.0, 0.0], [0.0, 3.0]], [[3.0, -2.0], [0.5, 0.5]]])
def test_logits_that_are_no_shares(near, rows):
    """Of different sums, multiples of one-hot rows, and negative ones."""
    near(targets_of(torch.tensor(rows), 2).soft, softmax(np.array(rows)))


def test_soft_labels_that_contradict_the_class_numbers(write, data, images, labels, near, capfd):
    soft = torch.softmax(4 * torch.eye(3)[labels], 1)
    wrong = soft.roll(2, dims=0)
    with pytest.raises(DataError, match="6 of 6 soft labels have their largest entry at another class"):
        import_distilled(write("set.pt", {"images": images, "labels": labels, "soft_labels": wrong}), data, "normalize")
    assert "another class" not in capfd.readouterr().err
    soft[1] = soft[5]  # as a teacher errs
    path = write("set.pt", {"images": images, "labels": labels, "soft_labels": soft})
    near(import_distilled(path, data, "normalize").soft_labels, soft.double())
    assert "1 of 6 soft labels have their largest entry at another class" in capfd.readouterr().err


def test_soft_labels_in_lists(write, data, images, labels, near):
    soft = torch.softmax(4 * torch.eye(3)[labels], 1)
    for held in (soft.tolist(), list(soft)):
        path = write("set.pt", {"images": images, "labels": labels, "soft_labels": held})
        near(import_distilled(path, data, "normalize").soft_labels, soft.double())
    for held in ("none", 3, [[0.5, 0.5, 0], [1.0]]):
        path = write("set.pt", {"images": images, "labels": labels, "soft_labels": held})
        with pytest.raises(DataError, match=r"set\.pt should hold soft labels as one tensor"):
            import_distilled(path, data, "normalize")


@pytest.mark.parametrize("given", ["folder", "images.pt", "labels.pt"])
def test_soft_labels_in_a_file_beside_the_others(write, data, images, labels, near, given):
    soft = torch.softmax(4 * torch.eye(3)[labels], 1)
    for name, values in (("images", images), ("labels", labels), ("soft_labels", soft)):
        path = write(f"{name}.pt", values)
    tiny = import_distilled(path.parent if given == "folder" else path.with_name(given), data, "normalize")
    near(tiny.soft_labels, soft.double())
    assert tiny.record["imported"]["files"] == ["images.pt", "labels.pt", "soft_labels.pt"]


@pytest.mark.parametrize("given", ["folder", "images.pt", "soft_labels.pt"])
def test_soft_labels_alone_beside_the_images(write, data, images, labels, near, given):
    soft = torch.softmax(4 * torch.eye(3)[labels], 1)
    write("images.pt", images)
    write("lr.pt", 0.02)
    path = write("soft_labels.pt", soft)
    tiny = import_distilled(path.parent if given == "folder" else path.with_name(given), data, "normalize")
    near(tiny.soft_labels, soft.double())
    assert tiny.settings["network_lr"] == 0.02


NO_ROWS = {"zeros": torch.zeros(6), "line": torch.ones(6) / 6, "one": torch.tensor(1.0), "deep": torch.ones(6, 3, 1)}


@pytest.mark.parametrize("soft", NO_ROWS.values(), ids=NO_ROWS)
def test_soft_labels_that_are_no_rows(write, data, images, labels, soft):
    path = write("set.pt", {"images": images, "labels": labels, "soft_labels": soft})
    with pytest.raises(DataError, match=r"soft labels must be \[N, 3\], got \([6, 31]*\); leave them out"):
        import_distilled(path, data, "normalize")


def test_files_that_are_not_used_are_named(write, data, images, labels, capfd):
    write("teacher_logits.pt", torch.zeros(6, 3))
    write("labels.pt", labels)
    path = write("images.pt", images)
    import_distilled(path.parent, data, "normalize")
    assert "not used: teacher_logits.pt" in capfd.readouterr().err
