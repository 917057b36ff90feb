from __future__ import annotations

import pytest

from atom_distill.base.sizes import readable_size


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (12_345, "12.3 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (139_000_000, "139 MB"),
        (184_320_000, "184 MB"),
        (1_960_000_000, "2.0 GB"),
        (5_000_000_000_000, "5.0 TB"),
        (5_000_000_000_000_000, "5000 TB"),
    ],
)
def test_the_unit_fits(size, text):
    assert readable_size(size) == text
