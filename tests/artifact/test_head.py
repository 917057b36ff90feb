"""The first stored images of each class, as a set of its own."""

from __future__ import annotations

import math

import pytest
import torch

from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.base.errors import ConfigError
from atom_distill.config.training_protocol import TrainingProtocol
from atom_distill.evaluation.evaluate import Evaluation
from distillation.toys import go, toy_dataset

DATA = toy_dataset((9, 3, 6))


@pytest.mark.parametrize(
    ("settings", "size"),
    [
        ({"ipc": 3}, {"ipc": 2}),
        ({"ipc": 3, "parameterization": "tiles-2"}, {"ipc": 2}),
        ({"ipc": 3, "parameterization": "frequency-4", "bits": 4}, {"ipc": 2}),
        ({"ipc": None, "bytes": 120, "pictures": 3, "parameterization": "frequency-4"}, {"pictures": 2}),
    ],
)
def test_it_has_the_first_images_of_each_class(settings, size, tmp_path):
    whole = go(data=DATA, steps=1, init="noise", **settings)
    head = whole.head(2)
    per_row = whole.parameterization.images_per_row
    first = whole.images.unflatten(0, (3, 3 * per_row))[:, : 2 * per_row]
    assert torch.equal(head.images.unflatten(0, (3, 2 * per_row)), first)
    assert head.per_class.tolist() == [2 * per_row] * 3
    assert (head.first, whole.first, head.folder) == (2, None, None)
    assert {name: head.settings[name] for name in size} == size
    assert head.stored_bytes < whole.stored_bytes
    if "bytes" in settings:
        assert head.settings["bytes"] == math.ceil(head.stored_bytes / 3)
    head.save(tmp_path / "head")
    assert torch.equal(DistilledDataset.load(tmp_path / "head").images, head.images)
    assert len(whole.head(3)) == len(whole)


def test_the_largest_within_a_size_is_found():
    whole = go(data=toy_dataset((9, 9, 9)), steps=1, ipc=7, parameterization="frequency-4", bits=4, init="noise")
    sizes = [whole.head(ipc).stored_bytes for ipc in range(1, 8)]
    for limit in (*range(sizes[0] // 3 + 1, sizes[-1] // 3 + 20, 7), sizes[3] // 3, -(-sizes[3] // 3)):
        fitting = [ipc for ipc, size in enumerate(sizes, 1) if size <= 3 * limit]
        if fitting:
            assert whole.head_within(limit).first == max(fitting)
    least = -(-sizes[0] // 3)
    with pytest.raises(ConfigError, match=f"`bytes` must be at least {least} here"):
        whole.head_within(least - 1)


def test_rows_go_class_after_class_whatever_the_order_of_the_labels():
    labels, images = torch.tensor([1, 0, 2, 0]), torch.arange(4.0).view(4, 1, 1, 1).expand(4, 3, 8, 8)
    soft = torch.eye(3)[labels] * 0.5 + torch.arange(4.0).view(4, 1)
    made = go(data=toy_dataset(), steps=1)
    facts = {"class_names": made.class_names, "preprocessing": made.preprocessing, "settings": {"ipc": 1}}
    tiny = DistilledDataset.from_images(images, labels, soft_labels=soft, **facts)
    assert tiny.labels.tolist() == [0, 0, 1, 2]
    assert tiny.images[:, 0, 0, 0].tolist() == [1, 3, 0, 2]
    assert torch.equal(tiny.soft_labels, soft[[1, 3, 0, 2]])
    assert tiny.head(1).images[:, 0, 0, 0].tolist() == [1, 0, 2]


def test_a_class_with_fewer_images_gives_what_it_has():
    whole = go(data=DATA, ipc=None, budget=12, steps=1, method="random")
    counts = whole.per_class.tolist()
    assert len(set(counts)) > 1
    head = whole.head(3)
    assert head.per_class.tolist() == [min(3, count) for count in counts]
    assert head.settings["budget"] == sum(min(3, count) for count in counts)
    starts = [0, counts[0], counts[0] + counts[1]]
    for label, (start, count) in enumerate(zip(starts, counts, strict=True)):
        assert torch.equal(head.images[head.labels == label], whole.images[start : start + min(3, count)])


def test_soft_labels_are_those_of_the_images():
    whole = go(
        data=DATA, ipc=3, steps=1, pool=1, pool_epochs=1, soft_labels=True, parameterization="tiles-2", init="noise"
    )
    expected = whole.soft_labels.unflatten(0, (3, 12))[:, :8].flatten(0, 1)
    assert torch.equal(whole.head(2).soft_labels, expected)


@pytest.mark.parametrize("ipc", [0, 4])
def test_more_than_there_are_is_refused(ipc):
    with pytest.raises(ConfigError, match=rf"`ipc` must be from 1 to 3, the images of a class here, got {ipc}"):
        go(data=DATA, ipc=3, steps=1).head(ipc)


def test_its_score_says_so():
    protocol = TrainingProtocol(name="quick", epochs=1, batch_size=16, lr=0.05)
    evaluation = Evaluation(repeats=1, protocol=protocol, show_progress=False)
    whole = go(data=DATA, ipc=3, steps=1)
    assert evaluation.of_distilled(whole.head(2), DATA).first == 2
    assert evaluation.of_distilled(whole, DATA).first is None
