"""Reading numpy's files without unpickling anything."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from atom_distill.base.errors import DataError

ARRAY_SUFFIXES = (".npy", ".npz")


def read_array_file(path: Path) -> Any:
    """Return the array of a `.npy` file, or those of a `.npz` file by name.

    An array of numbers is returned as a tensor, one of text as a list of its values, and text without dimensions as
    `str`.

    Raises:
        DataError: the file is damaged, or holds Python objects.
    """
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about files of old versions: they are read, or raise
            content = np.load(file, allow_pickle=False)
            if isinstance(content, np.ndarray):
                return _converted(content)
            return {name: _converted(content[name]) for name in content.files}
    except Exception as error:  # numpy and zipfile raise many types for a damaged file
        if "pickle" in str(error):
            raise DataError(
                f"{path} is damaged, or holds Python objects, which may run code: refused, and nothing in it was run; "
                "save arrays of numbers or text (of a dtype other than object)"
            ) from None
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise DataError(f"{path} is not a readable numpy file ({reason}); download or save it again") from None


def _converted(array: np.ndarray[Any, Any]) -> Any:
    if array.dtype.kind in "US":
        texts = array.astype(str)
        return texts.ravel().tolist() if array.ndim else str(texts)
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    return torch.from_numpy(np.ascontiguousarray(native).reshape(array.shape))
