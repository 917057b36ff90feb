"""The search as a Python call: runs, custom networks, and what is refused."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from atom_distill import search_architectures
from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.base.errors import ArtifactError, AtomError, ConfigError, InterruptedRunError, UnknownNameError
from atom_distill.base.network_shape import NetworkShape
from atom_distill.models.build import build_model
from atom_distill.models.network import Network
from atom_distill.ops.features import Features
from atom_distill.search.proxies import name_runs, proxy_names
from atom_distill.search.run_search import SearchSettings
from atom_distill.search.space import Candidate
from atom_distill.search.workers import InProcess
from distillation.toys import go, toy_dataset

DATA = toy_dataset((12, 12, 12))
SHORT = SearchSettings(epochs=2, whole_epochs=1, holdout=0.25)


class Linear(Network):
    """One layer on pixels."""

    def __init__(self, image_shape: tuple[int, int, int], num_classes: int) -> None:
        super().__init__()
        self.classifier = nn.Linear(int(torch.tensor(image_shape).prod()), num_classes)

    def features(self, images: torch.Tensor) -> Features:
        pixels = images.flatten(1)
        return Features([], pixels, lambda: self.classifier(pixels))


def test_custom_networks_are_ranked_beside_named_ones(tmp_path, capsys):
    own = Candidate("linear", builder=lambda image_shape, num_classes, _shape: Linear(image_shape, num_classes))
    too_deep = Candidate("convnet", NetworkShape(depth=5))
    candidates = [own, Candidate("convnet", NetworkShape(width=4)), too_deep]
    run = go(data=DATA, steps=1)
    search = search_architectures([run], DATA, candidates, SHORT, out=tmp_path / "out", show_progress=False)
    assert {one.architecture for one in search.outcomes} == {"linear", "convnet-w4"}
    assert {one.proxy for one in search.outcomes} == {"random", "atom", "early-stop", "whole"}
    assert all(one.failure is None for one in search.outcomes)
    (linear,) = {one.parameters for one in search.outcomes if one.architecture == "linear"}
    assert linear == 3 * 8 * 8 * 3 + 3
    assert [one.candidate for one in search.unfit] == [too_deep]
    assert "architectures that do not fit the images and are left out: 1" in capsys.readouterr().err
    assert (tmp_path / "out" / "search.md").exists()


def test_early_stopping_has_the_updates_of_training_on_random_images(tmp_path):
    run = go(data=DATA, steps=1)
    search = search_architectures(
        [run], DATA, [Candidate()], SearchSettings(epochs=7, whole_epochs=1), out=tmp_path, show_progress=False
    )
    (proxy,) = (proxy for proxy in search.plan.proxies if proxy.kind == "early-stop")
    assert proxy.updates == 7  # three images make one batch


def test_two_runs_of_a_method_have_their_folders_names(tmp_path):
    first, second = go(tmp_path / "one", steps=1), go(tmp_path / "two", steps=1)
    assert list(name_runs([first, second])) == ["atom", "atom:two"]
    with pytest.raises(ConfigError, match="two runs are called atom; give each once"):
        name_runs([go(steps=1), go(steps=1)])
    with pytest.raises(ConfigError, match="give one or more distilled runs"):
        name_runs([])


def test_proxies_are_all_there_are_or_those_that_are_named():
    runs = {"dm": go(method="dm", steps=1)}
    assert proxy_names([], runs) == ["random", "dm", "early-stop", "whole"]
    assert proxy_names(["whole", "dm", "dm"], runs) == ["whole", "dm"]
    with pytest.raises(ConfigError, match="there is no proxy 'atom': known are random, dm, early-stop, whole"):
        proxy_names(["atom"], runs)


def test_runs_of_several_sizes_have_no_random_set_as_large_as_they(tmp_path):
    runs = [go(data=DATA, steps=1), go(data=DATA, method="dm", ipc=2, steps=1)]
    with pytest.raises(ConfigError, match=r"random .*3 and 6 images"):
        search_architectures(runs, DATA, [Candidate()], SHORT, out=tmp_path)


def test_a_search_whose_trials_all_fail_is_an_error(tmp_path, capsys):
    def raises(*_):
        raise RuntimeError("no")

    with pytest.raises(AtomError, match="all 4 trials failed; the first: RuntimeError: no"):
        search_architectures([go(data=DATA, steps=1)], DATA, [Candidate("own", builder=raises)], SHORT, out=tmp_path)
    assert "own on random failed: RuntimeError: no" in capsys.readouterr().err


def test_a_name_that_is_not_known_is_not_taken_for_one_that_does_not_fit(tmp_path):
    with pytest.raises(UnknownNameError, match="unknown architecture 'convnett'"):
        search_architectures([go(data=DATA, steps=1)], DATA, [Candidate("convnett")], SHORT, out=tmp_path)


def test_nothing_that_fits_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"no architecture of the space fits the images; .*depth 5"):
        search_architectures(
            [go(data=DATA, steps=1)], DATA, [Candidate("convnet", NetworkShape(depth=5))], SHORT, out=tmp_path
        )


def test_ctrl_c_keeps_what_is_finished_and_says_how_to_continue(tmp_path, monkeypatch):
    run, candidates = go(data=DATA, steps=1), [Candidate("convnet", NetworkShape(width=width)) for width in (2, 4)]
    real, calls = InProcess.run, []

    def pressed(self, trials):
        for done in real(self, trials):
            yield done
            calls.append(done)
            if len(calls) == 3:
                raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(InProcess, "run", pressed)
        with pytest.raises(InterruptedRunError, match=r"3 finished trials are kept\. Run the same search again"):
            search_architectures([run], DATA, candidates, SHORT, out=tmp_path, show_progress=False)
    assert (tmp_path / "trials.csv").read_text().count("\n") == 1 + 3
    search = search_architectures([run], DATA, candidates, SHORT, out=tmp_path, show_progress=False)
    assert len(search.outcomes) == 8


def test_a_folder_that_cannot_be_made_is_refused_before_anything_runs(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ConfigError, match=r"file.* cannot be written .*another place with `out`"):
        search_architectures([go(data=DATA, steps=1)], DATA, [Candidate()], SHORT, out=tmp_path / "file")


def test_a_run_given_twice_is_refused(tmp_path):
    go(tmp_path / "run", data=DATA, steps=1)
    run = DistilledDataset.load(tmp_path / "run")
    with pytest.raises(ConfigError, match="is given twice"):
        search_architectures([run, run], DATA, [Candidate()], SHORT, out=tmp_path / "out")


@pytest.mark.parametrize("wrong", [{"holdout": 0.0}, {"holdout": 2.0}, {"seed": -1}, {"epochs": 0}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ConfigError, match="must be"):
        SearchSettings(**wrong)


def test_a_network_of_the_wrong_number_of_logits_fails_with_the_reason(tmp_path):
    def build(image_shape, num_classes, shape):
        return build_model("convnet", image_shape, num_classes + 7, shape)

    candidates = [
        Candidate("seventeen", NetworkShape(width=8, depth=1), build),
        Candidate("convnet", NetworkShape(width=8)),
    ]
    search = search_architectures([go(data=DATA, steps=1)], DATA, candidates, SHORT, out=tmp_path)
    failures = {one.failure for one in search.outcomes if one.architecture.startswith("seventeen")}
    assert all("logits must be" in failure for failure in failures)
    assert any(one.accuracy is not None for one in search.outcomes)


@pytest.mark.parametrize("name", ["search.md", "trials.csv"])
def test_files_of_the_users_are_not_written_over(tmp_path, name):
    (tmp_path / name).write_text("my own notes")
    with pytest.raises(ArtifactError, match=f"{name} is not of a search that was begun here; move it away"):
        search_architectures([go(data=DATA, steps=1)], DATA, [Candidate()], SHORT, out=tmp_path)
    assert (tmp_path / name).read_text() == "my own notes"
