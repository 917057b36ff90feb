"""Sizes in bytes, for people."""

from __future__ import annotations

_UNITS = ("kB", "MB", "GB", "TB")


def readable_size(size: int) -> str:
    """Return a size with the unit that fits: 12 bytes, 3.5 kB, 139 MB, 1.2 GB (decimal units, three digits)."""
    if size < 1000:
        return f"{size} byte{'s' if size != 1 else ''}"
    value, units = size / 1000, list(_UNITS)
    while value >= 999.5 and len(units) > 1:  # what would be rounded to 1000 gets the next unit
        value /= 1000
        del units[0]
    return f"{value:.1f} {units[0]}" if value < 99.95 else f"{value:.0f} {units[0]}"
