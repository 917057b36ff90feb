"""Pools of trained networks: what is trained, kept, resumed and loaded."""

from __future__ import annotations

import signal
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from atom_distill.base.cache_folder import cache_root
from atom_distill.base.errors import CacheError, InterruptedRunError, NonFiniteError
from atom_distill.base.network_shape import NetworkShape
from atom_distill.config.training_protocol import PROTOCOLS
from atom_distill.training import pool as module
from atom_distill.training import training_execution
from atom_distill.training.networks import OneNetwork
from atom_distill.training.pool import Pool, PoolRecipe
from atom_distill.training.pool_file import Trajectory, read_trajectory
from atom_distill.training.train import train
from atom_distill.training.training_execution import TrainingExecution
from atom_distill.training.training_images import Pixels
from distillation.toys import go, toy_dataset
from training.pools import CPU, DATA, PREPROCESSING, RECIPE, RUN, assert_same, files, initial, trained_pool, weights


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_snapshots_are_the_weights_after_each_epoch_of_a_plain_training(norm):
    recipe = replace(RECIPE, shape=replace(RECIPE.shape, norm=norm))
    pool = trained_pool(recipe)
    network, snapshots = pool.new_network(), []
    execution = TrainingExecution(CPU, torch.float32, compiled=False, at_once=1)
    train(
        OneNetwork(network, execution),
        [Pixels(DATA.train, PREPROCESSING, CPU)],
        recipe.protocol,
        seed=module._SEED,
        repeats=[1],
        on_epoch=lambda: snapshots.append({name: v.clone() for name, v in network.state_dict().items()}),
    )
    assert len(snapshots) == 4
    for epoch, expected in enumerate(snapshots):
        assert_same(weights(pool, 1, epoch), expected)
    assert not torch.equal(snapshots[-1]["classifier.weight"], snapshots[0]["classifier.weight"])


def test_a_network_depends_neither_on_the_number_of_networks_nor_on_what_is_left_to_defaults():
    alone = weights(trained_pool(replace(RECIPE, networks=1)), 0, 3)
    assert len(files()) == 1
    assert_same(weights(trained_pool(), 0, 3), alone)
    assert len(files()) == 2


def test_precision_and_compiling_are_chosen_for_one_network_however_many_there_are(monkeypatch):
    """At a length from which two networks together would pay for compiling, and one does not."""
    pixels = []
    plan = training_execution.ExecutionOptions.plan

    def watched(self, device, **given):
        pixels.append(given["pixels"])
        return plan(self, device, **given)

    monkeypatch.setattr(training_execution.ExecutionOptions, "plan", watched)
    for networks in (1, 2):
        trained_pool(replace(RECIPE, networks=networks, epochs=networks))  # the second anew
    # Of one network; and of all, which decide only over how many cores they are spread.
    assert pixels == [len(DATA.train) * 64 * epochs for epochs in (1, 1, 2, 4)]


def test_what_is_cached_is_not_trained_again(monkeypatch):
    assert Pool(RECIPE, DATA).count_cached() == 0
    trained_pool()
    monkeypatch.setattr(module, "train", lambda *_, **__: pytest.fail("trained again"))
    assert trained_pool().count_cached() == 2
    assert trained_pool(replace(RECIPE, networks=1)).count_cached() == 1
    assert Pool(replace(RECIPE, epochs=5), DATA).count_cached() == 0
    assert Pool(replace(RECIPE, preprocess="zca"), DATA).count_cached() == 0
    assert Pool(RECIPE, toy_dataset((61, 60, 60))).count_cached() == 0


@pytest.mark.parametrize(("last", "trained_by"), [(1, "pool"), (2, "pool"), (5, "pool"), (3, "pool-vit")])
def test_a_stopped_training_continues_bit_for_bit(last, trained_by, monkeypatch):
    recipe = replace(RECIPE, trained_by=trained_by)
    trained_pool(recipe)
    whole = files()
    for path in cache_root().glob("pools/*/*.safetensors"):
        path.unlink()
    epochs, accuracy = [], module._accuracy

    def press(*arguments: Any) -> float:
        epochs.append(1)
        if len(epochs) == last - 1:  # Ctrl-C is seen after the next epoch, or at once where it is the first
            signal.raise_signal(signal.SIGINT)
        return accuracy(*arguments)

    class Pressed(module.StopRequest):
        def __enter__(self):
            super().__enter__()
            if last == 1:
                signal.raise_signal(signal.SIGINT)
            return self

    with monkeypatch.context() as patch:
        patch.setattr(module, "_accuracy", press)
        patch.setattr(module, "StopRequest", Pressed)
        with pytest.raises(InterruptedRunError, match=r"network [12] of the pool, which is kept"):
            trained_pool(recipe)
    assert len(epochs) == last
    kept = files()
    assert len(kept[f"{(last - 1) // 4}.safetensors"]["weights.classifier.weight"]) == (last - 1) % 4 + 1
    assert Pool(recipe, DATA).count_cached() == (last - 1) // 4
    trained_pool(recipe)
    again = files()
    assert again.keys() == whole.keys()
    for name, tensors in again.items():
        assert_same(tensors, whole[name])


