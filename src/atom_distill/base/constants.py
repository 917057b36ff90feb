"""Constant tensors, kept on every device where they are used."""

from __future__ import annotations

import torch
from torch import Tensor


class Constant:
    """A tensor with a copy for each device and dtype that has asked for one.

    To copy it anew at each use would make the host wait, in each step, for all that a GPU has been given to do.

    Args:
        values: not to be changed later.
    """

    def __init__(self, values: Tensor) -> None:
        self._values = values
        self._copies: dict[tuple[torch.device, torch.dtype], Tensor] = {}

    def on(self, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
        """Return the values on a device, in their own dtype unless another is given."""
        key = (device, dtype or self._values.dtype)
        if key not in self._copies:
            self._copies[key] = self._values.to(*key)
        return self._copies[key]

    def like(self, other: Tensor) -> Tensor:
        """Return the values in the dtype and on the device of another tensor."""
        return self.on(other.device, other.dtype)
