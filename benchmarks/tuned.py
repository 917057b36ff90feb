"""Imported first by every benchmark, for torch reads its environment as it loads: sets the process up as `atom` is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from atom_distill.base.process import keep_freed_memory, tune_process

_GLIBC_SETTLES_AT = 32 << 20
"""Bytes up to which glibc, left alone, raises its threshold for blocks that it maps and gives back."""

tune_process()


@contextmanager
def as_a_plain_script() -> Iterator[None]:
    """Treat freed memory as a process does that nobody set up."""
    keep_freed_memory(mapped_above=_GLIBC_SETTLES_AT, returned_above=2 * _GLIBC_SETTLES_AT)
    try:
        yield
    finally:
        tune_process()
