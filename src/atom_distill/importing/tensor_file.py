"""Reading a file of tensors or arrays without running any code that it may hold."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from atom_distill.base.errors import DataError
from atom_distill.importing.array_file import ARRAY_SUFFIXES, read_array_file

TENSOR_SUFFIXES = (".pt", ".pth", ".safetensors", *ARRAY_SUFFIXES)


class _Ignored:
    """Stands in for a numpy number in a file: accepts any arguments, keeps nothing."""

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, _: object) -> None:
        pass


def _stand_in(name: str) -> type[_Ignored]:
    module, _, own = name.rpartition(".")
    return type(own, (_Ignored,), {"__module__": module, "__qualname__": own})


# The result files of DC, DSA, DM and DataDAM also hold accuracies, as numpy numbers.
_STAND_INS: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    _stand_in(name) for name in ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar", "numpy.dtype")
]


def read_tensor_file(path: Path) -> Any:
    """Return what a file holds: tensors, and for some formats lists, dictionaries, numbers and text.

    Raises:
        DataError: it cannot be read, or holds anything that is not data.
    """
    if path.suffix.lower() not in TENSOR_SUFFIXES:
        raise DataError(f"{path} is neither a file of tensors ({', '.join(TENSOR_SUFFIXES)}) nor a folder of images")
    if path.suffix.lower() in ARRAY_SUFFIXES:
        return read_array_file(path)
    try:
        if path.suffix.lower() == ".safetensors":
            return load_file(path)
        with torch.serialization.safe_globals(_STAND_INS), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickles that torch did not write: they are read, or raise
            return torch.load(path, map_location="cpu", weights_only=True)
    except SafetensorError as error:
        raise DataError(f"{path} is not a readable safetensors file ({error}); download it again") from None
    except Exception as error:  # a damaged or hostile pickle can raise nearly anything
        raise _refusal(path, error) from None


def _refusal(path: Path, error: Exception) -> DataError:
    """Return torch's error of many lines as one line that names what the file asked for."""
    asked = re.search(r"GLOBAL ([\w.]+)", str(error))
    if asked is None:
        # Torch's own message is left out: it advises to disable this protection.
        return DataError(
            f"{path} is damaged, or holds more than tensors ({type(error).__name__}); nothing in it was run. Download "
            "it again, or save only its tensors"
        )
    name = asked[1]
    if name.startswith("numpy"):
        return DataError(
            f"{path} holds numpy arrays, whose pickle asks for {name}: refused. Save them as tensors "
            "(torch.as_tensor), or as safetensors"
        )
    return DataError(f"{path} asks for {name}, which is code, not data: refused, and nothing in it was run")
