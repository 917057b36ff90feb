"""A whole search in this process: what is run, kept, found again, ranked and reported."""

from __future__ import annotations

import csv
import json
import pickle
import sys
from dataclasses import replace
from functools import partial

import pytest
import torch

from atom_distill.base.errors import ConfigError
from atom_distill.base.network_shape import NetworkShape
from atom_distill.config.training_protocol import PROTOCOLS
from atom_distill.models.build import build_model
from atom_distill.search import run_search
from atom_distill.search import trials as trials_module
from atom_distill.search.proxies import Proxy, distilled_proxy
from atom_distill.search.search_report import notes, write_report
from atom_distill.search.search_result import SearchResult, correlation
from atom_distill.search.space import Candidate, Unfit
from atom_distill.search.trials import Outcome, Trial, halving_epochs, run_trial
from atom_distill.search.workers import InProcess
from atom_distill.training.networks import OneNetwork
from search.conftest import CANDIDATES


def table(search) -> dict[tuple[str, str, int], float | None]:
    return {(one.proxy, one.architecture, one.protocol.epochs): one.accuracy for one in search.outcomes}


def test_every_architecture_is_tried_on_every_proxy_and_only_the_whole_is_tested(make_plan, make_search):
    search = make_search(make_plan()).run()
    assert {(one.proxy, one.architecture) for one in search.outcomes} == {
        (proxy, candidate.name) for proxy in ("random", "dm", "early-stop", "whole") for candidate in CANDIDATES
    }
    assert all(0 <= one.accuracy <= 100 and one.failure is None for one in search.outcomes)
    assert all((one.test_accuracy is not None) == (one.proxy == "whole") for one in search.outcomes)
    by_name = {one.architecture: one for one in search.outcomes}
    for candidate in CANDIDATES:
        network = build_model("convnet", (3, 8, 8), 3, candidate.shape)
        assert by_name[candidate.name].parameters == sum(parameter.numel() for parameter in network.parameters())
    assert all(one.seconds > 0 and one.peak_mib > 10 for one in search.outcomes)


@pytest.mark.slow
def test_worker_processes_find_the_same_accuracies(data, make_plan, make_search, tmp_path):
    here = make_search(make_plan(), folder=tmp_path / "here").run()
    spread = InProcess(data, "cpu", cores=2)
    assert spread.description == "2 at once on cpu, processor threads: 1"
    there = make_search(make_plan(), spread, folder=tmp_path / "there").run()
    assert table(there) == table(here)
    assert len(list((tmp_path / "there").rglob("*.json"))) == 12


def test_builders_that_cannot_be_sent_are_used_here(data, make_plan, make_search):
    own = Candidate("own", builder=lambda image_shape, num_classes, _: build_model("convnet", image_shape, num_classes))
    search = make_search(make_plan([own], names="random"), InProcess(data, "cpu", cores=2)).run()
    assert {one.failure for one in search.outcomes} == {None}


def test_builders_of_the_main_module_are_used_here(data, make_plan, make_search, monkeypatch):
    """Pickled by their name, they are not found in the main module of a worker."""

    def build(image_shape, num_classes, _shape):
        return build_model("convnet", image_shape, num_classes)

    build.__module__, build.__qualname__ = "__main__", "build"
    monkeypatch.setattr(sys.modules["__main__"], "build", build, raising=False)
    own = [Candidate("own", builder=build), Candidate("partly", builder=partial(build))]
    assert pickle.dumps(own)
    search = make_search(make_plan(own, names="random whole"), InProcess(data, "cpu", cores=2)).run()
    assert [one.failure for one in search.outcomes] == [None] * 4


def test_a_continued_search_shows_the_best_of_all(make_plan, make_search, monkeypatch):
    first = make_search(make_plan(CANDIDATES[:2], names="random whole")).run()
    shown = []
    monkeypatch.setattr(run_search.Progress, "advance", lambda _bar, **more: shown.append(more["best"]))
    search = make_search(make_plan(names="random whole"))
    monkeypatch.setattr(search.workers, "run", lambda trials: (one for one in [failed(trials[0])]))
    search.run()
    best = max(one.accuracy for one in first.outcomes if one.proxy == "random")
    assert shown[0].startswith(f"random {best:.1f} %, whole ")


def failed(trial: Trial) -> tuple[Trial, Outcome]:
    return trial, Outcome.of(trial, failure="no")