def test_the_seconds_of_all_trainings_are_kept_with_the_networks(monkeypatch):
    now = iter(range(0, 10_000, 100))
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: float(next(now))))
    monkeypatch.setattr(module, "_SECONDS_BETWEEN_SAVES", 1e9)
    # A network asks for the time at its beginning, after each of 4 epochs but the last, and when it is saved.
    assert trained_pool().seconds() == 2 * 400
    assert Pool(RECIPE, DATA).seconds() == 800
    assert Pool(replace(RECIPE, networks=1), DATA).seconds() == 400


def test_a_stopped_training_keeps_its_seconds():
    path = cache_root() / "network.safetensors"
    network = Pool(RECIPE, DATA).new_network()
    trajectory = Trajectory(seconds=12.34)
    trajectory.add(network)
    trajectory.write(path, finished=False)
    assert read_trajectory(path, network).seconds == 12.3


def test_networks_of_earlier_versions_have_no_seconds():
    trained_pool()
    (path,) = cache_root().glob("pools/*/1.safetensors")
    save_file({name: values.clone() for name, values in load_file(path).items()}, path)
    assert trained_pool().count_cached() == 2
    assert Pool(RECIPE, DATA).seconds() is None


def test_every_epoch_can_be_kept(monkeypatch):
    monkeypatch.setattr(module, "_SECONDS_BETWEEN_SAVES", 0.0)
    kept = []
    accuracy = module._accuracy

    def look(*arguments: Any) -> float:
        kept.append({len(tensors["weights.classifier.weight"]) for tensors in files().values()})
        return accuracy(*arguments)

    monkeypatch.setattr(module, "_accuracy", look)
    trained_pool(replace(RECIPE, networks=1))
    assert kept == [{1}, {2}, {3}, {4}]


def test_a_network_that_another_run_has_finished_is_not_replaced_by_an_unfinished_one(monkeypatch):
    one = replace(RECIPE, networks=1)
    trained_pool(one)
    (path,) = cache_root().glob("pools/*/*.safetensors")
    whole, finished, accuracy = path.read_bytes(), [], module._accuracy
    path.unlink()

    def finish(*arguments: Any) -> float:
        finished.append(module.is_finished(path, 4))
        path.write_bytes(whole)
        return accuracy(*arguments)

    monkeypatch.setattr(module, "_SECONDS_BETWEEN_SAVES", 0.0)
    monkeypatch.setattr(module, "_accuracy", finish)
    trained_pool(one)
    assert finished == [False, True, True, True]


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_interpolation_is_a_point_on_the_line_between_initial_and_trained_weights(share):
    pool, begin = trained_pool(), initial(1)
    end, found = weights(pool, 1, 2), weights(pool, 1, 2, share)
    assert not torch.equal(begin["classifier.weight"], end["classifier.weight"])
    for name, values in found.items():
        expected = (1 - share) * begin[name].double() + share * end[name].double()
        torch.testing.assert_close(values.double(), expected, rtol=1e-6, atol=1e-7)


def test_late_snapshots_are_of_the_last_third():
    late = {epochs: [*Pool(replace(RECIPE, epochs=epochs), DATA).late_epochs] for epochs in (1, 2, 5, 6, 10)}
    assert late == {1: [0], 2: [1], 5: [4], 6: [4, 5], 10: [7, 8, 9]}


def test_trained_networks_know_the_classes():
    pool = trained_pool(replace(RECIPE, epochs=12))
    network = pool.new_network().eval()
    images, labels = Pixels(DATA.test, PREPROCESSING, CPU).batch(torch.arange(len(DATA.test)))
    for number in range(2):
        pool.load(network, number, 11)
        assert float((network(images).argmax(1) == labels).float().mean()) > 0.9


