"""A search small enough for a test: toy images, a distilled set, three networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from atom_distill.base.network_shape import NetworkShape
from atom_distill.config.training_protocol import PROTOCOLS
from atom_distill.search.proxies import (
    SearchData,
    distilled_proxy,
    early_stop_proxy,
    make_search_data,
    random_proxy,
    whole_proxy,
)
from atom_distill.search.run_search import Search, TrialStore
from atom_distill.search.search_result import SearchResult
from atom_distill.search.space import Candidate
from atom_distill.search.trials import Plan, halving_epochs
from atom_distill.search.workers import InProcess, Workers
from distillation.toys import go, toy_dataset

CANDIDATES = tuple(Candidate("convnet", NetworkShape(depth, width)) for depth, width in ((1, 4), (2, 4), (1, 8)))


@pytest.fixture(scope="session")
def data() -> SearchData:
    whole = toy_dataset((20, 20, 20), test_per_class=10)
    return make_search_data(whole, {"dm": go(data=whole, method="dm", ipc=2, steps=3)}, holdout=0.2, seed=0)


@pytest.fixture
def make_plan(data) -> Callable[..., Plan]:
    def make(
        candidates: Sequence[Candidate] = CANDIDATES,
        *,
        epochs: int = 9,
        names: str = "all",
        halving: bool = False,
        **more,
    ) -> Plan:
        proxies = [
            random_proxy((2, 2, 2), data),
            distilled_proxy("dm", data),
            early_stop_proxy(4, data),
            whole_proxy(data),
        ]
        lengths = halving_epochs(epochs) if halving else [epochs]
        *protocols, whole = (PROTOCOLS.get("search").changed(epochs=length, batch_size=16) for length in (*lengths, 3))
        chosen = [proxy for proxy in proxies if names == "all" or proxy.name in names.split()]
        return Plan(candidates, chosen, proxies[-1], protocols, whole, **more)

    return make


@pytest.fixture
def make_search(data, tmp_path) -> Callable[..., Search]:
    def make(plan: Plan, workers: Workers | None = None, folder: Path = tmp_path) -> Search:
        workers = workers or InProcess(data, "cpu")
        store = TrialStore(folder / "trials", folder / "shared", f"{data.identity} on {workers.device}")
        return Search(SearchResult(plan, workers=workers.description), workers, store, show_progress=False)

    return make