def test_a_search_stopped_between_two_rungs_is_incomplete(make_plan, make_search, monkeypatch):
    candidates = [Candidate("convnet", NetworkShape(1, width)) for width in range(2, 6)]
    search = make_search(make_plan(candidates, names="dm whole", halving=True)).run()
    assert "Incomplete" not in "".join(notes(search))
    first = [one for one in search.outcomes if one.proxy == "whole" or one.protocol.epochs == 1]
    assert "Incomplete: the table shows what is finished so far." in notes(SearchResult(search.plan, outcomes=first))
    fewer = SearchResult(search.plan, outcomes=first[1:])
    assert "Incomplete: the table shows what is finished so far, 3 on dm." in notes(fewer)


def test_the_quality_of_a_proxy_follows_from_its_trials(make_plan, make_search):
    search = make_search(make_plan()).run()
    truth = {one.architecture: one.test_accuracy for one in search.outcomes if one.proxy == "whole"}
    for quality in search.proxy_qualities():
        mine = [one for one in search.outcomes if one.proxy == quality.proxy]
        assert quality.chosen == min(mine, key=lambda one: (-one.accuracy, one.architecture)).architecture
        assert quality.chosen_accuracy == truth[quality.chosen]
        ordered = sorted(mine, key=lambda one: one.architecture)
        want = correlation([one.accuracy for one in ordered], [truth[one.architecture] for one in ordered])
        assert (quality.overall is None) == (want is None)
        assert want is None or quality.overall.model_dump() == pytest.approx(want.model_dump())
        assert (quality.finished, quality.failed) == (3, 0)
    epochs = {quality.proxy: quality.epochs for quality in search.proxy_qualities()}
    assert epochs == {"random": 27, "dm": 27, "early-stop": pytest.approx(3 * 4 / 3), "whole": 9}


def test_nothing_finished_is_run_again_and_the_whole_is_shared(make_plan, make_search, monkeypatch, tmp_path):
    first = make_search(make_plan(names="dm whole")).run()
    again = make_search(make_plan(names="dm whole"))
    with monkeypatch.context() as patch:
        patch.setattr(trials_module, "train", lambda *_, **__: pytest.fail("trained again"))
        again = again.run()
    assert table(again) == table(first)
    assert again.proxy_qualities() == first.proxy_qualities()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "shared").rename(tmp_path / "elsewhere" / "shared")
    other = make_search(make_plan(names="random whole"), folder=tmp_path / "elsewhere")
    trained = []
    train = trials_module.train
    monkeypatch.setattr(trials_module, "train", lambda *rest, **more: (trained.append(1), train(*rest, **more)))
    other.run()
    assert len(trained) == 3  # the random ones: those on the whole set were there


@pytest.mark.parametrize("change", ["seed", "epochs"])
def test_other_seeds_and_lengths_are_other_trials(make_plan, make_search, change):
    first = make_search(make_plan(names="dm whole")).run()
    other = make_search(make_plan(names="dm whole", **{change: 4})).run()
    kept = {one.proxy for one in other.outcomes if one in first.outcomes}
    assert kept == (set() if change == "seed" else {"whole"})


def test_a_damaged_file_is_run_again(make_plan, make_search, tmp_path, capsys):
    first = make_search(make_plan(names="dm whole")).run()
    damaged = next((tmp_path / "trials").iterdir())
    damaged.write_text(damaged.read_text()[:50])
    again = make_search(make_plan(names="dm whole")).run()
    assert table(again) == table(first)
    assert "is damaged" in capsys.readouterr().err


def test_a_failure_is_reported_and_the_search_continues(make_plan, make_search, capsys):
    def memory_runs_out(*_):
        raise RuntimeError("DefaultCPUAllocator: can't\nallocate memory")

    def explodes(image_shape, num_classes, shape):
        network = build_model("convnet", image_shape, num_classes, NetworkShape(1, 4))
        network.register_forward_hook(lambda _module, _inputs, output: output * torch.inf)
        return network

    failing = [Candidate("greedy", builder=memory_runs_out), Candidate("wild", builder=explodes)]
    search = make_search(make_plan([*failing, *CANDIDATES])).run()
    failures = {one.architecture: one.failure for one in search.outcomes if one.failure is not None}
    assert failures["greedy"] == "RuntimeError: DefaultCPUAllocator: can't allocate memory"
    assert "diverged in epoch 1: its weights are NaN or infinite" in failures["wild"]
    assert [quality.failed for quality in search.proxy_qualities()] == [2] * 4
    assert [quality.finished for quality in search.proxy_qualities()] == [3] * 4
    assert "greedy on dm failed: RuntimeError" in capsys.readouterr().err
    again = make_search(make_plan([*failing, *CANDIDATES])).run()
    assert sum(one.failure is not None for one in again.outcomes) == 8  # tried again, as that may help


