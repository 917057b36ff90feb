"""How augmentations are written in settings: DSA operations joined by underscores."""

from __future__ import annotations

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
