"""Each seam carries a second implementation through a whole life: distill, stop, resume, evaluate, report, export."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

import atom_distill as ad
from atom_distill.artifact.snapshots import load_snapshots
from atom_distill.base.errors import InterruptedRunError, UnknownNameError
from atom_distill.config.training_protocol import PROTOCOLS
from atom_distill.distillation.run_state import load_newest_checkpoint
from atom_distill.models.registry import MODELS
from atom_distill.report.html_page import make_report
from distillation import seams
from distillation.toys import go, losses, toy_dataset

HERE = "distillation.seams"
SEAMS = {
    "stored form": {"parameterization": f"{HERE}:HalfResolution"},
    "stored form, adam, average": {
        "parameterization": f"{HERE}:HalfResolution",
        "image_optimizer": "adam",
        "image_average": 0.5,
    },
    "network source": {"networks": f"{HERE}:Alternating", "norm": "batch"},
    "network source, low precision": {"networks": f"{HERE}:Alternating", "norm": "batch", "real_dtype": "bfloat16"},
    "labeled loss": {"method": f"{HERE}:LABELED", "cross_entropy": 3.0},
    "token layer": {"method": f"{HERE}:TOKENS", "arch": "tokens", "width": None, "image_lr": 0.01},
}
DATA = toy_dataset((9, 9, 9), shape=(3, 8, 8))


@pytest.fixture(autouse=True)
def _tokens_are_an_architecture(monkeypatch):
    def build(image_shape, num_classes, shape):
        shape.allow("tokens")
        return seams.Tokens(*image_shape, num_classes)

    monkeypatch.setitem(MODELS._entries, "tokens", build)


def test_tiles_are_distilled():
    initial, tiny = (go(data=DATA, parameterization="tiles-2", **more) for more in ({"method": "random"}, {"steps": 2}))
    assert len(tiny) == 3 * 4
    assert tiny.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert tiny.stored["images"].shape == (3, 3, 8, 8)
    assert not torch.equal(tiny.stored["images"], initial.stored["images"])


@pytest.mark.parametrize("name", SEAMS)
def test_a_seam_lives_a_whole_life(name, tmp_path, stop_at):
    settings = {"data": DATA, **SEAMS[name]}
    whole = go(tmp_path / "whole", **settings)
    initial = go(data=DATA, method="random", parameterization=whole.settings["parameterization"])
    stop_at(5)
    with pytest.raises(InterruptedRunError):
        go(tmp_path / "run", **settings)
    stop_at(0)
    resumed = go(tmp_path / "run", resume=True, **settings)
    for key, values in whole.stored.items():
        assert torch.equal(values, resumed.stored[key]), key
        assert not torch.equal(values, initial.stored[key]), key
    assert losses(tmp_path / "run") == losses(tmp_path / "whole")
    loaded = ad.DistilledDataset.load(tmp_path / "run")
    assert torch.equal(loaded.images, whole.images)
    assert torch.equal(loaded.labels, whole.labels)
    arch = SEAMS[name].get("arch", "convnet")
    protocol = PROTOCOLS.get("dm").changed(epochs=2, lr=1e-4)
    score = ad.evaluate(loaded, DATA, arch, 1, protocol, device="cpu", show_progress=False)
    assert score.images == len(whole)
    exported = ad.export_distilled(loaded, "npz", tmp_path / "set.npz")
    assert np.array_equal(np.load(exported.path)["images"], whole.images.numpy())
    page = make_report([tmp_path / "run"]).html
    assert "run" in page


def test_rows_and_images_are_counted_apart(tmp_path):
    made = go(tmp_path / "run", data=DATA, ipc=2, parameterization=f"{HERE}:HalfResolution")
    assert {name: values.shape for name, values in made.stored.items()} == {
        "small": (6, 4, 3, 4, 4),
        "brightness": (6,),
    }
    assert made.images.shape == (24, 3, 8, 8)
    assert made.labels.tolist() == [0] * 8 + [1] * 8 + [2] * 8
    assert (len(made), made.ipc) == (24, 8)
    assert load_newest_checkpoint(tmp_path / "run").images_per_class.tolist() == [8, 8, 8]
    assert len(load_snapshots(tmp_path / "run").rows) == 24
    assert load_file(tmp_path / "run" / "distilled.safetensors")["small"].shape == (6, 4, 3, 4, 4)


def test_the_gradient_of_stored_values_is_that_of_the_decoded_images():
    """With SGD, one step moves the stored values by the transposed decoder applied to the images' gradient."""
    plain = {"steps": 1, "image_momentum": 0.0, "image_lr": 1e-3, "augment": "none", "real_dtype": "float32"}
    made = go(data=DATA, parameterization=f"{HERE}:HalfResolution", **plain)
    start = go(data=DATA, method="random", parameterization=f"{HERE}:HalfResolution")
    leaves = {name: values.double().requires_grad_() for name, values in start.stored.items()}
    images = start.parameterization.decode(leaves)
    # The same images as plain pixels, from the same start: their step is their gradient.
    pixels = {"images": images.detach().float()}
    moved = _one_step_of(pixels, plain) - pixels["images"]
    images.backward(-moved.double() / plain["image_lr"])
    for name, leaf in leaves.items():
        expected = leaf.detach() - plain["image_lr"] * leaf.grad
        torch.testing.assert_close(made.stored[name].double(), expected, rtol=1e-4, atol=1e-6)


