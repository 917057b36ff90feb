"""torch.compile with a fallback to eager mode."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Generic, ParamSpec, TypeVar

import torch

from atom_distill.base.progress import note

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

_MAX_VARIANTS = 256
"""Compiled variants of one function, over all structures and shapes. Beyond torch's default of 8 it runs uncompiled
without a warning, which the fifth architecture of a process would reach."""


class CompiledOrEager(Generic[Arguments, Result]):
    """A compiled function; if compilation fails, it warns once and continues in eager mode.

    Args:
        function: takes networks and tensors; compiled once per combination of structure and shapes.
        compiled: False runs it in eager mode from the start.
    """

    def __init__(self, function: Callable[Arguments, Result], compiled: bool) -> None:
        self._eager = function
        self._call = _compiled(function) if compiled else function

    def __call__(self, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        """Return the result of the function."""
        try:
            return self._call(*args, **kwargs)
        except Exception as error:
            if self._call is self._eager or not _is_compiler_error(error):
                raise
            note(f"torch.compile failed ({type(error).__name__}); continuing without it, slower")
            self._call = self._eager
            return self._eager(*args, **kwargs)


def _compiled(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    from torch._dynamo import config  # slow to import: only those who compile pay for it
    from torch._functorch import config as gradients

    call = torch.compile(function, dynamic=False)
    limit: AbstractContextManager[None] = config.patch(recompile_limit=_MAX_VARIANTS)
    # Otherwise gradients are compiled when they are first computed, where nothing catches a failure.
    known = hasattr(gradients, "force_non_lazy_backward_lowering")  # not in every version of torch
    at_once = gradients.patch(force_non_lazy_backward_lowering=True) if known else nullcontext()

    def configured(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        with limit, at_once:
            return call(*args, **kwargs)

    return configured


def _is_compiler_error(error: Exception) -> bool:
    return type(error).__module__.startswith(("torch._dynamo", "torch._inductor"))
