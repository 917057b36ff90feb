"""Real images that are read while others are worked on."""

from __future__ import annotations

import threading

import torch

from atom_distill.data.fit_preprocessing import fit_preprocessing
from atom_distill.distillation.sampler import ClassSampler
from distillation.toys import toy_dataset

DATA = toy_dataset((9, 9))


def watched(monkeypatch) -> tuple[ClassSampler, list[str]]:
    """A sampler, and a list of the threads in which it has read."""
    sampler = ClassSampler(DATA, fit_preprocessing("normalize", DATA), 3, torch.device("cpu"))
    read, threads = sampler._read, []
    monkeypatch.setattr(sampler, "_read", lambda chosen: (threads.append(threading.current_thread()), read(chosen))[1])
    return sampler, threads


def test_what_was_begun_is_not_read_again(monkeypatch):
    sampler, threads = watched(monkeypatch)
    chosen = torch.tensor([4, 0, 7])
    plain = sampler.load(chosen)
    sampler.read_ahead(chosen)
    assert torch.equal(sampler.load(chosen), plain)
    assert [thread is threading.main_thread() for thread in threads] == [True, False]


def test_something_else_than_was_begun_is_read_all_the_same(monkeypatch):
    sampler, threads = watched(monkeypatch)
    sampler.read_ahead(torch.tensor([1, 2]))
    other = torch.tensor([3, 2])
    assert torch.equal(sampler.load(other), ClassSampler.load(sampler, other))
    assert len(threads) == 3
