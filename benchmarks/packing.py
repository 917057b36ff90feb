"""Compare what the values of distilled sets take: packed as in a file, by LZMA2, and by the entropy of their columns.

    python benchmarks/packing.py [cifar10-3072 runs/NAME ...] [--json FILE]

Without names, the sets of the package. LZMA2 codes bytes, those of a column together, with signs as the lowest bit: the
best that was found with the standard library. The entropy is a lower bound for codes that know how often each number is
in each column, and nothing else; tables of this would have to be stored besides.
"""

from __future__ import annotations

import argparse
import json
import lzma
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import atom_distill as ad
from atom_distill.artifact.bundled import bundled_names
from atom_distill.base.packing import as_table, pack, unpack
from atom_distill.base.record import run_record
from atom_distill.ops.parameterization import Quantized

_FILTERS = [
    {
        "id": lzma.FILTER_LZMA2,
        "preset": 9,
        "lc": 0,
        "lp": 0,
        "pb": 0,
        "mf": lzma.MF_HC4,
        "depth": 1,
        "dict_size": 4096,
    }
]


def main() -> None:
    """Run the benchmark and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", help="names of sets of the package, or folders of runs")
    parser.add_argument("--json", type=Path, help="file for the rows")
    options = parser.parse_args()
    rows = [_row(name) for name in options.sets or bundled_names()]
    print("| set | values | zeros | LZMA2, bytes | entropy of columns | packed | share of LZMA2 | pack s | unpack s |")
    print("|---|---|---|---|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row['set']} | {row['values']:,} | {row['zeros']:.0%} | {row['lzma2']:,} | {row['entropy']:,} "
            f"| {row['packed']:,} | {row['packed'] / row['lzma2']:.3f} | {row['pack_s']:.2f} | {row['unpack_s']:.2f} |"
        )
    if options.json:
        options.json.write_text(json.dumps({"rows": rows, "record": run_record()}, indent=2) + "\n")


def _row(name: str) -> dict[str, Any]:
    tiny = ad.load_distilled(name) if name in bundled_names() else ad.DistilledDataset.load(name)
    assert isinstance(tiny.parameterization, Quantized), f"{name} is stored as float32"
    (counts,) = tiny.parameterization.integers(tiny.stored).values()
    table = as_table(counts)
    begin = time.perf_counter()
    packed = pack(table)
    middle = time.perf_counter()
    back = unpack(packed, *table.shape)
    end = time.perf_counter()
    assert torch.equal(back, table)
    return {
        "set": Path(name).name,
        "values": table.numel(),
        "zeros": float((table == 0).float().mean()),
        "lzma2": _lzma2(table),
        "entropy": _entropy(table),
        "packed": len(packed),
        "pack_s": middle - begin,
        "unpack_s": end - middle,
    }


def _lzma2(table: Tensor) -> int:
    columns = table.numpy().T
    unsigned = ((columns << 1) ^ (columns >> 31)).astype(np.uint32)
    planes = max(1, (int(unsigned.max()).bit_length() + 7) // 8)
    contents = [(unsigned >> 8 * plane).astype(np.uint8).tobytes() for plane in range(planes)]
    return sum(len(lzma.compress(each, lzma.FORMAT_RAW, filters=_FILTERS)) for each in contents)


def _entropy(table: Tensor) -> int:
    """Return the bytes that all columns take if each number takes what its share of its column says."""
    bits = 0.0
    for column in table.numpy().T:
        shares = np.unique(column, return_counts=True)[1] / len(column)
        bits -= len(column) * float((shares * np.log2(shares)).sum())
    return round(bits / 8)


if __name__ == "__main__":
    main()
