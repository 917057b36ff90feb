"""Random numbers by (seed, stream, indices): distinct, and the same on every machine."""

from __future__ import annotations

import os
import subprocess
import sys

import torch

from atom_distill.base.seeding import derive_seed, generator


def first_numbers(*key: int | str) -> list[float]:
    return torch.rand(4, generator=generator(*key)).tolist()


def test_the_same_key_gives_the_same_numbers():
    assert first_numbers(0, "network", 3) == first_numbers(0, "network", 3)


def test_each_part_of_the_key_counts():
    keys = [
        (seed, stream, *indices)
        for seed in (0, 1, 10, -1)
        for stream in ("network", "augment", "real")
        for indices in ((), (0,), (1,), (10,), (0, 1), (1, 0), (100,))
    ]
    assert len({derive_seed(*key) for key in keys}) == len(keys)
    assert len({tuple(first_numbers(*key)) for key in keys}) == len(keys)


def test_steps_do_not_repeat_over_a_long_run():
    assert len({derive_seed(0, "augment", step) for step in range(20_000)}) == 20_000


def test_seeds_fit_a_signed_64_bit_integer():
    assert all(0 <= derive_seed(seed, "s") < 2**63 for seed in range(200))


def test_the_global_generator_is_not_touched():
    before = torch.get_rng_state()
    first_numbers(0, "network")
    assert torch.equal(torch.get_rng_state(), before)


def test_generators_live_on_the_cpu():
    assert generator(0, "network").device.type == "cpu"


def test_another_process_derives_the_same_seeds():
    code = "from atom_distill.base.seeding import derive_seed as d; print(d(0, 'network', 5), d(7, 'augment'))"
    here = f"{derive_seed(0, 'network', 5)} {derive_seed(7, 'augment')}"
    for salt in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": salt}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == here


def test_seeds_are_those_of_existing_runs():
    assert derive_seed(0, "network", 0) == 8640002547104949693, (
        "changing this changes every stored run: it could not be resumed"
    )
