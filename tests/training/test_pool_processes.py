"""Pools whose networks are trained in several processes."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from typing import Any

import pytest
import torch

from atom_distill.base.errors import InterruptedRunError
from atom_distill.processes.workers import run_tasks
from atom_distill.training import pool as module
from atom_distill.training import training_execution
from distillation.toys import go
from forked import ranks
from training.pools import DATA, RECIPE, RUN, assert_same, files, trained_pool


def _distill_and_list(cache: str) -> Any:
    from atom_distill.processes.ranks import join, leave

    torch.set_num_threads(1)
    os.environ["ATOM_DATA"] = cache
    trained: list[int] = []
    run = module._Training.__call__
    module._Training.__call__ = lambda self, task, *rest: trained.append(task[0]) or run(self, task, *rest)  # type: ignore[method-assign]
    try:
        join()
        return go(data=DATA, **RUN).images.numpy(), trained
    finally:
        leave()


@pytest.mark.slow
def test_processes_share_the_training_and_make_the_images_of_one(tmp_path, monkeypatch):
    (ours, our_networks), (theirs, their_networks) = ranks(2, _distill_and_list, str(tmp_path / "shared"))
    assert (our_networks, their_networks) == ([0, 2], [1])
    assert (ours == theirs).all()
    monkeypatch.setenv("ATOM_DATA", str(tmp_path / "shared"))
    shared = files()
    monkeypatch.setenv("ATOM_DATA", str(tmp_path / "alone"))
    alone = go(data=DATA, **RUN).images.numpy()
    assert abs(ours - alone).max() < 1e-4 * abs(alone).max()
    assert shared.keys() == {"0.safetensors", "1.safetensors", "2.safetensors"}
    for name, tensors in files().items():
        assert_same(tensors, shared[name])


@pytest.mark.slow
def test_worker_processes_train_the_same_networks_and_save_when_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(training_execution, "_WORKERS_FROM", 0)
    recipe = replace(RECIPE, epochs=300)  # long enough to be stopped
    monkeypatch.setenv("ATOM_DATA", str(tmp_path / "alone"))
    trained_pool(recipe)
    alone = files()
    monkeypatch.setenv("ATOM_DATA", str(tmp_path / "spread"))
    begun: set[int] = set()

    def press(job: Any, tasks: Any, *arguments: Any, on_report: Any, **options: Any) -> Any:
        def told(number: int, value: Any) -> None:
            on_report(number, value)
            if number not in begun and len(begun) == 1:  # both have begun
                signal.raise_signal(signal.SIGINT)
            begun.add(number)

        return run_tasks(job, tasks, *arguments, on_report=told, **options)

    with monkeypatch.context() as patch:
        patch.setattr(module, "run_tasks", press)
        with pytest.raises(InterruptedRunError, match=r"network [12] of the pool, which is kept"):
            trained_pool(recipe, cores=2)
    assert files().keys() == alone.keys()  # neither is lost
    assert trained_pool(recipe, cores=2).count_cached() == 2
    for name, tensors in files().items():
        assert_same(tensors, alone[name])
