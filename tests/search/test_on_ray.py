"""A search on Ray: the same accuracies as in this process, and workers that die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from atom_distill.api import distill
from atom_distill.base.errors import ConfigError
from atom_distill.base.network_shape import NetworkShape
from atom_distill.base.optional import is_available
from atom_distill.data.load import load_dataset
from atom_distill.models.build import build_model
from atom_distill.search.space import Candidate
from atom_distill.search.workers import OnRay, RaySettings
from search.conftest import CANDIDATES

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not is_available("ray"), reason="Ray is not installed: pip install 'atom-distill[ray]'"),
]


@pytest.fixture(scope="module")
def ray_here():
    import ray

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield ray
    ray.shutdown()


@pytest.fixture
def on_ray(ray_here, data):
    def make(**settings) -> OnRay:
        return OnRay(data, RaySettings(**{"device": "cpu", **settings}))

    return make


def accuracies(search) -> dict[tuple[str, str], tuple[float, float | None]]:
    return {(one.proxy, one.architecture): (one.accuracy, one.test_accuracy) for one in search.outcomes}


def test_the_accuracies_are_those_of_this_process(on_ray, make_plan, make_search, tmp_path):
    here = make_search(make_plan(), folder=tmp_path / "here").run()
    there = make_search(make_plan(), on_ray(), folder=tmp_path / "there").run()
    assert accuracies(there) == accuracies(here)
    assert len(list((tmp_path / "there").rglob("*.json"))) == 12


def test_a_trial_that_always_kills_its_worker_fails_alone(on_ray, make_plan, make_search):
    def dies(*_):
        os.kill(os.getpid(), signal.SIGKILL)

    plan = make_plan([Candidate("deadly", builder=dies), CANDIDATES[0]], names="dm")
    search = make_search(plan, on_ray(retries=1)).run()
    failures = {(one.architecture, one.proxy): one.failure for one in search.outcomes if one.failure}
    assert set(failures) == {("deadly", "dm")}
    assert failures["deadly", "dm"].startswith("its worker died 2 times")
    assert len(search.outcomes) > 1


def test_only_the_trial_of_a_killed_worker_is_run_again(on_ray, make_plan, make_search, tmp_path):
    finished = str(tmp_path / "trials")

    def dies_when_others_are_done(image_shape, num_classes, shape):
        mark = Path(finished).parent / "died"
        while not mark.exists():
            if len(list(Path(finished).glob("*.json"))) >= 2:
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(0.01)
        return build_model("convnet", image_shape, num_classes, NetworkShape(1, 4))

    mortal = Candidate("mortal", builder=dies_when_others_are_done)
    search = make_search(make_plan([mortal, *CANDIDATES], names="dm"), on_ray())
    kept: dict[Path, int] = {}
    save = search.store.save

    def watched(trial, outcome):
        save(trial, outcome)
        kept.update({path: path.stat().st_mtime_ns for path in Path(finished).glob("*.json") if path not in kept})

    search.store.save = watched
    result = search.run()
    assert (tmp_path / "died").exists()
    assert {one.failure for one in result.outcomes} == {None}
    assert {one.architecture for one in result.outcomes} == {"mortal", *(one.name for one in CANDIDATES)}
    assert {path: path.stat().st_mtime_ns for path in kept} == kept  # none was written a second time


def test_what_a_search_kept_before_it_was_killed_is_not_run_again(on_ray, make_plan, make_search, tmp_path):
    begun = make_search(make_plan(CANDIDATES[:2], names="dm"), on_ray(), folder=tmp_path)
    begun.run()
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("trials/*.json")}
    assert len(kept) >= 2
    search = make_search(make_plan(names="dm"), on_ray(), folder=tmp_path).run()
    assert len(list(tmp_path.rglob("trials/*.json"))) > len(kept)
    assert {one.failure for one in search.outcomes} == {None}
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_an_error_in_a_worker_keeps_its_type_and_message(on_ray, make_plan, make_search):
    class UnpicklableError(Exception):
        def __reduce__(self):
            raise TypeError("cannot travel")

    def raises(*_):
        raise UnpicklableError("of its own kind")

    search = make_search(make_plan([Candidate("odd", builder=raises)], names="dm"), on_ray()).run()
    assert "UnpicklableError: of its own kind" in search.outcomes[0].failure


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"threads": 1000},
            r"a task needs 1000 CPU and 0 GPU, and no machine .* \(the largest: 2 and 0\): use fewer threads",
        ),
        ({"gpus_per_task": 0.5, "device": "cuda"}, "a task needs 1 CPU and 0.5 GPU, and no machine"),
        ({"device": "cuda"}, "a task needs 1 CPU and 0.25 GPU"),
        ({"device": "cuda:1"}, "on Ray the device is auto, cpu or cuda, got 'cuda:1'"),
        ({"gpus_per_task": 1.5, "device": "auto"}, "must be a share up to 1, or a whole number, got 1.5"),
        ({"gpus_per_task": 0.5}, "device cpu and `gpus_per_task` 0.5 contradict"),
        ({"dashboard": True, "ray_address": "auto"}, "dashboard is for a Ray that is started here"),
    ],
)
def test_what_the_cluster_cannot_run_is_refused_and_not_waited_for(on_ray, settings, message):
    with pytest.raises(ConfigError, match=message):
        on_ray(**settings)


def test_a_ray_of_ones_own_is_left_running(on_ray, ray_here, make_plan, make_search):
    workers = on_ray()
    make_search(make_plan(names="dm"), workers).run()
    workers.close()
    assert ray_here.is_initialized()
    assert workers.device == "cpu"
    assert "2 cores, 0 GPUs" in workers.description


def test_stopping_cancels_what_is_waiting(on_ray, make_plan):
    def sleeps(*_):
        time.sleep(600)

    plan = make_plan([Candidate("sleepy", builder=sleeps)], names="dm random")
    running = on_ray().run(plan.trials(0, {proxy.name: plan.candidates for proxy in plan.proxies}))
    quick = make_plan(names="dm")
    timer = threading.Timer(1.0, lambda: signal.raise_signal(signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        next(running)
    running.close()
    others = on_ray().run(quick.trials(0, {"dm": quick.candidates}))
    assert len(list(others)) == 3  # the cores are free again


def test_the_search_starts_a_ray_of_its_own_and_ends_it(runs_of_one, tmp_path):
    """In a process of its own, where another cluster is announced: that one is not contacted."""
    code = """
