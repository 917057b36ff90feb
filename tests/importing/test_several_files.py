"""One set in several numbered files, and what is no such set."""

from __future__ import annotations

import pytest
import torch

from atom_distill.base.errors import ConfigError, DataError
from atom_distill.importing.import_distilled import import_distilled

PARTS = (slice(0, 2), slice(2, 5), slice(5, 6))


@pytest.fixture
def is_the_set(data, images, labels):
    def check(path, **options) -> None:
        tiny = import_distilled(path, data, "normalize", **options)
        assert torch.equal(tiny.images, images)
        assert torch.equal(tiny.labels, labels)
        assert "3 files" in tiny.record["imported"]["format"]

    return check


@pytest.mark.parametrize("name", ["images_{}.pt", "cifar10_images-{:02d}-of-03.pt", "shard{}_images.pt"])
@pytest.mark.parametrize("first", [0, 1])
def test_images_and_labels_in_parts(write, is_the_set, images, labels, name, first):
    for number, part in enumerate(PARTS, first):
        path = write(name.format(number), images[part].clone())
        write(name.format(number).replace("images", "labels"), labels[part].clone())
    is_the_set(path.parent)


def test_parts_in_the_order_of_their_numbers(write, data, images, labels):
    """The eleventh follows the tenth, and not the second."""
    for number in range(12):
        path = write(f"images_{number}.pt", images[number % 6][None] + number)
        write(f"labels_{number}.pt", labels[number % 6][None])
    tiny = import_distilled(path.parent, data, "normalize")
    order = [0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11]
    assert torch.equal(tiny.images, torch.stack([images[number % 6] + number for number in order]))


@pytest.mark.parametrize("given", [True, False])
def test_labels_in_one_file(write, is_the_set, images, labels, given):
    for number, part in enumerate(PARTS):
        path = write(f"images_{number}.pt", images[part].clone())
    beside = write("labels.pt", labels)
    is_the_set(path.parent, **({"labels": beside} if given else {}))


@pytest.mark.parametrize("hard", [True, False])
def test_soft_labels_and_a_learning_rate_in_one_file_each(write, data, images, labels, hard):
    soft = torch.eye(3)[labels] * 0.7 + 0.1
    for number, part in enumerate(PARTS):
        path = write(f"images_{number}.pt", images[part].clone())
    write("soft_labels.pt", soft)
    write("lr.pt", torch.tensor(0.02))
    if hard:
        write("labels.pt", labels)
    tiny = import_distilled(path.parent, data, "normalize")
    assert torch.equal(tiny.images, images)
    torch.testing.assert_close(tiny.soft_labels, soft)
    assert tiny.settings["network_lr"] == pytest.approx(0.02)
    names = [f"images_{number}.pt" for number in range(3)] + ["labels.pt"] * hard + ["soft_labels.pt", "lr.pt"]
    assert tiny.record["imported"]["files"] == names


def test_labels_that_are_given_leave_soft_ones_out(tmp_path, write, data, images, labels):
    for number, part in enumerate(PARTS):
        path = write(f"images_{number}.pt", images[part].clone())
    write("soft_labels.pt", torch.eye(3)[labels] * 0.7 + 0.1)
    torch.save(labels, tmp_path / "labels.pt")
    assert import_distilled(path.parent, data, "normalize", labels=tmp_path / "labels.pt").soft_labels is None


@pytest.mark.parametrize("form", [lambda x, y: [x, y], lambda x, y: {"data": x, "target": y}])
def test_parts_that_hold_both(write, is_the_set, images, labels, form):
    for number, part in enumerate(PARTS):
        path = write(f"set_{number}.pt", form(images[part].clone(), labels[part].clone()))
    is_the_set(path.parent)
    with pytest.raises(ConfigError, match="has one set in 3 files; leave out `experiment`"):
        is_the_set(path.parent, experiment=0)


def test_names_of_classes_in_parts(write, is_the_set, images, labels, data):
    for number, part in enumerate(PARTS):
        names = [data.class_names[label] for label in labels[part]]
        path = write(f"set_{number}.pt", {"images": images[part].clone(), "labels": names})
    is_the_set(path.parent)


def test_what_one_run_saved_from_time_to_time_is_no_set_in_parts(write, data, images, labels):
    """MTT saves images_0.pt, images_500.pt, ...; one of them is to be chosen."""
    for number in (0, 500, 1000):
        path = write(f"images_{number}.pt", images)
        write(f"labels_{number}.pt", labels)
    with pytest.raises(DataError, match=r"holds several sets \(images_0\.pt, images_1000\.pt.*; give one file"):
        import_distilled(path.parent, data, "normalize")


def test_parts_that_do_not_fit(write, data, images, labels):
    for number, values in enumerate((images, images[:, :1])):
        path = write(f"images_{number}.pt", values)
        write(f"labels_{number}.pt", labels)
    with pytest.raises(DataError, match=r"images_0\.pt to images_1\.pt differ in shape or type.*give one of the files"):
        import_distilled(path.parent, data, "normalize")
    one = write("part_0.pt", [images[:2], labels[:2]])
    with pytest.raises(DataError, match="and the file the whole set"):
        import_distilled(one, data, "normalize")


@pytest.mark.parametrize("first", [0, 1])
def test_complete_sets_are_not_joined(write, data, images, labels, first):
    """Runs of their own, numbered from 0 or 1: of one size, or of several."""
    for number in (first, first + 1):
        path = write(f"run_{number}.pt", [images + number, labels])
    with pytest.raises(DataError, match=r"run_\d\.pt to run_\d\.pt has every class.*give one file.*torch\.cat"):
        import_distilled(path.parent, data, "normalize")
    write(f"run_{first}.pt", [images[::2].clone(), labels[::2].clone()])
    with pytest.raises(DataError, match="has every class"):
        import_distilled(path.parent, data, "normalize")


def test_complete_sets_of_two_files_each_are_not_joined(write, data, images, labels):
    for number in (1, 2):
        path = write(f"images_{number}.pt", images + number)
        write(f"labels_{number}.pt", labels)
    with pytest.raises(DataError, match=r"has every class.*give one file"):
        import_distilled(path.parent, data, "normalize")
    assert len(import_distilled(path, data, "normalize")) == 6
