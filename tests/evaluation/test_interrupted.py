"""An interrupted evaluation continues: with what it found before, and from where each network was."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from atom_distill.artifact.scores import Score
from atom_distill.base.cache_folder import cache_root
from atom_distill.base.network_shape import NetworkShape
from atom_distill.base.seeding import generator
from atom_distill.base.tensors import write_tensors
from atom_distill.config.training_protocol import TrainingProtocol
from atom_distill.evaluation import interrupted
from atom_distill.evaluation.evaluate import Evaluation, scores_of
from atom_distill.evaluation.interrupted import KeptNetworks, read
from atom_distill.models.build import build_model
from atom_distill.training.networks import Networks, networks_for
from atom_distill.training.train import train
from atom_distill.training.training_execution import ExecutionOptions, TrainingExecution
from atom_distill.training.training_images import StoredTensors
from distillation.toys import go, toy_dataset

DATA = toy_dataset((12, 12, 12), test_per_class=15)
PROTOCOL = TrainingProtocol(name="quick", epochs=6, batch_size=16, lr=0.05)
ADAMW = PROTOCOL.model_copy(update={"optimizer": "adamw", "lr": 0.005, "warmup": 0.7, "schedule": "cosine"})
CPU = torch.device("cpu")


def evaluation(**changes) -> Evaluation:
    small = NetworkShape(depth=2, width=8, norm="batch")  # whose running statistics are part of where a network is
    return Evaluation(**{"shape": small, "repeats": 3, "protocol": PROTOCOL, "show_progress": False, **changes})


@pytest.fixture
def watched(monkeypatch, tmp_path):
    """Every epoch is kept; the dictionary counts epochs, and says after which one the evaluation is interrupted."""
    monkeypatch.setenv("ATOM_DATA", str(tmp_path))
    monkeypatch.setattr(interrupted, "_SECONDS_BETWEEN_SAVES", 0.0)
    told = {"epochs": 0, "after": -1}
    save = interrupted.KeptNetworks.save_if_due

    def counted(kept, networks):
        save(kept, networks)
        told["epochs"] += 1
        if told["epochs"] == told["after"]:
            raise KeyboardInterrupt

    monkeypatch.setattr(interrupted.KeptNetworks, "save_if_due", counted)
    return told


def kept() -> list[str]:
    return sorted(str(path.name) for path in (cache_root() / "evaluations").rglob("*.safetensors"))


def of_random(evaluation: Evaluation) -> Score:
    return evaluation.of_random(DATA, 1, "normalize")


def stop(told: dict[str, int], of: Evaluation, after: int, score: Callable[[Evaluation], Score] = of_random) -> None:
    told.update(epochs=0, after=after)
    with pytest.raises(KeyboardInterrupt):
        score(of)
    told.update(epochs=0, after=-1)


@pytest.mark.parametrize("protocol", [PROTOCOL, ADAMW], ids=["sgd", "adamw"])
def test_an_interrupted_evaluation_finds_what_one_at_a_stretch_does(watched, protocol):
    """To the last bit: weights, running statistics, momenta and the order of the images are those of that epoch."""
    whole = of_random(evaluation(protocol=protocol))
    assert (watched["epochs"], kept()) == (18, [])
    assert len(set(whole.runs)) > 1
    stop(watched, evaluation(protocol=protocol), after=10)
    assert kept() == ["0.safetensors", "1.safetensors"]
    assert of_random(evaluation(protocol=protocol)).runs == whole.runs
    assert (watched["epochs"], kept()) == (8, [])  # the first is not trained again, the second from its fifth epoch


@pytest.mark.parametrize("protocol", [PROTOCOL, ADAMW], ids=["sgd", "adamw"])
@pytest.mark.parametrize("count", [1, 2])
def test_a_continued_training_has_the_weights_of_an_uninterrupted_one(tmp_path, protocol, count):
    """Bit for bit, also where networks are stacked: the whole state of the optimizer is read from the file."""
    images = [StoredTensors(torch.randn(20, 3, 8, 8, generator=generator(0, "x")), torch.arange(20) % 3, CPU)] * count
    execution = TrainingExecution(CPU, torch.float32, compiled=False, at_once=count)

    def group() -> Networks:
        return networks_for(build_model("convnet", (3, 8, 8), 3, NetworkShape(width=8)), execution, count)

    def go_on(networks: Networks, kept: KeptNetworks, updates: int | None = None) -> dict[str, Tensor]:
        repeats, ended = range(count), {"updates": updates, "state": kept.state}
        train(networks, images, protocol, seed=0, repeats=repeats, on_epoch=lambda: None, **ended)
        return {name: values.clone() for name, values in networks.state().items()}

    path = tmp_path / "kept.safetensors"
    whole = go_on(group(), KeptNetworks(path, began=0.0))
    begun, first = group(), KeptNetworks(path, began=0.0)
    go_on(begun, first, updates=6)  # three epochs of two updates
    first._saved = 0.0
    first.save_if_due(begun)
    other = group()
    second = read(path, other, 0.0)
    assert second.state.epochs == 3
    keys = {name.split(".")[1] for name in second.state.optimizer}
    assert keys == ({"momentum_buffer"} if protocol is PROTOCOL else {"step", "exp_avg", "exp_avg_sq"})
    for name, values in go_on(other, second).items():
        assert torch.equal(values, whole[name]), name


def test_the_seconds_of_both_parts_count(watched):
    """The file says how long its network was trained; here, for a thousand seconds."""
    stop(watched, evaluation(repeats=1), after=3)
    (path,) = (cache_root() / "evaluations").rglob("*.safetensors")
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 (it is no mapping)
    facts = json.loads(metadata["facts"])
    assert 0 < facts["seconds"] < 60
    changed = json.dumps(facts | {"seconds": 1000})
    write_tensors(path, tensors, {"facts": changed, "crc32": str(interrupted._checksum(changed, tensors))})
    assert 1000 < of_random(evaluation(repeats=1)).seconds < 1060


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 1},
        {"protocol": PROTOCOL.model_copy(update={"lr": 0.1})},
        {"shape": NetworkShape(depth=2, width=8)},
        {"execution": ExecutionOptions(precision="bfloat16")},
    ],
)
def test_another_evaluation_begins_anew(watched, other):
    fresh = of_random(evaluation(**other)).runs
    stop(watched, evaluation(), after=10)
    assert of_random(evaluation(**other)).runs == fresh
    assert watched["epochs"] == 18
    assert kept() == ["0.safetensors", "1.safetensors"]  # of the first, which can still be continued


def test_another_architecture_begins_anew(watched):
    """Even of the same shape: what is kept of a finished network is its accuracy alone."""
    data = toy_dataset((4, 4, 4), shape=(3, 16, 16))
    convnet = evaluation(shape=NetworkShape(norm="batch"), protocol=PROTOCOL.model_copy(update={"epochs": 2}))
    stop(watched, convnet, 4, lambda of: of.of_random(data, 1, "normalize"))
    replace(convnet, arch="resnet18").of_random(data, 1, "normalize")
    assert watched["epochs"] == 6


@pytest.mark.parametrize(("data", "kind"), [(replace(DATA, fingerprint="another"), "normalize"), (DATA, "zca")])
def test_on_another_whole_set_or_with_another_transform_it_begins_anew(watched, data, kind):
    """Its images are not looked at: the fingerprint and the kind of transform must say which they are."""
    stop(watched, evaluation(), 10, lambda of: of.of_whole(DATA, "normalize"))
    evaluation().of_whole(data, kind)
    assert watched["epochs"] == 18


@pytest.mark.parametrize("settings", [{}, {"parameterization": "frequency-4", "bits": 4}])
def test_a_distilled_set_is_known_by_what_is_stored(watched, settings):
    tiny, other = (go(data=DATA, method="random", seed=seed, **settings) for seed in (0, 1))

    def score(of: Evaluation) -> Score:
        return of.of_distilled(tiny, DATA)

    whole = score(evaluation())
    stop(watched, evaluation(), 10, score)
    evaluation().of_distilled(other, DATA)
    assert watched["epochs"] == 18
    watched["epochs"] = 0
    assert score(evaluation()).runs == whole.runs
    assert watched["epochs"] == 8


def test_other_images_begin_anew(watched):
    stop(watched, evaluation(), after=10)
    evaluation().of_random(DATA, 2, "normalize")
    assert watched["epochs"] == 18
    watched["epochs"] = 0
    train = replace(DATA.train, images=DATA.train.images.clone().fill_(7))
    evaluation().of_random(replace(DATA, train=train), 1, "normalize")
    assert watched["epochs"] == 18


@pytest.mark.parametrize(("number", "epochs"), [(0, 14), (1, 12)])
def test_a_damaged_file_is_noted_and_its_network_trained_again(watched, capsys, number, epochs):
    """Of a network in training, and of one that is finished, whose accuracy is all that the file has."""
    whole = of_random(evaluation())
    stop(watched, evaluation(), after=10)
    for path in (cache_root() / "evaluations").rglob(f"{number}.safetensors"):
        content = bytearray(path.read_bytes())
        place = content.index(b"seconds") - 6 if number == 0 else len(content) - 5
        content[place] ^= 1
        path.write_bytes(content)
    assert of_random(evaluation()).runs == whole.runs
    assert watched["epochs"] == epochs
    assert f"{number}.safetensors of an interrupted evaluation is damaged" in capsys.readouterr().err


def test_networks_that_train_together_continue_together(watched, monkeypatch):
    stacked = TrainingExecution(CPU, torch.float32, compiled=False, at_once=2)  # as on a GPU
    monkeypatch.setattr(Evaluation, "_plan", lambda *_: stacked)
    together = evaluation(repeats=3)
    whole = of_random(together)
    stop(watched, together, after=4)
    assert kept() == ["0-1.safetensors"]
    assert of_random(together).runs == whole.runs
    assert watched["epochs"] == 8  # two of the first group, and six of the other


def test_a_smaller_evaluation_leaves_the_networks_of_a_larger_one(watched):
    stop(watched, evaluation(), after=14)
    of_random(evaluation(repeats=1))
    assert kept() == ["1.safetensors", "2.safetensors"]
    watched["epochs"] = 0
    of_random(evaluation())
    assert (watched["epochs"], kept()) == (6 + 4, [])


def test_what_is_kept_is_forgotten_with_all_or_after_a_month(watched):
    stop(watched, evaluation(seed=1), after=10)
    (other,) = {path.parent for path in (cache_root() / "evaluations").rglob("*") if path.is_file()}
    of_random(evaluation())
    assert len(kept()) == 2  # of the other one
    long_ago = time.time() - 31 * 24 * 3600
    os.utime(other, (long_ago, long_ago))
    of_random(evaluation())
    assert kept() == []


def test_architectures_of_a_command_are_kept_together(watched):
    """The first is finished and the second begun: both are there when the command is given again."""

    def score(of: Evaluation) -> dict[int, Score]:
        both = (of, replace(of, shape=NetworkShape(depth=1, width=8)))
        return dict(scores_of([each.begin_random(DATA, 1, "normalize") for each in both]))

    of_both = evaluation(repeats=1)
    whole = score(of_both)
    stop(watched, of_both, after=9, score=score)
    assert len(kept()) == 2
    again = score(of_both)
    assert [again[number].runs for number in (0, 1)] == [whole[number].runs for number in (0, 1)]
    assert (watched["epochs"], kept()) == (3, [])


def test_finished_networks_of_a_long_evaluation_are_kept_however_short_each_was(watched, monkeypatch):
    """Half a minute counts from the begin of the evaluation."""
    monkeypatch.setattr(interrupted, "_SECONDS_BETWEEN_SAVES", 30.0)
    clock = iter(range(10**6))
    monkeypatch.setattr(interrupted.time, "time", lambda: float(next(clock)))
    stop(watched, evaluation(repeats=10), after=50)
    assert kept()
    assert all(name != "0.safetensors" for name in kept())


def test_a_full_disk_does_not_end_an_evaluation(watched, monkeypatch, capsys):
    whole = of_random(evaluation(repeats=1))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(interrupted, "write_tensors", full)
    assert of_random(evaluation(repeats=1)).runs == whole.runs
    assert capsys.readouterr().err.count("No space left on device") == 1


def test_a_short_evaluation_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("ATOM_DATA", str(tmp_path))
    written = []
    monkeypatch.setattr(interrupted, "write_tensors", lambda *args: written.append(args))
    evaluation(repeats=1).of_whole(DATA, "normalize")
    assert written == []
