"""Packed integers against their entropy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from atom_distill.base.packing import as_table, pack, packed_size, packed_size_of_zeros, unpack

RANDOM = torch.Generator().manual_seed(0)


@pytest.mark.parametrize("largest", [0, 1, 127, 128, 32767, 2**31 - 1])
@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (300, 4)])
def test_what_is_packed_comes_back(shape, largest):
    numbers = torch.randint(-largest - 1, largest + 1, shape, generator=RANDOM).to(torch.int32)
    packed = pack(numbers)
    assert torch.equal(unpack(packed, *shape), numbers)
    assert unpack(packed, *shape).dtype == torch.int32


def test_columns_take_little_more_than_their_entropy():
    scales = torch.logspace(1.5, -0.5, 200)
    numbers = (torch.randn(2000, 200, generator=RANDOM) * scales).round().int()
    bits = 0.0
    for column in numbers.numpy().T:
        shares = np.unique(column, return_counts=True)[1] / len(column)
        bits -= len(column) * float((shares * np.log2(shares)).sum())
    assert bits / 8 < len(pack(numbers)) < 1.15 * bits / 8


def test_noise_is_not_made_larger():
    numbers = torch.randint(-128, 128, (50, 20), generator=RANDOM).int()
    assert len(pack(numbers)) == 1005  # a byte for the planes, three for a chunk, one for its end


def test_the_last_dimension_is_columns():
    numbers = {"a": torch.arange(24).reshape(2, 3, 4).int(), "b": torch.arange(3).int()}
    assert [as_table(tensor).shape for tensor in numbers.values()] == [(6, 4), (3, 1)]
    assert packed_size(numbers) == len(pack(numbers["a"].reshape(6, 4))) + len(pack(numbers["b"].reshape(3, 1)))


@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (300, 40)])
def test_the_size_of_zeros_is_what_they_are_packed_to(shape):
    zeros = torch.zeros(shape, dtype=torch.int32)
    assert packed_size_of_zeros(zeros.numel()) == len(pack(zeros))
    assert packed_size_of_zeros(10**12) == packed_size_of_zeros(10**7)


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"\x01",
        b"\x01abcd",
        b"\x00abcd",
        b"\x05" + pack(torch.zeros(2, 2).int())[1:],
        pack(torch.zeros(2, 3).int()),
        b"\x02" + pack(torch.zeros(2, 2).int())[1:],
        pack(torch.tensor([[3]]).int()),
        pack(torch.zeros(2, 2).int()) + b"\x00",
        pack(torch.zeros(2, 2).int())[:-1],
        pack(torch.zeros(1000, 1000).int()),
    ],
)
def test_damaged_bytes_are_refused(damaged):
    with pytest.raises(ValueError, match="packed values"):
        unpack(damaged, 2, 2)
