"""Real images of a step that are drawn from clusters of each class."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.base.errors import InterruptedRunError
from atom_distill.base.seeding import generator
from atom_distill.data.fit_preprocessing import fit_preprocessing
from atom_distill.distillation.real_clusters import RealClusters
from atom_distill.distillation.sampler import ClassSampler
from atom_distill.ops.coresets import central_parts
from atom_distill.training import reference_network
from distillation.toys import go, losses, toy_dataset

DATA = toy_dataset((24, 5, 30))
BATCH = 6
CLUSTERED = {"real_batches": "k-means", "batch_real": 4, "pool": 1, "pool_epochs": 1}


def blobs(indices: torch.Tensor) -> torch.Tensor:
    """Embeddings [n, 2] in as many well separated groups as a batch has images: by the remainder of the index."""
    noise = torch.rand(1000, 2, generator=torch.Generator().manual_seed(0))[indices]
    return torch.stack([100.0 * (indices % BATCH), torch.zeros(len(indices))], 1) + noise


def test_parts_are_the_half_of_each_cluster_nearest_to_its_mean():
    rows = blobs(torch.arange(31))
    parts = central_parts(rows, BATCH, seed=3)
    points = rows.double().numpy()
    wanted = []
    for group in range(BATCH):
        members = [index for index in range(31) if index % BATCH == group]
        middle = sum(points[index] for index in members) / len(members)
        ranked = sorted(members, key=lambda index: ((points[index] - middle) ** 2).sum())
        wanted.append(ranked[: int(np.ceil(len(ranked) / 2))])
    assert sorted(part.tolist() for part in parts) == sorted(wanted)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_duplicates_leave_no_cluster_without_an_image():
    parts = central_parts(torch.ones(9, 3), 4, seed=0)
    assert len(parts) == 4
    assert all(len(part) for part in parts)


def sampler(classes=None) -> ClassSampler:
    clusters = RealClusters.of(DATA, blobs, BATCH, seed=0)
    clusters = RealClusters.from_tensors(clusters.tensors())
    preprocessing = fit_preprocessing("normalize", DATA)
    return ClassSampler(DATA, preprocessing, BATCH, torch.device("cpu"), classes=classes, clusters=clusters)


def test_a_step_has_an_image_of_each_cluster():
    drawn = sampler()
    found = [drawn.draw(generator(0, "real", step)) for step in range(60)]
    sizes = DATA.class_sizes().clamp_max(BATCH).tolist()
    for chosen in found:
        of_classes = chosen.split(sizes)
        for label, (indices, of_class) in enumerate(zip(DATA.class_indices(), of_classes, strict=True)):
            assert (DATA.train.labels[of_class] == label).all()
            if len(indices) > BATCH:  # the groups are those of the blobs; the others have one image each
                assert sorted((of_class % BATCH).tolist()) == list(range(BATCH))
            else:
                assert sorted(of_class.tolist()) == sorted(indices.tolist())
    candidates = set(drawn._clusters.images.tolist())
    assert set(torch.cat(found).tolist()) == candidates
    assert not torch.equal(found[0], found[1])
    assert torch.equal(found[5], sampler().draw(generator(0, "real", 5)))


def test_which_classes_a_process_has_changes_no_draw():
    whole = sampler().draw(generator(7, "real", 2)).split(DATA.class_sizes().clamp_max(BATCH).tolist())
    first, rest = sampler(torch.tensor([0])), sampler(torch.tensor([1, 2]))
    assert torch.equal(first.draw(generator(7, "real", 2)), whole[0])
    assert torch.equal(rest.draw(generator(7, "real", 2)), torch.cat(whole[1:]))


def test_a_run_resumes_bit_for_bit_with_the_clusters_that_it_has(tmp_path, stop_at, monkeypatch):
    whole = go(tmp_path / "whole", **CLUSTERED)
    stop_at(3)
    with pytest.raises(InterruptedRunError):
        go(tmp_path / "run", **CLUSTERED)
    stop_at(0)
    monkeypatch.setattr(RealClusters, "of", None)  # another machine could make others
    assert torch.equal(go(tmp_path / "run", resume=True, **CLUSTERED).images, whole.images)
    assert losses(tmp_path / "run") == losses(tmp_path / "whole")
    assert torch.equal(DistilledDataset.load(tmp_path / "run").images, whole.images)


def test_without_a_pool_one_network_serves_batches_and_initial_images(monkeypatch):
    trained = []
    train = reference_network._train
    monkeypatch.setattr(reference_network, "_train", lambda *args, **more: trained.append(1) or train(*args, **more))
    go(**{**CLUSTERED, "pool": 0, "init": "k-means"})
    assert trained == [1]


def test_other_batches_make_other_images_and_selections_have_no_use_for_them(capsys):
    assert not torch.equal(go(**CLUSTERED).images, go(batch_real=4).images)
    go(method="random", real_batches="k-means")
    assert "real_batches" in capsys.readouterr().err
