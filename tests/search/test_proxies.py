"""What each proxy trains a network on, and how the real images are split."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from atom_distill.base.errors import ConfigError
from atom_distill.base.network_shape import NetworkShape
from atom_distill.config.training_protocol import PROTOCOLS
from atom_distill.data.dataset import Split
from atom_distill.search.proxies import (
    distilled_proxy,
    early_stop_proxy,
    make_proxy,
    make_search_data,
    random_proxy,
    whole_proxy,
)
from atom_distill.search.space import Candidate
from atom_distill.search.trials import Trial, run_trial
from atom_distill.training.networks import OneNetwork
from distillation.toys import go, toy_dataset

CPU = torch.device("cpu")


def seen(proxy, data, seed: int = 0):
    images = proxy.training_images(data, seed, CPU)
    return images.batch(torch.arange(len(images)))


def test_the_real_images_are_split_and_none_is_in_two_parts(data):
    train, held = ({image.numpy().tobytes() for image in split.images} for split in (data.real.train, data.real.test))
    assert (len(train), len(held), len(data.test)) == (48, 12, 30)
    assert not train & held
    assert torch.bincount(data.real.test.labels).tolist() == [4, 4, 4]


def test_random_images_are_of_the_training_part_and_one_draw_for_all(data):
    proxy = random_proxy((2, 2, 2), data)
    images, labels = seen(proxy, data)
    assert labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert proxy.images == 6
    known = data.preprocessing.apply(data.real.train.images)
    assert all(any(torch.equal(image, other) for other in known) for image in images)
    assert torch.equal(seen(proxy, data)[0], images)
    assert not torch.equal(seen(proxy, data, seed=1)[0], images)


def test_random_images_are_stored_in_the_form_of_the_runs(data):
    whole = toy_dataset((20, 20, 20), test_per_class=10)
    tiles = go(data=whole, method="dm", ipc=2, steps=1, parameterization="tiles-2", bits=4)
    like = make_search_data(whole, {"dm": tiles}, holdout=0.2, seed=0)
    assert like.distilled["dm"].per_class == (8, 8, 8)
    found, plain = seen(random_proxy((8, 8, 8), like), like)[0], seen(random_proxy((8, 8, 8), data), data)[0]
    halves = torch.nn.functional.avg_pool2d(plain, 2)
    steps = tiles.parameterization.steps["images"]
    counts = halves / steps  # one step for each channel
    grown = torch.nn.functional.interpolate((counts.round() * steps), scale_factor=2, mode="bilinear")
    assert (found - grown).abs().max() < 1e-4
    assert random_proxy((8, 8, 8), like).identity != random_proxy((8, 8, 8), data).identity == "random 8"


def test_runs_of_two_forms_leave_the_form_of_random_images_open():
    dataset = toy_dataset()
    runs = {"a": go(data=dataset, steps=1, ipc=4), "b": go(data=dataset, steps=1, ipc=1, parameterization="tiles-2")}
    data = make_search_data(dataset, runs, holdout=0.2, seed=0)
    with pytest.raises(ConfigError, match=r"stored as pixels and as tiles-2.*: use runs of one form"):
        make_proxy("random", data, epochs=2, batch_size=5)
    assert make_proxy("early-stop", data, epochs=2, batch_size=5).updates == 6


def test_a_distilled_proxy_is_its_images_and_named_by_their_content(data):
    proxy = distilled_proxy("dm", data)
    assert torch.equal(seen(proxy, data)[0], data.distilled["dm"].images)
    other = replace(data, distilled={"dm": replace(data.distilled["dm"], images=data.distilled["dm"].images + 1)})
    assert distilled_proxy("dm", other).identity != proxy.identity
    assert distilled_proxy("dm", data) == proxy


def watched_training(data, monkeypatch, proxy, *, epochs: int) -> list[torch.Tensor]:
    """The images of every batch that a network was trained on."""
    batches: list[torch.Tensor] = []
    loss = OneNetwork.loss

    def watched(self: OneNetwork, images: torch.Tensor, *rest: Any) -> torch.Tensor:
        batches.append(images)
        return loss(self, images, *rest)

    protocol = PROTOCOLS.get("search").changed(epochs=epochs, batch_size=20)
    trial = Trial(Candidate("convnet", NetworkShape(1, 4)), proxy, protocol, 0)
    with monkeypatch.context() as patch:
        patch.setattr(OneNetwork, "loss", watched)
        done = run_trial(trial, data, "cpu", threads=1)
    assert done.failure is None
    return batches


@pytest.mark.parametrize("updates", [2, 3, 4, 7])
def test_early_stopping_is_the_beginning_of_training_on_the_whole_set(data, monkeypatch, updates):
    whole = watched_training(data, monkeypatch, whole_proxy(data), epochs=2)
    stopped = watched_training(data, monkeypatch, early_stop_proxy(updates, data), epochs=2)
    assert [batch.shape[1] for batch in whole] == [20, 20, 8] * 2
    assert len(stopped) == min(updates, 6)
    assert all(torch.equal(mine, its) for mine, its in zip(stopped, whole, strict=False))


def test_the_whole_leaves_out_what_is_held_out(data):
    assert len(seen(whole_proxy(data), data)[1]) == 48 == whole_proxy(data).images


def test_runs_that_do_not_belong_together_are_refused():
    dataset = toy_dataset()
    run = go(data=dataset, steps=1)
    with pytest.raises(ConfigError, match="the run other was not distilled from toy"):
        make_search_data(dataset, {"other": go(data=toy_dataset((9, 9)), steps=1)}, holdout=0.2, seed=0)
    whitened = go(data=dataset, steps=1, preprocess="zca")
    with pytest.raises(ConfigError, match=r"differ in preprocessing \(a normalize, b zca\)"):
        make_search_data(dataset, {"a": run, "b": whitened}, holdout=0.2, seed=0)


def test_more_random_images_than_are_left_are_refused(data):
    with pytest.raises(ConfigError, match=r"ipc 17 is more than the 16 training images .* or hold fewer out"):
        random_proxy((17, 17, 17), data)


def test_architectures_are_validated_on_held_out_images_and_only_the_whole_is_tested():
    """The labels of the test split are others here: who learned the training images is wrong there."""
    whole = toy_dataset((40, 40, 40), test_per_class=20)
    misled = replace(whole, test=Split(whole.test.images, (whole.test.labels + 1) % 3))
    data = make_search_data(misled, {"dm": go(data=whole, method="dm", ipc=2, steps=1)}, holdout=0.2, seed=0)
    protocol = PROTOCOLS.get("search").changed(epochs=30, batch_size=16, augment="none")
    done = [
        run_trial(Trial(Candidate("convnet", NetworkShape(2, 8)), proxy, protocol, 0), data, "cpu", threads=1)
        for proxy in (random_proxy((10, 10, 10), data), whole_proxy(data))
    ]
    assert [outcome.accuracy > 80 for outcome in done] == [True, True]
    assert (done[0].test_accuracy, done[1].test_accuracy < 20) == (None, True)
