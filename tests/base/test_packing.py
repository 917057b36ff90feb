"""Packed integers against their entropy, fixed bytes, and damage; tests of cards decode them a second way."""

from __future__ import annotations

import itertools
import lzma
import math
import struct
import zlib

import numpy as np
import pytest
import torch

from atom_distill.base.coding import symbols
from atom_distill.base.packing import as_table, pack, packed_size, unpack

RANDOM = torch.Generator().manual_seed(0)
MOST_NEGATIVE = -(2**31)


@pytest.mark.parametrize("largest", [0, 1, 127, 128, 32767, 2**31 - 1])
@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (300, 4), (3, 0), (0, 3)])
def test_what_is_packed_comes_back(shape, largest):
    numbers = torch.randint(-largest - 1, largest + 1, shape, generator=RANDOM).to(torch.int32)
    packed = pack(numbers)
    assert torch.equal(unpack(packed, *shape), numbers)
    assert unpack(packed, *shape).dtype == torch.int32


def test_all_sizes_come_back():
    powers = [2**bit for bit in range(31)]
    sizes = [0, *powers, *(power - 1 for power in powers), *(power + 1 for power in powers), 2**31 - 1]
    numbers = torch.tensor([*sizes, *(-size for size in sizes), MOST_NEGATIVE]).to(torch.int32)
    for shape in ((len(numbers), 1), (1, len(numbers))):
        assert torch.equal(unpack(pack(numbers.reshape(shape)), *shape), numbers.reshape(shape))


def test_more_rows_than_lanes_come_back():
    numbers = (torch.randn(5000, 30, generator=RANDOM) * torch.linspace(3, 0, 30)).round().int()
    packed = pack(numbers)
    assert 1 < struct.unpack_from("<BH", packed)[1] < 5000
    assert torch.equal(unpack(packed, 5000, 30), numbers)


def test_sparse_numbers_have_lanes_enough_to_be_fast():
    numbers = torch.zeros(100_000, 50, dtype=torch.int32)
    numbers[::10_000] = 1
    assert struct.unpack_from("<BH", pack(numbers))[1] == 1 + numbers.numel() // 2**18


def test_blocks_of_open_bits_are_put_together(monkeypatch):
    numbers = (torch.randn(300, 20, generator=RANDOM) * 30).round().int()
    whole = pack(numbers)
    monkeypatch.setattr(symbols, "_BLOCK", 7)
    assert pack(numbers) == whole
    assert torch.equal(unpack(whole, 300, 20), numbers)


def test_the_bytes_are_those_of_the_format():
    """The file format: another version must write and read the same bytes."""
    small = torch.tensor([[3, 0, -1], [5, 0, 0]]).int()
    assert pack(small).hex() == SMALL
    assert torch.equal(unpack(bytes.fromhex(SMALL), 2, 3), small)
    large = torch.tensor([[MOST_NEGATIVE, 9], [0, -70000]]).to(torch.int32)
    assert pack(large).hex() == LARGE
    assert torch.equal(unpack(bytes.fromhex(LARGE), 2, 2), large)
    rows, columns = torch.arange(200)[:, None], torch.arange(60)
    many = ((rows * rows * 31 + columns * 17) % 23 - 11) * (1 + rows % 5) // (1 + columns)
    assert zlib.crc32(pack(many.int())) == MANY


SMALL = "06010007000000000000000100020b00080023f3ab0320"
MANY = 1759175811
LARGE = "25010006000000010000000100010d0c00583f2000aa4400000001211708"


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


def test_a_wide_row_has_no_lanes_that_stay_empty():
    numbers = torch.randint(-3, 4, (2, 20_000), generator=RANDOM).int()
    assert struct.unpack_from("<BH", pack(numbers))[1] == 2
    assert torch.equal(unpack(pack(numbers), 2, 20_000), numbers)


def test_the_last_dimension_is_columns():
    numbers = {"a": torch.arange(24).reshape(2, 3, 4).int(), "b": torch.arange(3).int()}
    assert [as_table(tensor).shape for tensor in numbers.values()] == [(6, 4), (3, 1)]
    assert packed_size(numbers) == len(pack(numbers["a"].reshape(6, 4))) + len(pack(numbers["b"].reshape(3, 1)))


def test_columns_of_zeros_take_no_space_for_their_rows():
    assert len(pack(torch.zeros(1, 40).int())) == len(pack(torch.zeros(300, 40).int())) < 40


