"""Images as [N, C, H, W], from other orders of dimensions that fit the data set."""

from __future__ import annotations

from torch import Tensor

from atom_distill.base.progress import note


def channels_first(images: Tensor, image_shape: tuple[int, int, int]) -> Tensor:
    """Return images [N, H, W, C], or gray images [N, H, W], as [N, C, H, W]; all others as they are.

    The channels are moved only if the images then fit the data set and do not fit as they are.

    Args:
        images: as stored.
        image_shape: (C, H, W) of the data set's images.
    """
    channels, height, width = image_shape
    shape = tuple(images.shape[1:])
    if shape == image_shape:
        return images
    if shape == (height, width, channels):
        note("the images are stored as [N, H, W, C]: their channels are moved to [N, C, H, W]")
        return images.permute(0, 3, 1, 2)
    return images.unsqueeze(1) if channels == 1 and shape == (height, width) else images