def test_without_the_whole_only_the_chosen_are_trained_on_it(make_plan, make_search):
    search = make_search(make_plan(names="dm random")).run()
    chosen = {quality.chosen for quality in search.proxy_qualities()}
    tested = {one.architecture for one in search.outcomes if one.proxy == "whole"}
    assert tested == chosen
    assert all(quality.chosen_accuracy is not None and quality.overall is None for quality in search.proxy_qualities())


def test_halving_trains_all_shortly_and_few_long(make_plan, make_search):
    candidates = [Candidate("convnet", NetworkShape(1, width)) for width in range(2, 9)]
    full = make_search(make_plan(candidates, names="dm whole")).run()
    search = make_search(make_plan(candidates, names="dm whole", halving=True)).run()
    lengths = [one.protocol.epochs for one in search.outcomes if one.proxy == "dm"]
    assert [lengths.count(epochs) for epochs in (1, 3, 9)] == [7, 3, 1]
    (mine, _), (whole, _) = search.proxy_qualities(), full.proxy_qualities()
    assert (mine.epochs, whole.epochs) == (7 + 9 + 9, 63)
    ranked = search.ranking(search.plan.proxies[0])
    assert [one.rung for one in ranked] == [2, 1, 1, 0, 0, 0, 0]
    after_one = {one.architecture: one.accuracy for one in search.outcomes if one.protocol.epochs == 1}
    went_on = {one.architecture for one in ranked if one.rung > 0}
    assert min(after_one[name] for name in went_on) >= max(after_one[name] for name in after_one.keys() - went_on)
    long = {key: accuracy for key, accuracy in table(search).items() if key[2] == 9}
    assert long.items() <= table(full).items()


def test_threads_are_as_asked_for_and_put_back(make_plan, data, monkeypatch):
    before, seen = torch.get_num_threads(), []
    loss = OneNetwork.loss
    monkeypatch.setattr(OneNetwork, "loss", lambda *rest: (seen.append(torch.get_num_threads()), loss(*rest))[1])
    plan = make_plan()
    trial = Trial(CANDIDATES[0], plan.proxies[0], plan.protocols[0], 0)
    assert run_trial(trial, data, "cpu", threads=1).failure is None
    assert set(seen) == {1}
    assert torch.get_num_threads() == before


def test_the_files_hold_what_was_found(make_plan, make_search, tmp_path):
    search = make_search(make_plan()).run()
    unfit = [Unfit(Candidate("convnet", NetworkShape(depth=9)), "it pools the image away")]
    write_report(tmp_path / "out", SearchResult(search.plan, unfit, "here", list(reversed(search.outcomes))))
    with (tmp_path / "out" / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["proxy"], row["architecture"], float(row["accuracy"])) for row in rows] == [
        (one.proxy, one.architecture, one.accuracy) for one in search.outcomes
    ]
    assert rows[0]["width"] == "4"
    content = json.loads((tmp_path / "out" / "search.json").read_text())
    assert [verdict["chosen"] for verdict in content["verdicts"]] == [one.chosen for one in search.proxy_qualities()]
    assert content["unfit"] == [{"architecture": "convnet-d9", "reason": "it pools the image away"}]
    text = (tmp_path / "out" / "search.md").read_text()
    assert "| dm | 6 |" in text
    assert "search(epochs=9,batch_size=16)" in text
    assert "they ran here" in text
    assert "1 architectures do not fit the images, e.g. convnet-d9" in text
    assert (tmp_path / "out" / "search.png").read_bytes().startswith(b"\x89PNG")


def test_the_name_of_a_run_is_neither_formula_nor_cell(make_plan, make_search, tmp_path):
    search, name = make_search(make_plan(names="dm whole")).run(), r"dm:$\q$|x"
    proxies = [replace(proxy, name=name) if proxy.name == "dm" else proxy for proxy in search.plan.proxies]
    outcomes = [one.model_copy(update={"proxy": name}) if one.proxy == "dm" else one for one in search.outcomes]
    write_report(tmp_path / "out", SearchResult(replace(search.plan, proxies=proxies), [], "here", outcomes))
    assert r"| dm:$\q$\|x | 6 |" in (tmp_path / "out" / "search.md").read_text()
    assert (tmp_path / "out" / "search.png").exists()


