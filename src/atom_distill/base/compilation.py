"""torch.compile, with the uncompiled function to fall back on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, ParamSpec, TypeVar

import torch

from atom_distill.base.progress import note

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class CompiledOrEager(Generic[Arguments, Result]):
    """Run the compiled form of a function; if compiling fails, say so once and go on in eager mode.

    Args:
        function: of tensors; each combination of shapes is compiled once.
        compiled: whether to try.
    """

    def __init__(self, function: Callable[Arguments, Result], compiled: bool) -> None:
        self._eager = function
        self._call = torch.compile(function, dynamic=False) if compiled else function

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


def _is_compiler_error(error: Exception) -> bool:
    return type(error).__module__.startswith(("torch._dynamo", "torch._inductor"))
