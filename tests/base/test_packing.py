"""Packed integers against their entropy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from atom_distill.base.packing import as_table, pack, packed_size, unpack

RANDOM = torch.Generator().manual_seed(0)


@pytest.mark.parametrize("largest", [0, 1, 127, 128, 32767, 2**31 - 1])
@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (300, 4)])
def test_what_is_packed_comes_back(shape, largest):
    numbers = torch.randint(-largest - 1, largest + 1, shape, generator=RANDOM).to(torch.int32)
    packed = pack(numbers)
    assert torch.equal(unpack(packed, *shape), numbers)
    assert unpack(packed, *shape).dtype == torch.int32


def _column_entropies(numbers: torch.Tensor) -> float:
    """Return the bytes of all columns [N, n] if each value took what its share of its column says."""
    bits = 0.0
    for column in numbers.numpy().T:
        shares = np.unique(column, return_counts=True)[1] / len(column)
        bits -= len(column) * float((shares * np.log2(shares)).sum())
    return bits / 8


def test_columns_take_little_more_than_their_entropy():
    scales = torch.logspace(1.5, -0.5, 200)
    numbers = (torch.randn(2000, 200, generator=RANDOM) * scales).round().int()
    entropies = _column_entropies(numbers)
    assert entropies < len(pack(numbers)) < 1.06 * entropies


def test_rows_of_different_size_take_less_than_the_entropy_of_their_columns():
    """A row with much in its first columns is likely to have much in the others, as detailed pictures do."""
    sizes = torch.logspace(-1.5, 1.5, 500)[torch.randperm(500, generator=RANDOM)]
    numbers = (torch.randn(500, 300, generator=RANDOM) * sizes[:, None]).round().int()
    assert len(pack(numbers)) < 0.9 * _column_entropies(numbers)
    expected = sum(_column_entropies(row[:, None]) for row in numbers)  # each row with a distribution of its own
    assert len(pack(numbers)) < 1.12 * expected


@pytest.mark.parametrize("largest", [1, 7, 127, 32767])
def test_noise_hardly_grows(largest):
    numbers = torch.randint(-largest, largest + 1, (500, 40), generator=RANDOM).int()
    entropy = 500 * 40 * math.log2(2 * largest + 1) / 8
    assert entropy < len(pack(numbers)) < 1.05 * entropy


def test_the_last_dimension_is_columns():
    numbers = {"a": torch.arange(24).reshape(2, 3, 4).int(), "b": torch.arange(3).int()}
    assert [as_table(tensor).shape for tensor in numbers.values()] == [(6, 4), (3, 1)]
    assert packed_size(numbers) == len(pack(numbers["a"].reshape(6, 4))) + len(pack(numbers["b"].reshape(3, 1)))


def test_columns_of_zeros_take_no_space_for_their_rows():
    assert len(pack(torch.zeros(1, 40).int())) == len(pack(torch.zeros(300, 40).int())) < 40


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