def test_a_kept_trial_is_of_its_images_whatever_the_proxy_is_called(make_plan, make_search, data):
    first = make_search(make_plan(names="dm whole")).run()
    renamed = replace(data, distilled={"atom": data.distilled["dm"]})
    plan = make_plan(names="dm whole")
    plan = replace(plan, proxies=[distilled_proxy("atom", renamed), plan.whole])
    again = make_search(plan).run()
    assert {one.proxy for one in again.outcomes} == {"atom", "whole"}
    assert [one.accuracy for one in again.outcomes] == [one.accuracy for one in first.outcomes]


def test_networks_that_differ_in_anything_are_other_trials(make_plan):
    plan = make_plan()
    builders = [lambda *_: None, lambda *_: 1]
    candidates = [
        Candidate(),
        Candidate("vgg11"),
        Candidate("convnet", NetworkShape(norm="none")),
        Candidate("convnet", NetworkShape(pooling="none")),
        *(Candidate("convnet", builder=builder) for builder in builders),
    ]
    keys = {Trial(one, plan.proxies[0], plan.protocols[0], 0).key("here") for one in candidates}
    assert len(keys) == 6
    trial = Trial(Candidate(), plan.proxies[0], plan.protocols[0], 0)
    renamed = replace(trial, protocol=trial.protocol.model_copy(update={"name": "the same"}))
    assert renamed.key("here") == trial.key("here") != trial.key("there")


def test_keys_are_those_of_trials_kept_by_earlier_versions():
    protocol = PROTOCOLS.get("search").changed(epochs=3)
    trial = Trial(Candidate("convnet", NetworkShape(1, 4)), Proxy("whole", "whole", 48, "whole"), protocol, 5)
    assert trial.key("here") == "0c6e6d269cb6c70d5be755ec"
    for change in ({"loss": "mse"}, {"cutmix": 0.5}, {"augment_always": "flip"}, {"warmup": 0.1}):
        assert replace(trial, protocol=protocol.changed(**change)).key("here") != trial.key("here")


def test_networks_of_ones_own_are_not_shared_between_searches(make_plan, make_search, tmp_path):
    own = Candidate("own", builder=lambda shape, classes, _: build_model("convnet", shape, classes, NetworkShape(1, 4)))
    make_search(make_plan([own, *CANDIDATES], names="dm whole")).run()
    assert len(list((tmp_path / "shared").iterdir())) == 3
    assert len(list((tmp_path / "trials").iterdir())) == 5


def test_halving_that_halves_nothing_is_refused(make_plan):
    with pytest.raises(ConfigError, match=r"halving .*distilled.*random"):
        make_plan(names="whole early-stop", halving=True)
    with pytest.raises(ConfigError, match="epochs must be 9 or more, got 8"):
        make_plan(epochs=8, halving=True)
    assert halving_epochs(100) == [11, 33, 100]


def test_an_outcome_is_an_accuracy_or_a_failure(make_plan):
    plan = make_plan()
    trial = Trial(CANDIDATES[0], plan.proxies[0], plan.protocols[0], 0)
    for found in ({}, {"accuracy": 1.0, "failure": "both"}):
        with pytest.raises(ValueError, match="either an accuracy or a failure"):
            Outcome.of(trial, **found)


def test_proxies_are_compared_over_the_same_best_architectures(make_plan):
    plan = make_plan([Candidate("convnet", NetworkShape(1, width)) for width in range(1, 31)], names="dm random whole")
    truth = {candidate.name: float(place) for place, candidate in enumerate(plan.candidates)}
    outcomes = [
        Outcome.of(Trial(one, proxy, plan.rungs(proxy)[0], 0), accuracy=truth[one.name], **more)
        for proxy in plan.proxies
        for one in plan.candidates
        for more in [{"test_accuracy": truth[one.name]} if proxy.kind == "whole" else {}]
    ]
    last = plan.candidates[-1].name
    outcomes = [one for one in outcomes if (one.proxy, one.architecture) != ("dm", last)]  # it failed there
    found = {one.proxy: one for one in SearchResult(plan, outcomes=outcomes).proxy_qualities()}
    assert found["random"].top.size == 3
    assert found["dm"].top is None  # two of the best three
    assert found["dm"].overall.size == 29