def _parts(packed: bytes) -> list[bytes]:
    """Return head, levels, states, words and open bits of packed values."""
    _, lanes, size, words = struct.unpack_from("<BHII", packed)
    ends = [0, 11, 11 + size, 11 + size + 4 * lanes, 11 + size + 4 * lanes + 2 * words, len(packed)]
    return [packed[start:end] for start, end in itertools.pairwise(ends)]


def _damaged(part: int, content: bytes, numbers: torch.Tensor, **head: int) -> bytes:
    """Return packed numbers with one of their parts replaced, and the head to match, or with other values in it."""
    parts = _parts(pack(numbers))
    parts[part] = content
    count, lanes, _, _ = struct.unpack("<BHII", parts[0])
    told = {"symbols": count, "lanes": lanes, "size": len(parts[1]), "words": len(parts[3]) // 2, **head}
    return b"".join([struct.pack("<BHII", *told.values()), *parts[1:]])


def _levels(*levels: int) -> bytes:
    return lzma.compress(bytes(levels), lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2}])


FULL = (torch.randn(40, 2, generator=RANDOM) * 20).round().int()
LEVELS, STATES, WORDS, BITS = _parts(pack(FULL))[1:]


@pytest.mark.parametrize(
    ("damaged", "told"),
    [
        (b"", "11 bytes"),
        (pack(FULL)[:-1], "signs"),
        (pack(FULL) + b"\x00", "signs"),
        (pack(FULL)[:14], "end too early"),
        (_damaged(1, LEVELS, FULL, symbols=0), "0 symbols in 1 lanes"),
        (_damaged(1, LEVELS, FULL, symbols=38), "38 symbols in 1 lanes"),
        (_damaged(1, LEVELS, FULL, symbols=37), "37 symbols|damaged|too early"),
        (_damaged(1, LEVELS, FULL, lanes=0), "in 0 lanes"),
        (_damaged(1, LEVELS, FULL, words=2**31), "end too early"),
        (_damaged(1, b"", FULL), "levels"),
        (_damaged(1, b"\xff" + LEVELS[1:], FULL), "orrupt|nsupported|levels"),
        (_damaged(1, _levels(3), FULL), "levels"),
        (_damaged(1, _levels(3, 3, 3), FULL), "levels"),
        (_damaged(1, _levels(3, 16), FULL), "levels"),
        (_damaged(1, LEVELS + b"\x00", FULL), "levels"),
        (_damaged(1, LEVELS[:-1], FULL), "levels"),
        (_damaged(1, _levels(0, 0), FULL), "symbols in 0 columns"),
        (_damaged(1, _levels(1, 0), torch.zeros(40, 2).int()), "1 symbols in 1 columns"),
        (_damaged(2, STATES[:-1] + b"\x01", FULL), "words"),
        (_damaged(3, WORDS + b"\x00\x00", FULL), "words are damaged"),
        (_damaged(3, WORDS[:-2], FULL), "words end too early"),
        (_damaged(4, BITS[:-1], FULL), "signs"),
        (_damaged(4, BITS + b"\x00", FULL), "signs"),
    ],
)
def test_damaged_bytes_are_refused(damaged, told):
    with pytest.raises(ValueError, match=rf"packed values are not 40 x 2 numbers .*({told})"):
        unpack(damaged, 40, 2)


def test_a_number_beyond_int32_is_refused():
    packed = pack(torch.tensor([[MOST_NEGATIVE]]).to(torch.int32))
    for place, bit in ((-1, 1), (-4, 0x80)):  # its sign, which is the last of 32 bits, and the highest of its others
        changed = bytearray(packed)
        changed[place] ^= bit
        with pytest.raises(ValueError, match="too large"):
            unpack(bytes(changed), 1, 1)


def test_bits_after_the_last_sign_are_refused():
    packed = bytearray(pack(torch.tensor([[1]]).int()))
    packed[-1] ^= 1
    with pytest.raises(ValueError, match="signs"):
        unpack(bytes(packed), 1, 1)


def test_more_numbers_than_fit_into_memory_are_refused():
    with pytest.raises(ValueError, match="packed values"):
        unpack(pack(torch.zeros(2, 2).int()), 10**15, 2)


@pytest.mark.parametrize("shape", [(39, 2), (41, 2), (40, 1), (40, 3), (2, 40)])
def test_another_shape_is_refused(shape):
    with pytest.raises(ValueError, match="packed values"):
        unpack(pack(FULL), *shape)
