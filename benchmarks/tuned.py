"""Set the process up as `atom` does. Benchmarks import this first: torch reads its environment when it is imported."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from atom_distill.base.process import keep_freed_memory, tune_process

_GLIBC_SETTLES_AT = 32 << 20
"""Bytes up to which glibc by default raises its threshold for mapping blocks and returning freed memory."""

tune_process()


@contextmanager
def as_a_plain_script() -> Iterator[None]:
    """Treat freed memory as glibc does by default."""
    keep_freed_memory(mapped_above=_GLIBC_SETTLES_AT, returned_above=2 * _GLIBC_SETTLES_AT)
    try:
        yield
    finally:
        tune_process()
