"""Small pools of trained networks, and what is in their files."""

from __future__ import annotations

import torch
from safetensors.torch import load_file
from torch import Tensor

from atom_distill.base.cache_folder import cache_root
from atom_distill.base.network_shape import NetworkShape
from atom_distill.data.fit_preprocessing import fit_preprocessing
from atom_distill.models.initialization import reinitialize
from atom_distill.processes.ranks import Ranks
from atom_distill.training import pool as module
from atom_distill.training.pool import Pool, PoolRecipe
from atom_distill.training.train import initial_generator
from distillation.toys import toy_dataset

CPU = torch.device("cpu")
DATA = toy_dataset((60, 60, 60))
RECIPE = PoolRecipe(2, 4, "convnet", NetworkShape(2, 8, "instance", "relu", "avg"), "normalize", CPU)
RUN = {"pool": 3, "pool_epochs": 4, "networks": "snapshot", "label_weight": 10.0, "init": "k-means", "depth": 2}
PREPROCESSING = fit_preprocessing("normalize", DATA)


def trained_pool(recipe: PoolRecipe = RECIPE, *, cores: int = 1) -> Pool:
    pool = Pool(recipe, DATA)
    pool.train(PREPROCESSING, Ranks(cores=cores), show_progress=False)
    return pool


def weights(pool: Pool, number: int, epoch: int, share: float = 1.0) -> dict[str, Tensor]:
    network = pool.new_network()
    pool.load(network, number, epoch, share)
    return {name: values.clone() for name, values in network.state_dict().items()}


def initial(number: int) -> dict[str, Tensor]:
    network = Pool(RECIPE, DATA).new_network()
    reinitialize(network, initial_generator(module._SEED, number))
    return network.state_dict()


def files() -> dict[str, dict[str, Tensor]]:
    found = {path.name: load_file(path) for path in cache_root().glob("pools/*/*.safetensors")}
    return {file: {name: values.clone() for name, values in tensors.items()} for file, tensors in found.items()}


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, values in found.items():
        assert torch.equal(values, expected[name]), name
