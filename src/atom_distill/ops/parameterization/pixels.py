"""The images themselves."""

from __future__ import annotations

from torch import Tensor

from atom_distill.ops.parameterization.base import Parameterization, Stored


class Pixels(Parameterization):
    """The images themselves, as ATOM and its predecessors store them."""

    def images(self, values: Stored) -> Tensor:
        """See `Parameterization.images`."""
        return values["images"]

    def encode(self, images: Tensor) -> dict[str, Tensor]:
        """See `Parameterization.encode`."""
        return {"images": images}