def _one_step_of(pixels, plain):
    """Distill for one step from given images, through a stored form that begins with them."""
    from atom_distill.ops import parameterization as module

    class Given(module.Pixels):
        images_per_row = 1

        def encode(self, images):
            return {"images": pixels["images"].clone() if len(images) == len(pixels["images"]) else images}

    module.PARAMETERIZATIONS.register("given")(Given)
    try:
        return go(data=DATA, ipc=4, parameterization="given", **plain).images
    finally:
        module.PARAMETERIZATIONS._entries.pop("given")


def test_the_labeled_loss_is_what_its_formula_says():
    plain = {"augment": "none", "real_dtype": "float32", "steps": 1, "ipc": 2}
    with_loss = go(data=DATA, method=f"{HERE}:LABELED", cross_entropy=3.0, **plain)
    without = go(data=DATA, method=f"{HERE}:LABELED", cross_entropy=0.0, **plain)
    terms = with_loss.history[0]["terms"]
    assert terms["embedding"] == pytest.approx(without.history[0]["terms"]["embedding"], rel=1e-5)
    start = go(data=DATA, method="random", ipc=2)
    network = _network_of_step(0)
    logits = network(start.images).double()
    expected = sum(
        3.0 * F.cross_entropy(logits[start.labels == label], start.labels[start.labels == label]) for label in range(3)
    )
    assert terms["cross-entropy"] == pytest.approx(float(expected), rel=1e-4)
    assert with_loss.history[0]["loss"] == pytest.approx(sum(terms.values()), rel=1e-5)


def _network_of_step(step):
    from atom_distill.base.network_shape import NetworkShape
    from atom_distill.distillation.network_sources import FreshNetworks

    network = ad.build_model("convnet", (3, 8, 8), 3, NetworkShape(width=8))
    FreshNetworks(0).load(network, step)
    return network.requires_grad_(False)


def test_the_labels_of_a_rank_are_those_of_its_classes():
    """Rank 1 of 2 has class 1 alone; its images must be taught label 1, and not its first class's number, 0."""
    from atom_distill.distillation.planning import plan_run
    from atom_distill.processes.ranks import Ranks

    seen = []
    plan = plan_run(DATA, {"ipc": 2, "method": f"{HERE}:LABELED", "compile": "off", "device": "cpu"}, ranks=Ranks())
    from dataclasses import replace

    from atom_distill.data.fit_preprocessing import fit_preprocessing
    from atom_distill.distillation.encoder import Encoder
    from atom_distill.distillation.optimize import real_images
    from atom_distill.distillation.shard import Shard
    from atom_distill.distillation.step import MatchingStep
    from atom_distill.distillation.step_draws import StepDraws
    from atom_distill.ops.matching import ImageLoss, Objective, Statistic

    def remember(features, labels):
        seen.append(labels.tolist())
        return [ImageLoss(features.embedding.sum(1) * 0)]

    objective = Objective(lambda features: [Statistic(features.embedding)], remember)
    shard = Shard(Ranks(1, 2), plan.rows_per_class)
    plan = replace(plan, shard=shard)
    step = MatchingStep(
        draws=StepDraws(shard, real_images(plan, fit_preprocessing("normalize", DATA)), operations=(), seed=0),
        encoder=Encoder(plan.network, objective, plan.source, plan.execution),
        parameterization=plan.parameterization,
        chunk=64,
    )
    step({"images": torch.zeros(2, 3, 8, 8, requires_grad=True)}, 0)
    assert seen[-1] == [1, 1]


def test_buffers_reach_the_low_precision_twin():
    from atom_distill.base.network_shape import NetworkShape
    from atom_distill.distillation.encoder import Encoder
    from atom_distill.distillation.matching_execution import MatchingExecution
    from atom_distill.distillation.network_sources import NetworkSource

    class Marked(NetworkSource):
        def load(self, network, step):
            for buffer in network.buffers():
                buffer.fill_(step + 2)
            network.eval()

    network = ad.build_model("convnet", (3, 8, 8), 3, NetworkShape(width=8, norm="batch"))
    execution = MatchingExecution(torch.device("cpu"), torch.bfloat16, compiled=False, chunk=8)
    encoder = Encoder(network, seams.LABELED.objective(seams.LabeledSettings()), Marked(0), execution)
    encoder.load(3)
    assert all(bool((buffer == 5).all()) for buffer in encoder._twins[torch.bfloat16].buffers())
    assert not encoder._twins[torch.bfloat16].training


@pytest.mark.parametrize("setting", ["parameterization", "networks", "method"])
@pytest.mark.parametrize("name", ["nothing", "distillation.seams:nothing", "no.such.module:x"])
def test_what_cannot_be_found_is_named(setting, name):
    with pytest.raises(UnknownNameError, match=name):
        go(data=DATA, **{setting: name})


def test_a_method_of_another_kind_is_refused():
    with pytest.raises(UnknownNameError, match="no method"):
        go(data=DATA, method=f"{HERE}:HalfResolution")
