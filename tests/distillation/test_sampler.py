"""The real images of a step: some of each class, drawn anew at each step."""

from __future__ import annotations

import torch
from torch import Tensor

from atom_distill.base.seeding import generator
from atom_distill.data.fit_preprocessing import fit_preprocessing
from atom_distill.distillation.sampler import ClassSampler
from distillation.toys import toy_dataset

DATA = toy_dataset((20, 5, 9))
BATCH, STEPS = 8, 40


def draw(step: int, classes: list[int] | None = None) -> Tensor:
    preprocessing = fit_preprocessing("normalize", DATA)
    of = None if classes is None else torch.tensor(classes)
    sampler = ClassSampler(DATA, preprocessing, BATCH, torch.device("cpu"), torch.float32, of)
    assert sampler.counts.tolist() == [[8, 5, 8][label] for label in (classes or range(3))]
    return sampler.draw(generator(0, "real", step))


def test_each_step_draws_other_images_of_each_class_none_twice():
    drawn = [draw(step).split([8, 5, 8]) for step in range(STEPS)]
    for label in range(3):
        of_class = [parts[label] for parts in drawn]
        assert all(bool((DATA.train.labels[part] == label).all()) for part in of_class)
        assert all(len(set(part.tolist())) == len(part) for part in of_class)
        assert {int(index) for part in of_class for index in part} == set(DATA.class_indices()[label].tolist())
    assert len({tuple(parts[0].tolist()) for parts in drawn}) == STEPS
    # 320 draws of 20 images: each is expected 16 times, with a standard deviation of 3.1 (40 x 0.4 x 0.6).
    times = torch.bincount(torch.cat([parts[0] for parts in drawn]), minlength=len(DATA.train))[DATA.class_indices()[0]]
    assert 16 - 5 * 3.1 < int(times.min()) <= int(times.max()) < 16 + 5 * 3.1


def test_a_step_draws_the_same_again_whichever_classes_a_process_has():
    whole = draw(7)
    assert torch.equal(draw(7), whole)
    assert torch.equal(draw(7, [0, 2]), torch.cat([whole[:8], whole[13:]]))