import os, sys
import ray
from atom_distill import load_dataset, search_architectures
from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.base.network_shape import NetworkShape
from atom_distill.search.run_search import SearchSettings
from atom_distill.search.space import Candidate
from atom_distill.search.workers import OnRay, RaySettings

def workers(data):
    pool = OnRay(data, RaySettings(device="cpu"))
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
    context = ray.get_runtime_context()
    assert not ray._private.worker._global_node.webui_url, "the dashboard is on"
    return pool

run = DistilledDataset.load(sys.argv[1])
settings = SearchSettings(proxies=["random"], epochs=1, whole_epochs=1)
search_architectures([run], load_dataset("digits"), [Candidate("convnet", NetworkShape(1, 4))], settings,
                     out=sys.argv[2], workers=workers, show_progress=False)
assert not ray.is_initialized()
"""
    environment = {**os.environ, "RAY_ADDRESS": "192.0.2.1:6379", "ATOM_DATA": str(tmp_path / "cache")}
    environment.pop("RAY_USAGE_STATS_ENABLED", None)
    line = [sys.executable, "-c", code, str(runs_of_one), str(tmp_path / "out")]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.fixture
def runs_of_one(tmp_path) -> Path:
    distill(load_dataset("digits"), 1, "random", out=tmp_path / "run", show_progress=False)
    return tmp_path / "run"
