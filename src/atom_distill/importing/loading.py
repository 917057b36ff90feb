"""One file of tensors, opened without running anything that it may carry."""

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

TENSOR_SUFFIXES = (".pt", ".pth", ".safetensors")


class _Ignored:
    """Takes the place of a numpy number in a file: accepts everything, keeps and does nothing."""

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, _: object) -> None:
        pass


def _stand_in(name: str) -> type[_Ignored]:
    module, _, own = name.rpartition(".")
    return type(own, (_Ignored,), {"__module__": module, "__qualname__": own})


# The result files of the DC, DSA, DM and DataDAM code hold accuracies beside the images, as numpy numbers.
_STAND_INS: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    _stand_in(name) for name in ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar", "numpy.dtype")
]


def load_tensors(path: Path) -> Any:
    """Read a `.safetensors` file, or the tensors, lists, dictionaries and numbers of a `.pt` or `.pth` file.

    Raises:
        DataError: it cannot be read, or asks for anything that is not data.
    """
    if path.suffix.lower() not in TENSOR_SUFFIXES:
        raise DataError(f"{path} is none of {', '.join(TENSOR_SUFFIXES)}, and no folder of images; give one of these")
    try:
        if path.suffix.lower() == ".safetensors":
            return load_file(path)
        with torch.serialization.safe_globals(_STAND_INS), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickles that torch did not write; they fail or are fine
            return torch.load(path, map_location="cpu", weights_only=True)
    except SafetensorError as error:
        raise DataError(f"{path} is not a readable safetensors file ({error}); fetch it again") from None
    except Exception as error:  # a damaged or hostile pickle can raise nearly anything
        raise _refusal(path, error) from None


def _refusal(path: Path, error: Exception) -> DataError:
    """Word torch's many lines as one, and name what the file asked for."""
    asked = re.search(r"GLOBAL ([\w.]+)", str(error))
    if asked is None:
        # Torch's own words advise to switch its safety off, and stay out of ours.
        return DataError(
            f"{path} is damaged, or holds more than tensors ({type(error).__name__}): nothing of it was run. Fetch it "
            "again, or save its tensors alone"
        )
    name = asked[1]
    if name.startswith("numpy"):
        return DataError(
            f"{path} holds numpy arrays, whose pickle asks for {name}: refused. Save them as tensors "
            "(torch.as_tensor), or as safetensors"
        )
    return DataError(f"{path} asks for {name}, which is code and not data: refused, and nothing of it was run")
