"""torch.compile, with the uncompiled function to fall back on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Generic, ParamSpec, TypeVar

import torch

from atom_distill.base.progress import note

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

_FORMS = 256
"""Compiled forms of one function that are kept, torch's limit for all its forms together. By default it stops at 8: the
fifth architecture of a process would run uncompiled without a word."""


class CompiledOrEager(Generic[Arguments, Result]):
    """Run the compiled form of a function; if compiling fails, say so once and go on in eager mode.

    Args:
        function: of networks and tensors; each combination of structure and shapes is compiled once.
        compiled: whether to try.
    """

    def __init__(self, function: Callable[Arguments, Result], compiled: bool) -> None:
        self._eager = function
        self._call = _compiled(function) if compiled else function

    def __call__(self, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        """Call the function."""
        try:
            return self._call(*args, **kwargs)
        except Exception as error:
            if self._call is self._eager or not _is_compiler_error(error):
                raise
            note(f"torch.compile failed ({type(error).__name__}); going on without it, slower")
            self._call = self._eager
            return self._eager(*args, **kwargs)


def _compiled(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    from torch._dynamo import config  # slow to import, and of no use to those who do not compile

    call = torch.compile(function, dynamic=False)
    limit: AbstractContextManager[None] = config.patch(recompile_limit=_FORMS)

    def within_limit(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        with limit:
            return call(*args, **kwargs)

    return within_limit


def _is_compiler_error(error: Exception) -> bool:
    return type(error).__module__.startswith(("torch._dynamo", "torch._inductor"))
