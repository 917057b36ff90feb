"""Reading the pickles of the CIFAR python version without running code that a pickle may contain."""

from __future__ import annotations

import io
import pickle
from typing import Any

from atom_distill.base.errors import DataError

# What numpy arrays need, as Python 2 and 3 and numpy 1 and 2 name it. Anything else is refused.
_ALLOWED = frozenset(
    {
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy.core.multiarray", "scalar"),
        ("numpy._core.multiarray", "scalar"),
        ("numpy.core.numeric", "_frombuffer"),
        ("numpy._core.numeric", "_frombuffer"),
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
        ("_codecs", "encode"),
    }
)


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        # numpy renamed its private package in version 2: both names must resolve to the installed one
        return super().find_class(_installed(module), name)


def _installed(module: str) -> str:
    import numpy as np

    private = "numpy._core" if int(np.__version__.split(".")[0]) >= 2 else "numpy.core"
    for spelling in ("numpy.core.", "numpy._core."):
        if module.startswith(spelling):
            return f"{private}.{module.removeprefix(spelling)}"
    return module


def load_arrays(content: bytes, name: str) -> dict[str, Any]:
    """Unpickle a dictionary of numbers, texts and numpy arrays; its keys and texts come back as str.

    Args:
        content: the pickle.
        name: for messages.

    Raises:
        DataError: it is damaged, refers to anything but numpy arrays, or is not a dictionary.
    """
    try:
        # latin1 keeps the bytes of Python 2 arrays as they are
        value = _ArrayUnpickler(io.BytesIO(content), encoding="latin1").load()
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise DataError(
            f"{name} is not a pickle of plain arrays ({error}); refused. Fetch it again from its published page"
        ) from error
    if not isinstance(value, dict):
        raise DataError(f"{name} should hold a dictionary, got {type(value).__name__}")
    return {key.decode("latin1") if isinstance(key, bytes) else str(key): item for key, item in value.items()}