@pytest.mark.parametrize("content", [b"half", b""])
def test_a_damaged_file_is_noted_and_made_again(content, capsys):
    trained_pool()
    whole = files()
    (path,) = cache_root().glob("pools/*/1.safetensors")
    path.write_bytes(content)
    assert Pool(RECIPE, DATA).count_cached() == 1
    trained_pool()
    assert "damaged; training it again" in capsys.readouterr().err
    assert_same(files()["1.safetensors"], whole["1.safetensors"])


def _change_one_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 16
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [_change_one_bit, lambda path: path.write_bytes(path.read_bytes()[:-100])])
def test_a_run_notices_damage_on_the_disk_and_is_that_of_an_undamaged_pool(damage, capsys):
    data, settings = toy_dataset((20, 20, 20)), {**RUN, "pool": 2, "pool_epochs": 2, "steps": 3}
    whole = go(data=data, **settings)
    kept = files()
    (path,) = cache_root().glob("pools/*/1.safetensors")
    damage(path)
    capsys.readouterr()
    assert torch.equal(go(data=data, **settings).images, whole.images)
    told = [line for line in capsys.readouterr().err.splitlines() if "damaged" in line]
    assert len(told) == 1
    assert f"{path} is damaged; training it again" in told[0]
    for name, tensors in files().items():
        assert_same(tensors, kept[name])
    go(data=data, **settings)
    assert "damaged" not in capsys.readouterr().err


def test_a_damaged_file_of_a_stopped_training_begins_anew(monkeypatch, capsys):
    monkeypatch.setattr(module, "_SECONDS_BETWEEN_SAVES", 0.0)
    kept = files() if trained_pool() else {}
    (path,) = cache_root().glob("pools/*/0.safetensors")
    network = Pool(RECIPE, DATA).new_network()
    half = read_trajectory(path, network)
    half.snapshots = half.snapshots[:2]
    half.write(path, finished=False)
    _change_one_bit(path)
    trained_pool()
    assert "damaged" in capsys.readouterr().err
    assert_same(files()["0.safetensors"], kept["0.safetensors"])


def test_a_stopped_training_of_an_earlier_version_continues_with_its_momenta(monkeypatch):
    """There, the momenta of SGD were numbered."""
    recipe = replace(RECIPE, networks=1)
    whole = weights(trained_pool(recipe), 0, 3)
    (path,) = cache_root().glob("pools/*/0.safetensors")
    path.unlink()
    presses = [signal.SIGINT]  # once: a second Ctrl-C would stop at once

    def press(*_: Any) -> None:
        while presses:
            signal.raise_signal(presses.pop())

    with monkeypatch.context() as patch:
        patch.setattr(module, "_accuracy", press)
        with pytest.raises(InterruptedRunError):
            trained_pool(recipe)
    tensors = files()["0.safetensors"]
    assert "momenta.0.momentum_buffer" in tensors
    save_file({name.removesuffix(".momentum_buffer"): values for name, values in tensors.items()}, path)
    assert_same(weights(trained_pool(recipe), 0, 3), whole)


def test_a_transformer_is_trained_by_its_own_protocol():
    shape = NetworkShape(depth=1, width=64)
    recipe = PoolRecipe(1, 20, "vit", shape, "normalize", CPU, trained_by="pool-vit")
    assert (recipe.protocol.optimizer, recipe.protocol.epochs) == ("adamw", 20)
    pool = trained_pool(recipe)
    network = pool.new_network()
    images = Pixels(DATA.train, PREPROCESSING, CPU)
    before = module._accuracy(network, images)
    pool.load(network, 0, 19)
    assert module._accuracy(network, images) > before + 10  # after 40 updates


def test_a_file_without_a_checksum_is_used(capsys):
    trained_pool()
    (path,) = cache_root().glob("pools/*/0.safetensors")
    tensors = {name: values.clone() for name, values in load_file(path).items()}
    save_file(tensors, path)
    content = path.read_bytes()
    trained_pool()
    assert path.read_bytes() == content
    assert capsys.readouterr().err == ""


def test_a_network_that_is_gone_is_named():
    with pytest.raises(CacheError, match="no longer in the cache"):
        Pool(RECIPE, DATA).load(Pool(RECIPE, DATA).new_network(), 0, 0)


def test_a_diverging_training_keeps_nothing(monkeypatch):
    wild = PROTOCOLS.get("pool").model_copy(update={"lr": 1e30})
    monkeypatch.setitem(PROTOCOLS._entries, "pool", wild)
    with pytest.raises(NonFiniteError, match="pool of trained networks: network 1 diverged in epoch 1"):
        trained_pool()
    assert not files()
