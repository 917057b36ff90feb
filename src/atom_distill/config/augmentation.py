"""How augmentations are written in settings: DSA operations joined by underscores."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

DSA_OPERATIONS = "color_crop_cutout_flip_scale_rotate"


def check_augmentation(value: str) -> str:
    """Return `value` if it names DSA operations, or none.

    Raises:
        ValueError: it names something else.
    """
    known = DSA_OPERATIONS.split("_")
    wrong = [name for name in value.split("_") if name not in known]
    if value != "none" and wrong:
        raise ValueError(f"unknown operation {wrong[0]!r}; join some of {', '.join(known)} by '_', or say none")
    return value


def operations_of(augment: str) -> tuple[str, ...]:
    """Split a checked value into its operations, none into an empty tuple."""
    return () if augment == "none" else tuple(augment.split("_"))


Augmentation = Annotated[str, AfterValidator(check_augmentation)]
"""The type of a setting that names DSA operations."""
